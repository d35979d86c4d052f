"""Texts to token ids, with the model's own limit and no padding.

tokenizer.json files carry truncation and padding of their own (MiniLM's cuts at 128 and pads every text to
128); both are replaced here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from farthing.engine.contract import Ids
from farthing.engine.folder.checkpoint import Checkpoint, TruncationSide
from farthing.engine.folder.files import TOKENIZER_FILE
from farthing.engine.text.tokenizer_file import load_tokenizer, unknown_id
from farthing.errors import InputError, ModelError, UnsupportedModelError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


_READ_TEXTS, _READ_CHARACTERS = 1024, 1_000_000
"""Texts, or characters, that are read together where they are only counted: enough for all cores, in bounded memory."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of some texts.

    Attributes:
        ids: one array of shape (tokens,) for each text.
        lengths: tokens of each text.
        truncated: for each text, whether it was cut at the limit.
        seconds: wall seconds that tokenizing took.
    """

    ids: list[Ids]
    lengths: list[int]
    truncated: list[bool]
    seconds: float


class TextTokenizer:
    """The tokenizer of a checkpoint.

    tokenizer.json alone says which special tokens a text gets: an end-of-text token is there for last-token
    pooling if its post-processor appends one, whatever tokenizer_config.json says of `add_eos_token`.
    transformers 5 reads them so as well.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        max_length: int | None = None,
        truncation_side: TruncationSide | None = None,
    ) -> None:
        """Load tokenizer.json.

        Args:
            checkpoint: the model folder.
            max_length: most tokens of a text; None for the model's own limit.
            truncation_side: where texts over the limit lose tokens; None for the model's own side, which is the
                right one where it says nothing. Special tokens are kept.

        Raises:
            InputError: `max_length` is not positive or above the model's positions, or no such side.
            ModelError: tokenizer.json cannot be loaded or does not fit the vocabulary.
        """
        limit = checkpoint.max_length if max_length is None else max_length
        if not 0 < limit <= checkpoint.shape.max_positions:
            raise InputError(
                f"length {limit} is out of range: {checkpoint.name} takes 1 to {checkpoint.shape.max_positions} tokens"
            )
        if truncation_side not in (None, "left", "right"):
            raise InputError(f"truncation_side {truncation_side!r}: expected left or right")
        static = checkpoint.static
        self._path = (checkpoint.folder if static is None else static.folder) / TOKENIZER_FILE
        self._tokenizer: Tokenizer = load_tokenizer(self._path)
        baked = self._tokenizer.truncation or {}
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._rows, self._types = checkpoint.shape.vocabulary, checkpoint.shape.token_types
        self._adds_special, self._pools_prompt = static is None, checkpoint.pools_prompt
        self._check_vocabulary()
        self._special = self._tokenizer.num_special_tokens_to_add(is_pair=False) if self._adds_special else 0
        if limit <= self._special:
            raise InputError(
                f"length {limit} leaves no room for text: the tokenizer adds {self._special} special tokens"
            )
        if static is not None and not static.model2vec and max_length is None:
            limit = min(limit, baked.get("max_length", limit))
        self._left_out: int | None = None
        self._characters = sys.maxsize
        if static is not None and static.model2vec:
            self._left_out = unknown_id(self._tokenizer)
            if limit < checkpoint.shape.max_positions:
                self._characters = limit * int(
                    np.median([len(token) for token in self._tokenizer.get_vocab()])
                )
        self.truncation_side: str = (
            truncation_side or checkpoint.truncation_side or baked.get("direction") or "right"
        )
        self._tokenizer.enable_truncation(limit, direction=self.truncation_side)
        if checkpoint.lowercase:
            self._lower_first()
        self.max_length = limit

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts; the GIL is released and all cores help.

        Args:
            texts: any strings; an empty one becomes its special tokens.

        Raises:
            InputError: a text has no token at all, as an empty one to a tokenizer without special tokens.
            ModelError: a token is not in the model's embedding table.
        """
        start = time.perf_counter()
        encodings = self._encodings(texts)
        lists = [encoding.ids for encoding in encodings]
        truncated = [
            len(ids) == self.max_length and bool(encoding.overflowing)
            for ids, encoding in zip(lists, encodings, strict=True)
        ]
        if self._left_out is not None:
            lists = [[one for one in ids if one != self._left_out] for ids in lists]
            pairs = zip(truncated, texts, strict=True)
            truncated = [cut or len(text) > self._characters for cut, text in pairs]
        lengths = list(map(len, lists))
        if 0 in lengths:
            raise InputError(f"text {lengths.index(0)} has no tokens; leave it out")
        whole = np.fromiter(chain.from_iterable(lists), np.int32, sum(lengths))
        if lists:
            self._check_ids(max(map(max, lists)))
        ids = [whole[stop - length : stop] for length, stop in zip(lengths, accumulate(lengths), strict=True)]
        return TokenizedTexts(ids, lengths, truncated, time.perf_counter() - start)

    def prompt(self, text: str) -> Ids:
        """Return the ids of a prompt; where the model does not pool them, as they stand before a text.

        That is without a special token at their end.
        """
        (encoding,) = self._encodings([text])
        ids = np.array(encoding.ids, np.int32)
        ends = not self._pools_prompt and len(ids) and encoding.special_tokens_mask[-1]
        return ids[:-1] if ends else ids

    def refuse_longer(self, texts: Iterable[tuple[str, str]]) -> None:
        """Read every text, for those who do not want them cut.

        Args:
            texts: what a reader knows each by, as it stands at the start of a sentence, and the text itself.

        Raises:
            InputError: a text is over the limit; it is named with its tokens.
        """
        source = iter(texts)
        while some := taken(source, _READ_TEXTS, _READ_CHARACTERS, lambda named: named[1]):
            found = self._encodings([text for _, text in some])
            for (name, text), encoding in zip(some, found, strict=True):
                if len(text) > self._characters:
                    raise InputError(
                        f"{name} has {len(text):,} characters, and the model reads {self._characters:,} of them; "
                        "shorten it, or let it be truncated"
                    )
                if encoding.overflowing:
                    raise InputError(
                        f"{name} has {self._whole_length(encoding)} tokens, over the limit of {self.max_length}; "
                        "shorten it, or let it be truncated"
                    )

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """Return the encodings of texts, of which model2vec reads so many characters, and cuts those on the right."""
        cut = [text[: self._characters] for text in texts] if self._characters < sys.maxsize else list(texts)
        return self._tokenizer.encode_batch_fast(cut, add_special_tokens=self._adds_special)

    def _check_vocabulary(self) -> None:
        """Refuse a tokenizer whose size or special tokens say that it is another model's.

        All its ids are not looked at: that takes 0.4 s for 250,000. Those of texts are, when they are encoded.
        """
        tokens = self._tokenizer.get_vocab_size()
        if tokens > self._rows:
            raise ModelError(
                f"{self._path}: has {tokens} tokens, but the model's embedding table has {self._rows} rows; it is "
                "another model's tokenizer"
            )
        whole = self._tokenizer.encode("a", add_special_tokens=self._adds_special)
        self._check_ids(max(whole.ids, default=0))
        if self._types and any(whole.type_ids):
            raise UnsupportedModelError(
                f"{self._path}: its post_processor gives tokens a type other than 0, which the engine does not run; "
                "set its type_ids to 0 if the model was trained so"
            )

    def _check_ids(self, largest: int) -> None:
        """Refuse an id beyond the embedding table, which would read whatever lies there."""
        if largest >= self._rows:
            raise ModelError(
                f"{self._path}: token {self._tokenizer.id_to_token(largest)!r} has id {largest}, but the model's "
                f"embedding table has {self._rows} rows; it is another model's tokenizer"
            )

    def _lower_first(self) -> None:
        """Put texts in lower case before all else, but for special tokens in them, as sentence-transformers does."""
        from tokenizers import normalizers

        own = self._tokenizer.normalizer
        lower = normalizers.Lowercase()
        self._tokenizer.normalizer = lower if own is None else normalizers.Sequence([lower, own])

    def _whole_length(self, encoding: Encoding) -> int:
        """Return the tokens of a truncated text, had it not been: each part has the special tokens around it."""
        parts = [encoding, *encoding.overflowing]
        return self._special + sum(len(part.ids) - self._special for part in parts)

    def words(self) -> list[str]:
        """Return whole words of the vocabulary, to make synthetic text from."""
        return sorted(word for word in self._tokenizer.get_vocab() if word.isalpha() and word.isascii())


def taken(source: Iterator[Item], texts: int, characters: int, text_of: Callable[[Item], str]) -> list[Item]:
    """Return the next of a source: so many texts at most, and none more once they have so many characters."""
    some: list[Item] = []
    for item in islice(source, texts):
        some.append(item)
        characters -= len(text_of(item))
        if characters <= 0:
            break
    return some
