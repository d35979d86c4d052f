"""Counting the tokens of texts without the model: for plans over a file of texts.

No hub is asked: a tokenizer that is not on this machine is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from farthing.catalog import facts
from farthing.catalog.lookups import find_model
from farthing.catalog.model_files import DEFAULT_MODEL
from farthing.engine.folder.locate import default_model_folder
from farthing.engine.text.contents import ContentReader
from farthing.engine.text.tokenizer_file import load_tokenizer
from farthing.errors import InputError, MissingExtraError

_MOST_TOKENS = 131_072
"""Of a text that are counted; no embedding model reads as many."""


def token_counter_if_here(model: str) -> Callable[[Sequence[str]], list[int]] | None:
    """Return what counts the tokens of texts, special tokens included, or None without the model's tokenizer.

    Args:
        model: a folder, or a hub id or catalog name of a model that was fetched before.

    Raises:
        ModelError: the tokenizer is there and cannot be loaded. What counts raises an InputError for a text that the
            tokenizer cannot read.
    """
    path = _tokenizer_file(model)
    if path is None:
        return None
    try:
        tokenizer = load_tokenizer(path)
    except MissingExtraError:
        return None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    reader, special = (
        ContentReader(tokenizer, _MOST_TOKENS, "right"),
        tokenizer.num_special_tokens_to_add(False),
    )

    def counts(texts: Sequence[str]) -> list[int]:
        contents = reader.read(texts)
        for row, content in enumerate(contents):
            if content.error is not None:
                raise InputError(f"text {row}: {content.error}")
        return [special + (content.tokens or len(content.ids)) for content in contents]

    return counts


def _tokenizer_file(model: str) -> Path | None:
    try:
        folder = Path(model).expanduser()
        exists = bool(model.strip()) and folder.exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such user's home, a NUL in it
        return None
    if exists:
        return _if_file(folder / "tokenizer.json")
    known = find_model(facts.models(), model)
    name = model if known is None else known.name
    fetched = _if_file(default_model_folder() / "tokenizer.json") if name == DEFAULT_MODEL else None
    return fetched or _cached_by_hub(name)


def _cached_by_hub(name: str) -> Path | None:
    if name.count("/") != 1:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        cached = try_to_load_from_cache(name, "tokenizer.json")
    except HFValidationError:
        return None
    return _if_file(Path(cached)) if isinstance(cached, str) else None


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None
