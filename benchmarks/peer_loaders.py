"""How each engine is loaded and asked for vectors, each as its own documentation says. One is loaded in a process.

Packages are imported by name: each lives in the environment of its peer only.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

_PACKAGES = (
    "farthing",
    "fastembed",
    "infinity_emb",
    "numpy",
    "onnxruntime",
    "openvino",
    "optimum",
    "optimum-intel",
    "optimum-onnx",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)

ONNX_FILE = "onnx/model.onnx"
"""The exported model in its folder, the same file for every engine that reads ONNX."""


class LoadedEngine(Protocol):
    """An engine with its model."""

    def prepare(self, batch: int) -> None:
        """Do what this batch size needs before the clock starts."""

    def encode(self, texts: list[str], batch: int, prompt: str, sort: bool) -> Any:
        """Return the vectors of texts. `sort`: may reorder them by length, where the engine does not itself."""

    def encode_one(self, text: str) -> Any:
        """Return the vector of a text."""


def load(engine: str, model: str) -> LoadedEngine:
    """Return an engine of `peers_engines.ENGINES` with the model of a folder."""
    if engine.startswith("farthing"):
        return _Farthing(model, "bf16" if engine.endswith("bf16") else "fp32")
    if engine.startswith("st-"):
        return _SentenceTransformers(model, engine.removeprefix("st-"))
    if engine.startswith("infinity-"):
        return _Infinity(model, engine.removeprefix("infinity-"))
    return _FastEmbed(model)


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter, where they are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class _Farthing:
    def __init__(self, model: str, dtype: str) -> None:
        self._embedder: Any = import_module("farthing").Embedder(model, dtype=dtype, cache_texts=0)

    def prepare(self, batch: int) -> None:
        pass

    def encode(self, texts: list[str], batch: int, prompt: str, sort: bool) -> Any:
        return self._embedder.encode(texts, prompt=prompt)

    def encode_one(self, text: str) -> Any:
        return self._embedder.encode(text)


class _SentenceTransformers:
    """Sorts each request by length itself."""

    def __init__(self, model: str, backend: str) -> None:
        settings: dict[str, Any] = {"device": "cpu", "backend": backend.partition("-")[0]}
        if backend == "openvino-fp32":
            settings["model_kwargs"] = {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}
        if backend == "onnx":
            settings["model_kwargs"] = {"provider": "CPUExecutionProvider", "file_name": ONNX_FILE}
        self._model: Any = import_module("sentence_transformers").SentenceTransformer(model, **settings)

    def prepare(self, batch: int) -> None:
        pass

    def encode(self, texts: list[str], batch: int, prompt: str, sort: bool) -> Any:
        return self._model.encode(texts, prompt=prompt, batch_size=batch, show_progress_bar=False)

    def encode_one(self, text: str) -> Any:
        return self._model.encode(text, show_progress_bar=False)


class _FastEmbed:
    """Takes texts as they come; sorted by length here where that is asked for."""

    def __init__(self, model: str) -> None:
        fastembed = import_module("fastembed")
        described = import_module("fastembed.common.model_description")
        name = "local/model"
        fastembed.TextEmbedding.add_custom_model(
            model=name,
            pooling=described.PoolingType.MEAN,
            normalization=True,
            sources=described.ModelSource(hf=name),
            dim=384,
            model_file=ONNX_FILE,
        )
        self._model: Any = fastembed.TextEmbedding(
            name, specific_model_path=model, providers=["CPUExecutionProvider"]
        )

    def prepare(self, batch: int) -> None:
        pass

    def encode(self, texts: list[str], batch: int, prompt: str, sort: bool) -> Any:
        order = _order(texts, sort)
        made = self._model.embed([prompt + texts[row] for row in order], batch_size=batch)
        return _put_back(made, order)

    def encode_one(self, text: str) -> Any:
        return next(iter(self._model.embed([text])))


class _Infinity:
    """Sorts eight batches of what waits at a time; all of it is sorted by length here where that is asked for.

    Its batch size is a setting of the engine: another one is a restart.
    """

    def __init__(self, model: str, backend: str) -> None:
        self._loop = asyncio.new_event_loop()
        if backend == "onnx":
            own = _infinitys_own(model)
            os.environ["HF_HUB_CACHE"] = str(own / "hub")  # where it keeps its optimized model
            os.chdir(own)
        self._package: Any = import_module("infinity_emb")
        self._settings: dict[str, Any] = {
            # Its names of files in a folder are relative to the process, optimum's to the folder.
            "model_name_or_path": "." if backend == "onnx" else model,
            "engine": "optimum" if backend == "onnx" else "torch",
            "device": "cpu",
            "dtype": "float32",
            "model_warmup": False,
            "pooling_method": "mean",  # left to itself, its ONNX engine takes the first token
        }
        self._batch = 0
        self._engine: Any = None
        self.prepare(32)

    def prepare(self, batch: int) -> None:
        if batch == self._batch:
            return
        if self._engine is not None:
            self._loop.run_until_complete(self._engine.astop())
        arguments = self._package.EngineArgs(**self._settings, batch_size=batch)
        self._engine = self._package.AsyncEmbeddingEngine.from_args(arguments)
        self._loop.run_until_complete(self._engine.astart())
        self._batch = batch

    def encode(self, texts: list[str], batch: int, prompt: str, sort: bool) -> Any:
        order = _order(texts, sort)
        embed = self._engine.embed(sentences=[prompt + texts[row] for row in order])
        made, _usage = self._loop.run_until_complete(embed)
        return _put_back(made, order)

    def encode_one(self, text: str) -> Any:
        return self.encode([text], self._batch, "", False)[0]


def _infinitys_own(model: str) -> Path:
    """Return a copy of a model folder for infinity's ONNX engine, made if absent.

    It cuts texts at the model's positions whatever its tokenizer says, so that the limit is put there; and it finds an
    exported file in the folder itself only, not in a folder within.
    """
    folder = Path(f"{model}-infinity")
    if not folder.is_dir():
        made = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(model, made)
        (made / ONNX_FILE).replace(made / Path(ONNX_FILE).name)
        limit = json.loads((made / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
        config = json.loads((made / "config.json").read_text(encoding="utf-8"))
        config["max_position_embeddings"] = limit
        (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
        made.replace(folder)
    return folder


def _order(texts: list[str], sort: bool) -> list[int]:
    """Return the rows of texts, the longest first if they may be sorted."""
    rows = range(len(texts))
    return sorted(rows, key=lambda row: -len(texts[row])) if sort else list(rows)


def _put_back(made: Iterable[Any], order: list[int]) -> list[Any]:
    """Return vectors in the order that their texts were given in."""
    vectors: list[Any] = [None] * len(order)
    for row, vector in zip(order, made, strict=True):
        vectors[row] = vector
    return vectors
