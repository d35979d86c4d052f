"""From a model's name to its shape and the longest text it takes: a folder, a row of the catalog or a hub id.

Knows where a configuration is found, and where a static model keeps the size of its table. Reads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from farthing.catalog import facts
from farthing.catalog.lookups import find_model
from farthing.catalog.model_files import (
    adapter_refusal,
    hub_config,
    hub_file_if_there,
    hub_tensor_shapes,
    local_folder,
    other_weights,
    read_json,
    read_json_object,
    tensor_shapes,
)
from farthing.catalog.rows import CatalogModel
from farthing.catalog.text_limit import TRANSFORMER_FILE, TRANSFORMER_FILES, TextLimit, folder_limit
from farthing.errors import ModelError
from farthing.theory.families.assumptions import ASSUMED, assumptions
from farthing.theory.families.configs import STATIC, is_static, model_type_of, shape_from_config
from farthing.theory.families.stored_bits import quantization_method
from farthing.theory.shapes import ModelShape

_TABLE = "embeddings"
"""Name of a static model's table. Source: the package model2vec."""

MODULES_FILE = "modules.json"
_ADAPTER = "adapter_config.json"

_QUANTIZATION_FILES = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
"""Where AutoGPTQ, AutoAWQ and modelopt said what they did, before config.json did."""

_USUAL_TABLE = (30522, 1024)
"""Source: huggingface.co/sentence-transformers/static-retrieval-mrl-en-v1, `embedding.weight`."""

