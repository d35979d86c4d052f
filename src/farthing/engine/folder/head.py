"""sentence-transformers' modules.json: how token vectors become one vector.

In the spellings of sentence-transformers 2 to 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, NoReturn

from farthing.catalog.model_files import read_json, read_json_object
from farthing.catalog.text_limit import transformer_file
from farthing.engine.folder.files import weight_files
from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.values import Config, count, flag
from farthing.theory.shapes import Activation

MODULES_FILE = "modules.json"

Pooling = Literal["cls", "mean", "last_token", "weighted_mean"]

DenseActivation = Activation | Literal["tanh"]

_POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last_token",
    "weightedmean": "weighted_mean",
}
"""Names of the poolings that the engine runs, in both of sentence-transformers' spellings."""

_ACTIVATIONS: Mapping[str, DenseActivation | None] = {
    "Identity": None,
    "Tanh": "tanh",
    "GELU": "gelu",  # made without arguments, so the erf form
    "ReLU": "relu",
    "SiLU": "silu",
}
"""Torch's classes of the activations that the engine runs behind a matrix."""

_INPUT = "sentence_embedding"
"""What sentence-transformers calls the vector of a text, as opposed to `token_embeddings`."""

_TEXT = {"method": "forward", "method_output_name": "last_hidden_state"}
"""How a Transformer module takes texts to token vectors, as sentence-transformers 6 says it."""

_ARGUMENTS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        ("model_args", "model_kwargs"),
        frozenset({"torch_dtype", "dtype", "attn_implementation", "add_pooling_layer", "trust_remote_code"}),
    ),
    **dict.fromkeys(
        ("tokenizer_args", "processor_kwargs"), frozenset({"padding_side", "use_fast", "trust_remote_code"})
    ),
    **dict.fromkeys(("config_args", "config_kwargs"), frozenset({"trust_remote_code"})),
    "processing_kwargs": frozenset({"chat_template"}),
}
"""Arguments that a Transformer module may pass on, and those of them that change no vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseShape:
    """A matrix behind the pooling.

    Attributes:
        inputs: width of what it reads.
        outputs: width of what it gives.
        bias: whether it has a bias.
        activation: what follows it; None for nothing.
        weights: the file that holds it, with tensors `linear.weight` and `linear.bias`.
    """

    inputs: int
    outputs: int
    bias: bool
    activation: DenseActivation | None
    weights: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands behind the transformer.

    Attributes:
        pooling: how token vectors become one vector.
        pools_prompt: whether the tokens of a prompt are among them.
        dense: matrices behind the pooling, in order.
        normalize: whether the vector is scaled to length one at the end.
    """

    pooling: Pooling
    pools_prompt: bool = True
    dense: tuple[DenseShape, ...] = ()
    normalize: bool = False


def read_head(folder: Path, config: Config, hidden: int, name: str) -> Head:
    """Return what stands behind a folder's transformer.

    A folder without modules.json is a bare transformer. As in sentence-transformers, it gets mean pooling, or
    last-token pooling where its architecture is a causal language model, and no normalisation.

    Args:
        folder: the model folder.
        config: its config.json.
        hidden: width of the transformer.
        name: the model's folder or hub id, for errors.

    Raises:
        ModelError: a file is missing or says something that cannot be.
        UnsupportedModelError: a module, its place or a setting of it that the engine does not run.
    """
    if not (folder / MODULES_FILE).is_file():
        return Head(pooling=_bare_pooling(config))
    pooling: Pooling | None = None
    dense: list[DenseShape] = []
    normalize, pools_prompt, width = False, True, hidden
    for index, (path, place) in enumerate(module_rows(folder)):
        package, kind = path.split(".")[0], path.rsplit(".", 1)[-1]
        if package != "sentence_transformers":
            _refuse(folder, f"module {path!r} is code of its own, which Farthing never runs")
        elif kind in ("Transformer", "StaticEmbedding"):
            pooling = _check_first(folder, kind, index, place)
        elif kind not in ("Pooling", "Dense", "Normalize", "Dropout"):  # the last does nothing here
            _refuse(
                folder,
                f"module {kind!r} is not supported; the engine runs Transformer, StaticEmbedding, Pooling, Dense and "
                "Normalize",
            )
        elif (kind == "Pooling") == (pooling is not None):
            _refuse(folder, "a second Pooling" if pooling else f"{kind} comes before Pooling")
        elif kind == "Pooling":
            pooling, pools_prompt = _read_pooling(folder / place / "config.json")
        elif kind == "Normalize":
            _check_input(folder / place / "config.json")
            normalize = True
        elif kind == "Dense":
            if normalize:
                _refuse(folder, "Normalize comes before Dense; the engine runs it after the last Dense only")
            dense.append(_read_dense(folder / place, width, name))
            width = dense[-1].outputs
    if pooling is None:
        _refuse(folder, "no Pooling module, so this is not a model of one vector per text")
    return Head(pooling=pooling, pools_prompt=pools_prompt, dense=tuple(dense), normalize=normalize)


