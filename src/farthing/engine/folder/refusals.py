"""Models that the engine does not run, named, with what to use for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from farthing.catalog.model_files import adapter_refusal, read_json_object
from farthing.catalog.text_limit import transformer_file
from farthing.engine.folder.head import MODULES_FILE, module_rows
from farthing.engine.folder.weight_names import SUPPORTED_FAMILIES
from farthing.errors import UnsupportedModelError
from farthing.theory.families.stored_bits import quantization_method
from farthing.theory.families.values import Config
from farthing.theory.shapes import ModelShape

SETTINGS_FILE = "config_sentence_transformers.json"

_SPARSE = "a sparse model, which gives a weight for each word: use sentence-transformers' SparseEncoder"
_MULTI = (
    "a multi-vector model (ColBERT), which gives a vector for each token: use sentence-transformers' "
    "MultiVectorEncoder or PyLate"
)
_RERANKER = (
    "a reranker, which scores pairs of texts and gives no vectors: use sentence-transformers' CrossEncoder"
)

_BY_MODULE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "SpladePooling",
            "MLMTransformer",
            "SparseAutoEncoder",
            "CSRSparsity",
            "SparseStaticEmbedding",
            "IDF",
        ),
        _SPARSE,
    ),
    **dict.fromkeys(("MultiVectorMask", "HierarchicalTokenPooling", "LambdaTokenPooling"), _MULTI),
    "LogitScore": _RERANKER,
}
_BY_TYPE: Mapping[str, str] = {
    "SparseEncoder": _SPARSE,
    "CrossEncoder": _RERANKER,
    "MultiVectorEncoder": _MULTI,
    "ColBERT": _MULTI,
}
_BY_TASK: Mapping[str, str] = {
    "fill-mask": _SPARSE,
    "retrieval": _MULTI,
    **dict.fromkeys(("sequence-classification", "text-generation", "any-to-any"), _RERANKER),
}


def refuse_remote_code(trust_remote_code: bool) -> None:
    """Refuse to run a checkpoint's code, however much it is trusted.

    Raises:
        UnsupportedModelError: it is asked for.
    """
    if trust_remote_code:
        raise UnsupportedModelError(
            "trust_remote_code: Farthing never runs code that comes with a model; leave it out, and use a model of "
            f"one of {', '.join(SUPPORTED_FAMILIES)}"
        )


def refuse_other_kinds(folder: Path) -> None:
    """Refuse a folder whose model makes something else than one vector per text, or needs code of its own.

    Raises:
        UnsupportedModelError: it does; the message names the file that says so, and what to use.
        ModelError: a file cannot be read.
    """
    for file, sign, kind in _signs(folder):
        raise UnsupportedModelError(f"{file}: {sign}: this is {kind}")


def refuse_architecture(name: str, folder: Path, config: Config, shape: ModelShape) -> None:
    """Refuse an architecture, or a part of one, that the engine does not run.

    Args:
        name: what to call the model.
        folder: the model folder.
        config: its config.json.
        shape: what that describes.

    Raises:
        UnsupportedModelError: it is refused; the message names the part.
    """
    problem = None
    if shape.family not in SUPPORTED_FAMILIES:
        problem = f"architecture {shape.family!r} yet, only {', '.join(SUPPORTED_FAMILIES)}"
    elif shape.experts:
        problem = f"mixtures of experts yet, and this model has {shape.experts}"
    elif shape.rotary_scaling is not None:
        problem = f"scaled rotary positions yet, and this model has rope_type {shape.rotary_scaling!r}"
    elif (method := quantization_method(config, str(folder))) is not None:
        problem = f"quantized checkpoints (quantization_config: {method}); use the model that this one was made from"
    if problem is not None:
        raise UnsupportedModelError(
            f"{name}: {folder / 'config.json'}: the engine does not run {problem}; `farthing explain` prices it"
        )


def _signs(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield what marks a folder as another kind of model: the file, what it says, and the kind."""
    yield from _module_signs(folder)
    settings = folder / SETTINGS_FILE
    kind = _object(settings).get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        yield (
            settings,
            f"model_type {kind!r}",
            _BY_TYPE.get(str(kind), "of a kind that the engine does not run"),
        )
    transformer = transformer_file(folder)
    if transformer is not None:
        stated = read_json_object(transformer)
        task = str(stated.get("transformer_task"))
        if task in _BY_TASK:
            yield transformer, f"transformer_task {task!r}", _BY_TASK[task]
        if stated.get("query_expansion") is not None:
            yield transformer, "query_expansion", _MULTI
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedModelError(adapter_refusal(folder / "adapter_config.json", str(folder)))
    yield from _config_signs(folder)


def _module_signs(folder: Path) -> Iterator[tuple[Path, str, str]]:
    path = folder / MODULES_FILE
    kinds = []
    for module, _ in module_rows(folder):
        kinds.append(module.rsplit(".", 1)[-1])
        if module.startswith("pylate."):
            yield path, f"module {module!r}", _MULTI
        if kinds[-1] in _BY_MODULE:
            yield path, f"module {kinds[-1]!r}", _BY_MODULE[kinds[-1]]
    if "Dense" in kinds and not {"Pooling", "StaticEmbedding"} & set(kinds[: kinds.index("Dense")]):
        yield path, "Dense before or without Pooling", _MULTI


def _config_signs(folder: Path) -> Iterator[tuple[Path, str, str]]:
    path = folder / "config.json"
    config = _object(path)
    names = config.get("architectures")
    architectures = [str(name) for name in names] if isinstance(names, list) else []
    if "HF_ColBERT" in architectures:
        yield path, "architecture HF_ColBERT", _MULTI
    bare = not (folder / MODULES_FILE).is_file()
    for architecture in architectures:
        if bare and architecture.endswith("ForSequenceClassification"):
            yield path, f"architecture {architecture}", _RERANKER
    code = config.get("auto_map")
    models = {key: code[key] for key in code if key.startswith("AutoModel")} if isinstance(code, dict) else {}
    if models and not _runs_what_its_code_does(config, str(next(iter(models.values())))):
        key, where = next(iter(models.items()))
        yield (
            path,
            f"auto_map has {key}: {where}",
            "a model with code of its own, which Farthing never runs: use one that needs no trust_remote_code",
        )


def _runs_what_its_code_does(config: Config, code: str) -> bool:
    """Return whether the engine runs what a model's own code does.

    Others bring code because transformers' differs: the `qwen2` of gte-Qwen2 attends both ways; a JinaBERT of
    `jina-bert-v2-qk-post-norm` normalises queries and keys.
    """
    if config.get("model_type") == "nomic_bert":
        return True
    return (
        config.get("position_embedding_type") == "alibi" and "JinaBert" in code and "qk-post-norm" not in code
    )


def _object(path: Path) -> Config:
    return read_json_object(path) if path.is_file() else {}
