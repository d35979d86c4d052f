"""Loads a tokenizer.json, for those who only count as well: numpy is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from farthing.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json, with the truncation and padding that are baked into it.

    Raises:
        ModelError: the file is damaged, or none.
        MissingExtraError: tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "cpu", "the engine") from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{path}: cannot be loaded: {error}; fetch the model again") from error