def _check_first(folder: Path, kind: str, index: int, place: str) -> Pooling | None:
    """Return how a first module pools, if it does."""
    if kind == "StaticEmbedding":
        if index:
            _refuse(folder, f"StaticEmbedding is module {index}: it must be the first")
        return "mean"
    if index:
        _refuse(folder, f"Transformer is module {index}: it must be the first")
    _check_transformer(transformer_file(folder / place))
    return None


def module_rows(folder: Path) -> list[tuple[str, str]]:
    """Return the class and the folder of each module in modules.json; none where there is no such file.

    Raises:
        ModelError: the file is no list of modules, or a folder leads out of the model's.
    """
    path = folder / MODULES_FILE
    if not path.is_file():
        return []
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{path}: holds no list of modules")
    rows = [(str(module.get("type", "")), str(module.get("path", ""))) for module in modules]
    for _, place in rows:
        if PurePath(place).is_absolute() or ".." in PurePath(place).parts:
            raise ModelError(f"{path}: the path {place!r} leads out of the model's folder")
    return rows


def transformer_folder(folder: Path) -> Path:
    """Return where a model's transformer is: its folder, or in early layouts one inside it, `0_Transformer`.

    Raises:
        ModelError: modules.json is no list of modules, or a folder leads out of the model's.
    """
    rows = module_rows(folder)
    return folder / rows[0][1] if rows and rows[0][0].endswith(".Transformer") else folder


def _bare_pooling(config: Config) -> Pooling:
    """Source: sentence-transformers 6.2, `SentenceTransformer._load_default_modules`."""
    names = config.get("architectures")
    first = str(names[0]) if isinstance(names, list) and names else ""
    return "last_token" if first.endswith("ForCausalLM") and config.get("is_causal", True) else "mean"


def _check_transformer(path: Path | None) -> None:
    """Refuse settings of the Transformer module that change vectors in a way that the engine does not know."""
    settings = {} if path is None else read_json_object(path)
    for key, harmless in _ARGUMENTS.items():
        passed = settings.get(key) or {}
        if not isinstance(passed, dict) or set(passed) - harmless:
            named = sorted(set(passed) - harmless) if isinstance(passed, dict) else [repr(passed)]
            raise UnsupportedModelError(f"{path}: {key}: {', '.join(named)} is not supported")
    for key in ("query_length", "document_length"):
        if settings.get(key) is not None:
            raise UnsupportedModelError(f"{path}: {key} is not supported, only one limit for all texts")
    ways = settings.get("modality_config")
    if ways is not None and (not isinstance(ways, dict) or ways.get("text") != _TEXT):
        raise UnsupportedModelError(
            f"{path}: modality_config has no texts with {_TEXT}, only these are supported"
        )


def _read_pooling(path: Path) -> tuple[Pooling, bool]:
    """Return how token vectors become one, and whether those of a prompt are among them."""
    config = read_json_object(path)
    chosen = config.get("pooling_mode")
    if chosen is None:
        named = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        chosen = named or ["pooling_mode_mean_tokens"]
    names = [str(name) for name in (chosen if isinstance(chosen, list) else [chosen])]
    if len(names) != 1 or names[0] not in _POOLINGS:
        raise UnsupportedModelError(
            f"{path}: pooling {' + '.join(names)} is not supported; the engine runs one of cls, mean, lasttoken "
            "and weightedmean"
        )
    pooling = _POOLINGS[names[0]]
    return pooling, flag(config, "include_prompt", str(path), default=True) or pooling == "last_token"


def _read_dense(folder: Path, width: int, name: str) -> DenseShape:
    """Return a Dense module that reads vectors of a width. Source: sentence-transformers 6.2, `Dense.load`."""
    path = folder / "config.json"
    source = str(path)
    config = read_json_object(path)
    inputs, outputs = count(config, "in_features", source), count(config, "out_features", source)
    if inputs != width:
        raise ModelError(f"{path}: in_features is {inputs}, but what comes before it gives {width}")
    if flag(config, "use_residual", source):
        raise UnsupportedModelError(f"{path}: use_residual = true is not supported")
    _check_input(path)
    files = weight_files(folder, name)
    if len(files) != 1:
        raise UnsupportedModelError(f"{folder}: a Dense module in {len(files)} shards is not supported")
    return DenseShape(
        inputs=inputs,
        outputs=outputs,
        bias=flag(config, "bias", source, default=True),
        activation=_activation(config, source),
        weights=files[0],
    )


def _activation(config: Config, source: str) -> DenseActivation | None:
    named = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    known = str(named).startswith("torch.nn.") and str(named).rsplit(".", 1)[-1] in _ACTIVATIONS
    if not known:
        raise UnsupportedModelError(
            f"{source}: activation_function {named!r} is not supported: use torch's {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[str(named).rsplit(".", 1)[-1]]


def _check_input(path: Path) -> None:
    """Refuse a module that reads or writes anything but the vector of a text; earlier ones say nothing."""
    config: dict[str, Any] = read_json_object(path) if path.is_file() else {}
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, _INPUT):
            raise UnsupportedModelError(f"{path}: {key} {config[key]!r} is not supported, only {_INPUT!r}")


def _refuse(folder: Path, problem: str) -> NoReturn:
    raise UnsupportedModelError(f"{folder / MODULES_FILE}: {problem}")
