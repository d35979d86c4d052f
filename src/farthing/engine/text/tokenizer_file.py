"""Loads a tokenizer.json, for those who only count as well: numpy is not needed."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farthing.engine.text.tokenizer_parts import parts
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
        growth = prod(map(_growth, parts(tokenizer.normalizer)))
    except BaseException as error:
        raise ModelError(f"{path}: cannot be loaded: {failure(error)}; fetch the model again") from error
    if growth > MOST_GROWTH:
        raise ModelError(
            f"{path}: its normalizer makes {growth:,} characters of one, and {MOST_GROWTH} at most are tokenized; "
            "take out its replacements"
        )
    if not alone:
        try:
            reconcile(path, tokenizer)
        except ModelError:
            raise
        except BaseException as error:  # a panic is no Exception
            reason = failure(error)
            raise ModelError(f"{path}: it or what lies beside it cannot be used: {reason}") from error
    return tokenizer


def failure(error: BaseException) -> str:
    """Return in one line how the library failed. It raises bare Exceptions, and panics, which are none.

    Raises:
        BaseException: it is the interpreter's own, such as KeyboardInterrupt.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if len(reason) <= 200 else f"{reason[:199]}…"


def _growth(normalizer: dict[str, Any]) -> int:
    """Return how many characters a normalizer may make of one, at most."""
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
