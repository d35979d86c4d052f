"""Windows: bounded runs of input texts, tokenized, without repeats, cut into batches.

A job of any size is a sequence of windows, so memory is bounded by the window. Exact repeats are found by
digest within the job: in their own window always, before it among the last million different texts.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from farthing.engine.text.tokenization import Ids, TextTokenizer
from farthing.scheduling.batching import Batch, batches_by_length

WINDOW_TEXTS = 8192
"""Texts that are grouped by length together: enough that under 1 % of the positions are padding."""

WINDOW_CHARACTERS = 16_000_000
"""Most characters in a window, so that long texts do not grow memory either."""

SHORTEST_PREFIX = 4
"""Tokens that a shared prefix has at least; of fewer the reuse saves nothing."""

REMEMBERED_TEXTS = 1_000_000
"""Different texts whose vectors can still be reused; about 200 MB of digests when full."""


@dataclass(slots=True, kw_only=True)
class Window:
    """A run of texts on its way through the engine.

    Attributes:
        texts: how many texts the window stands for, repeats included.
        last: whether the input ends here.
        ids: token ids of the texts to compute.
        batches: those texts in groups of like length.
        source: for each text, the serial number of the text whose vector it gets.
        tokens: tokens of each text.
        first_serial: serial number of the first of `ids`; the others follow.
        truncated: texts cut at the length limit.
        tokenization_s: wall seconds of tokenizing.
        vectors: (len(ids), dimension), filled while batches run.
        pending: batches that have not finished.
        prefix: tokens that all of `ids` begin with, and whose keys and values they share; 0 for none.
    """

    texts: int
    last: bool
    ids: list[Ids]
    batches: list[Batch]
    source: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int32]
    first_serial: int
    truncated: int
    tokenization_s: float
    vectors: npt.NDArray[np.float32]
    pending: int
    prefix: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def duplicates(self) -> int:
        """Texts that repeat another and are not computed."""
        return self.texts - len(self.ids)

    def finished_one(self) -> bool:
        """Count a batch as finished and return whether it was the last."""
        with self.lock:
            self.pending -= 1
            return self.pending == 0


@dataclass(slots=True)
class _Known:
    serial: int
    tokens: int
    truncated: bool


class WindowMaker:
    """Turns texts into windows, one after the other."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        dimension: int,
        max_batch_tokens: int,
        streams: int,
        prompt: str = "",
    ) -> None:
        """Take what makes windows.

        Args:
            tokenizer: the model's.
            dimension: width of a vector.
            max_batch_tokens: most positions in one step.
            streams: steps side by side.
            prompt: what all texts begin with, where the model can reuse it; empty for nothing.
        """
        self._tokenizer = tokenizer
        self._prompt_ids = tokenizer.encode([prompt]).ids[0] if prompt else None
        self._dimension = dimension
        self._max_batch_tokens = max_batch_tokens
        self._streams = streams
        self._known: dict[bytes, _Known] = {}
        self._serial = 0

    def windows(self, texts: Iterable[str]) -> Iterator[Window]:
        """Yield windows that together hold every text exactly once, in order."""
        source = iter(texts)
        chunk = _take(source)
        while chunk:
            following = _take(source)
            yield self._window(chunk, last=not following)
            chunk = following

    def _window(self, texts: list[str], *, last: bool) -> Window:
        fresh: dict[bytes, int] = {}
        new_texts: list[str] = []
        digests = [
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts
        ]
        for digest, text in zip(digests, texts, strict=True):
            if digest not in self._known and digest not in fresh:
                fresh[digest] = len(new_texts)
                new_texts.append(text)
        tokenized = self._tokenizer.encode(new_texts)
        lengths = tokenized.lengths
        first_serial = self._serial
        known = [
            self._known.get(digest)
            or _Known(
                first_serial + fresh[digest], lengths[fresh[digest]], tokenized.truncated[fresh[digest]]
            )
            for digest in digests
        ]
        self._serial += len(new_texts)
        for digest, row in fresh.items():
            self._known[digest] = _Known(first_serial + row, lengths[row], tokenized.truncated[row])
        for digest in list(islice(self._known, max(0, len(self._known) - REMEMBERED_TEXTS))):
            del self._known[digest]
        prefix = 0 if self._prompt_ids is None else shared_prefix(self._prompt_ids, tokenized.ids)
        own = [length - prefix for length in lengths]
        batches = batches_by_length(own, self._max_batch_tokens, self._streams)
        return Window(
            texts=len(texts),
            last=last,
            ids=tokenized.ids,
            batches=batches,
            source=np.array([one.serial for one in known], np.int64),
            tokens=np.array([one.tokens for one in known], np.int32),
            first_serial=first_serial,
            truncated=sum(one.truncated for one in known),
            tokenization_s=tokenized.seconds,
            vectors=np.empty((len(new_texts), self._dimension), np.float32),
            pending=len(batches),
            prefix=prefix,
        )


def shared_prefix(prompt: Ids, texts: Sequence[Ids]) -> int:
    """Return how many tokens all texts and the prompt begin with; 0 where it would be hardly worth it.

    Every text keeps a token of its own. Where a prompt and a text meet, a tokenizer may join what was apart, so
    tokens are compared, not characters.
    """
    most = min([len(prompt), *(len(one) - 1 for one in texts)])
    for one in texts:
        if not np.array_equal(one[:most], prompt[:most]):
            most = int(np.argmax(one[:most] != prompt[:most]))
    return most if most >= SHORTEST_PREFIX else 0


def _take(source: Iterator[str]) -> list[str]:
    texts: list[str] = []
    characters = 0
    for text in source:
        texts.append(text)
        characters += len(text)
        if len(texts) == WINDOW_TEXTS or characters >= WINDOW_CHARACTERS:
            break
    return texts
