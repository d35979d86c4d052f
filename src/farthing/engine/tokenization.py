"""Texts to token ids, with the model's own limit and no padding.

tokenizer.json files carry truncation and padding of their own (MiniLM's cuts at 128 and pads every text to
128); both are replaced here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farthing.engine.checkpoint import Checkpoint
from farthing.errors import InputError, MissingExtraError, ModelError

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of some texts.

    Attributes:
        ids: one array of shape (tokens,) for each text.
        truncated: for each text, whether it was cut at the limit.
        seconds: wall seconds that tokenizing took.
    """

    ids: list[Ids]
    truncated: list[bool]
    seconds: float

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.ids]


class TextTokenizer:
    """The tokenizer of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, max_length: int | None = None) -> None:
        """Load tokenizer.json.

        Args:
            checkpoint: the model folder.
            max_length: most tokens of a text; None for the model's own limit.

        Raises:
            InputError: `max_length` is not positive or above the model's positions.
            ModelError: tokenizer.json cannot be loaded or does not fit the vocabulary.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError("tokenizers", "cpu", "the engine") from error
        limit = checkpoint.max_length if max_length is None else max_length
        if not 0 < limit <= checkpoint.shape.max_positions:
            raise InputError(
                f"length {limit} is out of range: {checkpoint.name} takes 1 to {checkpoint.shape.max_positions} tokens"
            )
        path = checkpoint.folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{path}: cannot be loaded: {error}") from error
        if self._tokenizer.get_vocab_size() > checkpoint.shape.vocabulary:
            raise ModelError(
                f"{path}: has {self._tokenizer.get_vocab_size()} tokens, but the model's embedding table "
                f"has {checkpoint.shape.vocabulary} rows"
            )
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if limit <= special:
            raise InputError(
                f"length {limit} leaves no room for text: the tokenizer adds {special} special tokens"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(limit)
        self._lowercase = checkpoint.lowercase
        self.max_length = limit

    def encode(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts; the GIL is released and all cores help.

        Args:
            texts: any strings; an empty one becomes its special tokens.
        """
        start = time.perf_counter()
        batch = [text.lower() for text in texts] if self._lowercase else list(texts)
        encodings = self._tokenizer.encode_batch_fast(batch)
        ids = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        truncated = [
            len(one) == self.max_length and bool(encoding.overflowing)
            for one, encoding in zip(ids, encodings, strict=True)
        ]
        return TokenizedTexts(ids, truncated, time.perf_counter() - start)

    def words(self) -> list[str]:
        """Return whole words of the vocabulary, to make synthetic text from."""
        return sorted(word for word in self._tokenizer.get_vocab() if word.isalpha() and word.isascii())
