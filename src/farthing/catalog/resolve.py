"""From a model's name to its shape and the longest text it takes: a folder, a row of the catalog or a hub id.

Knows where a configuration is found, and where a static model keeps the size of its table. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.catalog import facts
from farthing.catalog.lookups import find_model
from farthing.catalog.model_files import (
    hub_config,
    hub_file_if_there,
    hub_tensor_shapes,
    read_json_object,
    tensor_shapes,
)
from farthing.catalog.rows import CatalogModel
from farthing.catalog.text_limit import TRANSFORMER_FILE, TextLimit, folder_limit
from farthing.errors import ModelError
from farthing.theory.families.configs import is_static, shape_from_config
from farthing.theory.shapes import ModelShape

_TABLE = "embeddings"
"""Name of a static model's table. Source: the package model2vec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that was found.

    Attributes:
        name: what to show for it.
        shape: its transformer, or static table.
        limit: the most tokens of a text, never above its positions, and who says so.
    """

    name: str
    shape: ModelShape
    limit: TextLimit


def resolve_model(model: str) -> ResolvedModel:
    """Return the model that a name stands for: a folder, one of the catalog or of the hub.

    Raises:
        ModelError: the folder or the configuration cannot be used, or the name cannot be a hub id.
        ModelUnavailableError: the hub cannot be reached, or has no such model.
        MissingExtraError: the hub is needed, and huggingface-hub is not installed.
    """
    if not model.strip():
        raise ModelError("no model is named; give a folder with a config.json, a hub id or a catalog name")
    path = Path(model).expanduser()
    if path.is_dir():
        config = _config_of(path / "config.json")
        weights = path / "model.safetensors"
        shape = shape_from_config(
            _with_table(config, model, lambda: tensor_shapes(weights)), f"{model}/config.json"
        )
        return _resolved(str(path.resolve()), shape, _limit_in(path, config))
    models = facts.models()
    known = find_model(models, model)
    if known is not None:
        limit = known.max_seq_length
        stated = None if limit is None else TextLimit(int(limit.value), limit.origin)
        return _resolved(known.name, shape_from_config(known.config, known.name), stated)
    if path.exists():
        raise ModelError(f"{model}: is a file; give the model's folder")
    if model.count("/") != 1 or model.startswith((".", "/", "~")) or model.endswith("/"):
        raise ModelError(
            f"{model}: no such folder; give a folder with a config.json, a hub id or one of the catalog's "
            f"{len(models)} models, such as {', '.join(_nearest(model, models))}"
        )
    file = hub_config(model)
    config = _config_of(file)
    shape = shape_from_config(_with_table(config, model, lambda: hub_tensor_shapes(model)), model)
    if not is_static(config):
        hub_file_if_there(model, TRANSFORMER_FILE)
    return _resolved(model, shape, _limit_in(file.parent, config))


def _resolved(name: str, shape: ModelShape, stated: TextLimit | None) -> ResolvedModel:
    positions = shape.max_positions
    if stated is None or stated.tokens >= positions:
        stated = TextLimit(positions, f"{positions} positions")
    return ResolvedModel(name=name, shape=shape, limit=stated)


def _limit_in(folder: Path, config: Mapping[str, Any]) -> TextLimit | None:
    """Return the limit that a folder states; a static model has no use for its tokenizer's."""
    return None if is_static(config) else folder_limit(folder)


def _nearest(model: str, models: Sequence[CatalogModel]) -> list[str]:
    """Return the three models of the catalog whose names are most like this one."""
    from difflib import get_close_matches

    names = {known.name.rpartition("/")[2].lower(): known.name for known in models}
    return [names[name] for name in get_close_matches(model.lower(), names, n=3, cutoff=0.0)]


def _with_table(
    config: Mapping[str, Any], model: str, shapes: Callable[[], Mapping[str, tuple[int, ...]]]
) -> Mapping[str, Any]:
    """Return the configuration; a static model's with its table's size, which only its weights say."""
    if not is_static(config) or "vocab_size" in config:
        return config
    table = shapes().get(_TABLE)
    if table is None or len(table) != 2:
        raise ModelError(f"{model}: its weights hold no two-dimensional tensor {_TABLE!r}")
    return {**config, "vocab_size": table[0], "hidden_dim": table[1]}


def _config_of(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelError(
            f"{path.parent}: no config.json in this folder; give a folder in Hugging Face layout"
        )
    return read_json_object(path)
