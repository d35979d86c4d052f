"""Loads a tokenizer.json, for those who only count as well: numpy is not needed."""

from __future__ import annotations

import json
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


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """Return the id of what stands for unknown tokens, or None."""
    model = tokenizer.model
    if not hasattr(model, "unk_token"):  # a unigram model names its id, in the file alone
        found: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")
        return found
    return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