_UNKNOWN_TABLE = (
    f"{ASSUMED}: the weights are not here, so the table's size is not known; priced with "
    f"{_USUAL_TABLE[0]:,} rows of {_USUAL_TABLE[1]:,}, those of static-retrieval-mrl-en-v1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that was found.

    Attributes:
        name: what to show for it.
        shape: its transformer, or static table.
        limit: the most tokens of a text, never above its positions, and who says so.
        notes: what was assumed of it.
    """

    name: str
    shape: ModelShape
    limit: TextLimit
    notes: tuple[str, ...] = ()


def resolve_model(model: str) -> ResolvedModel:
    """Return the model that a name stands for: a folder, one of the catalog or of the hub.

    Raises:
        ModelError: the folder or the configuration cannot be used, or the name cannot be a hub id.
        ModelUnavailableError: the hub cannot be reached, or has no such model.
        MissingExtraError: the hub is needed, and huggingface-hub is not installed.
    """
    if not model.strip():
        raise ModelError("no model is named; give a folder with a config.json, a hub id or a catalog name")
    path = local_folder(model)
    if path is not None:

        def here(file: str) -> Path | None:
            return path / file if (path / file).is_file() else None

        return _found(str(path.resolve()), model, here, lambda file: tensor_shapes(path / file))
    models = facts.models()
    known = find_model(models, model)
    if known is not None:
        limit = known.max_seq_length
        stated = None if limit is None else TextLimit(int(limit.value), limit.origin)
        return _resolved(known.name, shape_from_config(known.config, known.name), stated)
    if Path(model).expanduser().exists():
        raise ModelError(f"{model}: is a file; give the model's folder")
    if model.count("/") != 1 or model.startswith((".", "/", "~")) or model.endswith("/"):
        raise ModelError(
            f"{model}: no such folder; give a folder with a config.json, a hub id or one of the catalog's "
            f"{len(models)} models, such as {', '.join(_nearest(model, models))}"
        )

    config: Path | None = None

    def fetched(file: str) -> Path | None:
        return config if file == "config.json" else hub_file_if_there(model, file)

    try:
        config = hub_config(model)
    except ModelError:
        if fetched(_ADAPTER) is None and fetched(MODULES_FILE) is None:
            raise
    return _found(model, model, fetched, lambda _: hub_tensor_shapes(model))


def _found(
    name: str, given: str, file: Callable[[str], Path | None], tensors: Callable[[str], Mapping[str, Any]]
) -> ResolvedModel:
    """Return the model of a folder or of the hub.

    Args:
        name: what to show for it.
        given: what the user called it, for errors.
        file: from the name of one of its files to where it is now; None where there is none.
        tensors: from the name of one of its safetensors files to the shapes in it.
    """
    module, place = "", ""
    path = file("config.json")
    config: Mapping[str, Any] = {} if path is None else read_json_object(path)
    modules = None if model_type_of(config) is not None else file(MODULES_FILE)
    if modules is not None:
        module, place = _first_module(modules)
    if module == "StaticEmbedding":
        return _static_embedding(name, given, file, lambda: tensors(f"{place}/model.safetensors"))
    inner = file(f"{place}/config.json") if place else None
    if inner is not None:
        path, config = inner, read_json_object(inner)
    if path is None:
        raise ModelError(_no_config(given, file))
    prefix = f"{place}/" if inner is not None else ""
    config = _with_quantization(config, given, lambda name: file(prefix + name))
    source = f"{given}/{prefix}config.json"
    shape = shape_from_config(
        _with_table(config, given, lambda: tensors(f"{prefix}model.safetensors")), source
    )
    if not is_static(config):
        for limits in TRANSFORMER_FILES if prefix else (TRANSFORMER_FILE,):
            file(prefix + limits)
    found = _resolved(name, shape, _limit_in(path.parent, config))
    return replace(found, notes=assumptions(config, source))


def _with_quantization(
    config: Mapping[str, Any], given: str, file: Callable[[str], Path | None]
) -> Mapping[str, Any]:
    """Return the configuration, with what earlier tools wrote of a quantization into a file of its own.

    Of the hub it is asked for only where the name speaks of such a tool.
    """
    told = Path(given).expanduser().is_dir() or re.search("gptq|awq|fp8|fp4|int4|int8|w4a|w8a", given.lower())
    if not told or quantization_method(config, given) is not None:
        return config
    for name, method in _QUANTIZATION_FILES.items():
        path = file(name)
        if path is not None:
            stated = read_json_object(path)
            inner = stated.get("quantization")
            settings = inner if isinstance(inner, dict) else stated
            return {**config, "quantization_config": {"quant_method": method, **settings}}
    return config


def _first_module(path: Path) -> tuple[str, str]:
    """Return the class of the first of sentence-transformers' modules, and its folder.

    Raises:
        ModelError: the file is no list of modules, or the folder leads out of the model's.
    """
    modules = read_json(path)
    if not isinstance(modules, list) or not modules or not all(isinstance(each, dict) for each in modules):
        raise ModelError(f"{path}: holds no list of modules")
    place = str(modules[0].get("path", ""))
    if PurePath(place).is_absolute() or ".." in PurePath(place).parts:
        raise ModelError(f"{path}: the path {place!r} leads out of the model's folder")
    return str(modules[0].get("type", "")).rpartition(".")[2], place


def _static_embedding(
    name: str, given: str, file: Callable[[str], Path | None], shapes: Callable[[], Mapping[str, Any]]
) -> ResolvedModel:
    """Return a sentence-transformers model that looks tokens up and averages them."""
    notes: tuple[str, ...] = ()
    try:
        tensors = shapes()
    except ModelError:
        tensors, notes = {"embedding.weight": _USUAL_TABLE}, (_UNKNOWN_TABLE,)
    table = next((tensors[key] for key in ("embedding.weight", _TABLE) if key in tensors), None)
    if table is None or len(table) != 2:
        raise ModelError(
            f"{given}: a StaticEmbedding whose weights hold no two-dimensional tensor embedding.weight"
        )
    config = {"model_type": STATIC, "vocab_size": table[0], "hidden_dim": table[1]}
    return replace(_resolved(name, shape_from_config(config, given), None), notes=notes)


def _no_config(given: str, file: Callable[[str], Path | None]) -> str:
    """Return what is wrong with a folder without a config.json, and what to do."""
    adapter = file(_ADAPTER)
    if adapter is not None:
        return adapter_refusal(adapter, given)
    held = other_weights(Path(given).expanduser())
    if held is not None:
        return f"{given}: {held}; give the folder or hub id of the model that they were made from"
    return f"{given}: no config.json in this folder; give a folder in Hugging Face layout"


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
