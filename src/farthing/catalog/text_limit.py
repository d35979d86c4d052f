"""How long a text a model takes: the limit that its files state beside its positions.

Knows sentence-transformers' files. Knows no tokenizer, and cuts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.catalog.model_files import read_json_object
from farthing.errors import ModelError

TRANSFORMER_FILE = "sentence_bert_config.json"
"""Where sentence-transformers keeps `max_seq_length`."""

TRANSFORMER_FILES = (
    TRANSFORMER_FILE,
    *(
        f"sentence_{family}_config.json"
        for family in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)
"""What earlier versions called it, by family. Source: sentence-transformers 6.2, `Transformer.load_config`."""

_UNSET = 1_000_000
"""Tokenizers without a limit write a huge number; anything above this means none."""


@dataclass(frozen=True, slots=True)
class TextLimit:
    """Most tokens of a text, special tokens included, and who says so. Longer texts are truncated."""

    tokens: int
    source: str


def folder_limit(folder: Path) -> TextLimit | None:
    """Return the limit that a model folder states, or None. What tokenizer.json has baked in is not it.

    Raises:
        ModelError: a file cannot be read, or the limit is no positive number of tokens.
    """
    tokenizer = folder / "tokenizer_config.json"
    for path, key in ((transformer_file(folder), "max_seq_length"), (tokenizer, "model_max_length")):
        stated = read_json_object(path).get(key) if path is not None and path.is_file() else None
        if path is not None and stated is not None:
            return _limit(stated, path.name, key, folder)
    return None


def transformer_file(folder: Path) -> Path | None:
    """Return the file of a folder that has sentence-transformers' settings of the transformer, or None."""
    return next((folder / file for file in TRANSFORMER_FILES if (folder / file).is_file()), None)


def _limit(stated: Any, file: str, key: str, folder: Path) -> TextLimit | None:
    number = isinstance(stated, int | float) and not isinstance(stated, bool)
    if number and stated > _UNSET:
        return None
    if not number or not isinstance(stated, int) or stated <= 0:
        raise ModelError(f"{folder}: {file}: {key} is {stated!r}; it must be a positive number of tokens")
    return TextLimit(stated, f"{file}: {key} {stated}")
