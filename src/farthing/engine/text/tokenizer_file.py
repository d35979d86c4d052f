"""Loads a tokenizer.json, for those who only count as well: numpy is not needed."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farthing.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


MOST_GROWTH = 16
"""Characters that the replacements of a normalizer may make of one."""


def load_tokenizer(path: Path, *, alone: bool = False) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json, with the truncation and padding that are baked into it.

    Args:
        path: the file.
        alone: whether nothing that lies beside it has a say in it.

    Raises:
        ModelError: the file is damaged, or none, or makes very long texts of short ones, or a file beside it says
            something else.
        MissingExtraError: tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer

        from farthing.engine.text.tokenizer_config import reconcile
    except ImportError as error:
        raise MissingExtraError("tokenizers", "cpu", "the engine") from error
    try:
        tokenizer = Tokenizer.from_file(str(path))
        growth = _growth(described(tokenizer.normalizer))
    except BaseException as error:
        raise ModelError(f"{path}: cannot be loaded: {failure(error)}; fetch the model again") from error
    if growth > MOST_GROWTH:
        raise ModelError(
            f"{path}: its normalizer makes {growth:,} characters of one, and {MOST_GROWTH} at most are tokenized; "
            "take out its replacements"
        )
    if not alone:
        reconcile(path, tokenizer)
    return tokenizer


def described(part: Any) -> Any:
    """Return what a normalizer or pre-tokenizer is made of, as tokenizer.json has it; None for none.

    The tokenizer's own `to_str` writes its vocabulary, too, which takes 15 ms for 30,000 tokens.
    """
    return None if part is None else json.loads(part.__getstate__())


def failure(error: BaseException) -> str:
    """Return in one line how the library failed. It raises bare Exceptions, and panics, which are none.

    Raises:
        BaseException: it is the interpreter's own, such as KeyboardInterrupt.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if len(reason) <= 200 else f"{reason[:199]}…"


def _growth(normalizer: Any) -> int:
    """Return how many characters a normalizer may make of one, at most."""
    if not isinstance(normalizer, dict):
        return 1
    if normalizer["type"] == "Sequence":
        return prod(map(_growth, normalizer["normalizers"]))
    if normalizer["type"] == "Replace":
        content = len(normalizer["content"])
        pattern = normalizer["pattern"].get("String")
        # A regular expression may match nothing, between all characters.
        return max(1, -(-content // len(pattern))) if pattern else 1 + content
    if normalizer["type"] == "Prepend":
        return 1 + len(normalizer["prepend"])
    return 1  # or up to 18 of Unicode's compatibility forms, once


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """Return the id of what stands for unknown tokens, or None."""
    model = tokenizer.model
    if not hasattr(model, "unk_token"):  # a unigram model names its id, in the file alone
        found: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")
        return found
    return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
