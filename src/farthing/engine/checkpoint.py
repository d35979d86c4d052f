"""What a model folder says: its shape, pooling, limits and prompts, read from its JSON files.

Knows the Hugging Face and sentence-transformers layouts. Loads no weights and needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from farthing.catalog.model_files import read_json, read_json_object
from farthing.catalog.text_limit import TRANSFORMER_FILE, folder_limit
from farthing.engine.locate import LocatedModel
from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.shapes import ModelShape

Pooling = Literal["cls", "mean"]

SUPPORTED_FAMILIES = ("bert",)
"""Families that the engine runs; the theory prices more."""

_POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "cls": "cls",
    "mean": "mean",
}
"""Names of the poolings that the engine runs, in both of sentence-transformers' spellings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model folder, read but not loaded.

    Attributes:
        name: what to call the model.
        folder: where it is.
        revision: the hub's commit, or the start of the weights' sha256.
        shape: its transformer.
        pooling: how token vectors become one vector.
        normalize: whether the vector is scaled to length one.
        max_length: most tokens of a text, special tokens included; longer texts are truncated.
        lowercase: whether texts are put in lower case first, whatever the tokenizer does.
        prompts: prefixes by name.
        default_prompt: name of the prompt used when none is named.
    """

    name: str
    folder: Path
    revision: str
    shape: ModelShape
    pooling: Pooling
    normalize: bool
    max_length: int
    lowercase: bool
    prompts: Mapping[str, str]
    default_prompt: str | None

    @property
    def weights(self) -> Path:
        """The file that holds the weights."""
        return self.folder / "model.safetensors"

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return self.shape.hidden


def read_checkpoint(located: LocatedModel) -> Checkpoint:
    """Read a model folder.

    A folder without modules.json is a bare transformer: mean pooling and no normalisation, which is also
    what sentence-transformers makes of it.

    Raises:
        ModelError: a file is missing or says something that cannot be.
        UnsupportedModelError: an architecture, pooling or module that the engine does not run.
    """
    folder, name = located.folder, located.name
    config = read_json_object(folder / "config.json")
    shape = shape_from_config(config, str(folder / "config.json"))
    if shape.family not in SUPPORTED_FAMILIES:
        raise UnsupportedModelError(
            f"{name}: the engine does not run architecture {shape.family!r} yet, only "
            f"{', '.join(SUPPORTED_FAMILIES)}; `farthing explain` prices it"
        )
    for file in ("model.safetensors", "tokenizer.json"):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: {file} is missing; Farthing loads safetensors and fast tokenizers")
    pooling, normalize = _read_modules(folder)
    transformer = _read_optional(folder / TRANSFORMER_FILE)
    limit = folder_limit(folder)
    prompts, default_prompt = _read_prompts(folder)
    return Checkpoint(
        name=name,
        folder=folder,
        revision=located.revision or f"sha256:{sha256_of(folder / 'model.safetensors')[:16]}",
        shape=shape,
        pooling=pooling,
        normalize=normalize,
        max_length=shape.max_positions if limit is None else min(limit.tokens, shape.max_positions),
        lowercase=bool(transformer.get("do_lower_case", False)),
        prompts=prompts,
        default_prompt=default_prompt,
    )


def _read_modules(folder: Path) -> tuple[Pooling, bool]:
    path = folder / "modules.json"
    if not path.is_file():
        return "mean", False
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{path}: holds no list of modules")
    pooling: Pooling | None = None
    normalize = False
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Pooling":
            pooling = _read_pooling(folder / str(module.get("path", "")) / "config.json")
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise UnsupportedModelError(
                f"{path}: module {kind!r} is not supported; the engine runs Transformer, Pooling and Normalize"
            )
    if pooling is None:
        raise UnsupportedModelError(
            f"{path}: no Pooling module, so this is not a model of one vector per text"
        )
    return pooling, normalize


def _read_pooling(path: Path) -> Pooling:
    config = read_json_object(path)
    chosen = config.get("pooling_mode")
    if chosen is None:
        named = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        chosen = named or ["pooling_mode_mean_tokens"]
    names = [str(name) for name in (chosen if isinstance(chosen, list) else [chosen])]
    if len(names) != 1 or names[0] not in _POOLINGS:
        raise UnsupportedModelError(
            f"{path}: pooling {' + '.join(names)} is not supported; the engine runs cls and mean"
        )
    if config.get("include_prompt") is False:
        raise UnsupportedModelError(f"{path}: include_prompt = false is not supported")
    return _POOLINGS[names[0]]


def _read_prompts(folder: Path) -> tuple[dict[str, str], str | None]:
    config = _read_optional(folder / "config_sentence_transformers.json")
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ModelError(f"{folder}: config_sentence_transformers.json: prompts are no strings by name")
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelError(
            f"{folder}: default_prompt_name {default!r} is not among the prompts {sorted(prompts)}"
        )
    return prompts, default


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
