"""Windows: bounded runs of input texts, tokenized, without repeats.

A job of any size is a sequence of windows, so memory is bounded by the window. A repeat is found in its own window and
in those shortly before it; farther back it is computed again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock

import numpy as np

from farthing.embedding.cache import CachedText, VectorCache
from farthing.engine.contract import Ids, Vectors
from farthing.engine.text.contents import taken
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import EngineError

WINDOW_TEXTS = 8192
"""Texts that are grouped by length together: enough that under 1 % of the positions are padding."""

WINDOW_CHARACTERS = 16_000_000
"""Most characters in a window, so that long texts do not grow memory either."""

REMEMBERED_BYTES = 32_000_000
"""Vectors and texts of windows that are kept to find repeats in, beside those that are on their way."""


@dataclass(slots=True, kw_only=True, eq=False)
class Window:
    """A run of texts on its way through the lanes.

    Attributes:
        serial: of its first text in the input.
        texts: the texts, without the prompt.
        last: whether the input ends here.
        ids: token ids of the texts to compute; none once they are settled.
        lengths: tokens of each of those.
        rows: where each of those stands in the window.
        vectors: (texts, dimension); lanes fill the rows of the texts to compute, `settle` the others.
        tokens: of each text.
        truncated: of each text, whether it was cut at the length limit.
        repeats: (row, window, row there) of texts that are computed once elsewhere; none once they are settled.
        cached: texts whose vectors an earlier call has left.
        failed: the error of each row without a vector.
        done: set when the last of its steps is, where others than the caller run them.
        tokenization_s: wall seconds of tokenizing.
        keys: of the rows in the cache, by row; empty where no cache is used.
    """

    serial: int
    texts: Sequence[str]
    last: bool
    ids: list[Ids]
    lengths: list[int]
    rows: list[int]
    vectors: Vectors
    tokens: list[int]
    truncated: list[bool]
    repeats: list[tuple[int, Window, int]]
    cached: int
    tokenization_s: float
    keys: dict[int, bytes]
    failed: dict[int, EngineError] = field(default_factory=dict)
    error: BaseException | None = None
    pending: int = 0
    done: Event | None = None
    lock: Lock = field(default_factory=Lock)

    def finish(self, steps: int = 1) -> None:
        """Count steps as finished; after the last one the window is done."""
        with self.lock:
            self.pending -= steps
            if self.pending <= 0 and self.done is not None:
                self.done.set()

    def fail(self, error: BaseException) -> None:
        """End the window with an error that is no text's own."""
        self.error = error
        if self.done is not None:
            self.done.set()

    def leave_out(self, failed: Mapping[int, EngineError]) -> None:
        """Compute nothing of some texts, by their place among those to compute."""
        self.failed = {self.rows[place]: error for place, error in failed.items()}
        self.vectors[list(self.failed)] = 0
        kept = [place for place in range(len(self.rows)) if place not in failed]
        self.ids = [self.ids[place] for place in kept]
        self.lengths = [self.lengths[place] for place in kept]
        self.rows = [self.rows[place] for place in kept]

    def settle(self, cache: VectorCache) -> None:
        """Give repeats their vectors, and leave what was computed to the cache. All steps are done.

        Raises:
            BaseException: what `fail` was given.
        """
        if self.error is not None:
            raise self.error
        for row, window, source in self.repeats:
            self.vectors[row] = window.vectors[source]
            if source in window.failed:
                self.failed[row] = window.failed[source]
        if self.keys:
            cache.keep(
                (key, CachedText(self.vectors[row].copy(), self.tokens[row], self.truncated[row]))
                for row, key in self.keys.items()
                if row not in self.failed
            )
        # It may be remembered for long: its ids are run, and its repeats would hold on to every window before it.
        self.ids, self.repeats = [], []


class WindowMaker:
    """Turns the texts of one job into windows, one after the other."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        dimension: int,
        *,
        prompt: str = "",
        cache: VectorCache,
        window_texts: int,
    ) -> None:
        """Take what makes windows.

        Args:
            tokenizer: the model's.
            dimension: width of a vector.
            prompt: what is put before each text.
            cache: vectors of earlier calls; one that keeps none is not asked.
            window_texts: most texts in a window.
        """
        self._tokenizer, self._dimension, self._prompt = tokenizer, dimension, prompt
        self.cache, self._window_texts = cache, window_texts
        self._known: dict[str, int] = {}
        self._recent: deque[Window] = deque()
        self._sizes: deque[int] = deque()
        self._serial = 0

    def windows(self, texts: Iterable[str]) -> Iterator[Window]:
        """Yield windows that together hold every text exactly once, in order."""
        take = partial(taken, iter(texts), self._window_texts, WINDOW_CHARACTERS, len)
        chunk = take()
        while chunk:
            following = take()
            yield self._window(chunk, last=not following)
            chunk = following

    def _window(self, texts: list[str], *, last: bool) -> Window:
        first: dict[str, int] = {}
        source = [first.setdefault(text, row) for row, text in enumerate(texts)]
        known = first.keys() & self._known.keys() if self._known else ()
        before = {first[text]: self._known[text] for text in known}
        keys, cached = self.cache.lookup(
            self._prompt, {row: text for text, row in first.items() if row not in before}
        )
        rows = [row for row in first.values() if row not in before and row not in cached]
        tokenized = self._tokenizer.encode([self._prompt + texts[row] for row in rows])
        window = Window(
            serial=self._serial,
            texts=texts,
            last=last,
            ids=tokenized.ids,
            lengths=tokenized.lengths,
            rows=rows,
            vectors=np.empty((len(texts), self._dimension), np.float32),
            tokens=tokenized.lengths.copy(),
            truncated=tokenized.truncated,
            repeats=[],
            cached=len(cached),
            tokenization_s=tokenized.seconds,
            keys={row: keys[row] for row in rows} if keys else {},
        )
        if tokenized.failed:
            window.leave_out(tokenized.failed)
        if len(rows) < len(texts):
            window.tokens, window.truncated = [0] * len(texts), [False] * len(texts)
            for place, row in enumerate(rows):
                window.tokens[row], window.truncated[row] = (
                    tokenized.lengths[place],
                    tokenized.truncated[place],
                )
        for row, text in cached.items():
            window.vectors[row], window.tokens[row], window.truncated[row] = text
        for row, serial in before.items():
            self._repeat(window, row, *self._at(serial))
        if len(first) < len(texts):
            for row, earlier in enumerate(source):
                if earlier != row:
                    self._repeat(window, row, window, earlier)
        self._remember(window)
        return window

    def _repeat(self, window: Window, row: int, source: Window, place: int) -> None:
        window.repeats.append((row, source, place))
        window.tokens[row], window.truncated[row] = source.tokens[place], source.truncated[place]

    def _at(self, serial: int) -> tuple[Window, int]:
        """Return the window of a text that is remembered, and its row."""
        for window in reversed(self._recent):
            if window.serial <= serial:
                return window, serial - window.serial
        raise AssertionError(f"text {serial} is of no window that is remembered")

    def _remember(self, window: Window) -> None:
        self._serial += len(window.texts)
        self._recent.append(window)
        self._known.update(zip(window.texts, range(window.serial, self._serial), strict=True))
        self._sizes.append(window.vectors.nbytes + sum(map(len, window.texts)))
        while len(self._recent) > 1 and sum(self._sizes) > REMEMBERED_BYTES:
            old = self._recent.popleft()
            self._sizes.popleft()
            for text in old.texts:
                if self._known.get(text, self._serial) < self._recent[0].serial:
                    del self._known[text]
