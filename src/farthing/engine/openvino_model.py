"""The transformer as an OpenVINO graph on the CPU: converted once, cached on disk, run on streams.

Converted from our own module with dynamic batch and length; the cached graph makes later starts need
neither torch nor transformers. Source of the choices: docs/decisions/0001-cpu-engine.md.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from farthing.engine.checkpoint import Checkpoint
from farthing.engine.machine import available_cores
from farthing.errors import EngineError, InputError, MissingExtraError
from farthing.theory.devices import Dtype

_PRECISIONS: dict[Dtype, str] = {"fp32": "f32", "bf16": "bf16"}
_SHAPE_CACHE_ENTRIES = 200
"""Executors kept for shapes seen before: more grows memory for ever, 0 is slower (facts: cpu)."""

Vectors = npt.NDArray[np.float32]


class OpenVinoModel:
    """A compiled graph with one-thread streams that run steps side by side."""

    def __init__(self, checkpoint: Checkpoint, dtype: Dtype = "fp32", streams: int | None = None) -> None:
        """Compile the checkpoint, converting it first when no cached graph fits.

        Args:
            checkpoint: the model folder.
            dtype: dtype of the matrix products, fp32 or bf16 (where the processor has the units).
            streams: steps side by side; default one for each core.

        Raises:
            InputError: this processor or engine does not do `dtype`.
            UnsupportedModelError: the engine does not run this architecture.
            ModelError: the weights cannot be used.
        """
        openvino = import_openvino()
        core = openvino.Core()
        if dtype not in _PRECISIONS:
            raise InputError(f"dtype {dtype!r} is not supported on the CPU; use fp32 or bf16")
        if dtype == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError("dtype bf16: this processor has no bf16 units; use fp32")
        self.streams = streams or available_cores()
        self.dtype = dtype
        self.dimension = checkpoint.dimension
        self._compiled: Any = core.compile_model(
            _read_graph(core, checkpoint),
            "CPU",
            {
                # Never the default: on processors with bf16 units it is bf16.
                "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype],
                "NUM_STREAMS": self.streams,
                "INFERENCE_NUM_THREADS": self.streams,
                "CPU_RUNTIME_CACHE_CAPACITY": _SHAPE_CACHE_ENTRIES,
            },
        )
        # pyopenvino sets itself up for numpy the first time that a tensor's data is asked for. Two threads
        # that ask first at once deadlock: one waits for the GIL, the other, holding it, for the first.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data

    def stream(self) -> Stream:
        """Return a stream; each belongs to one thread at a time."""
        return Stream(self._compiled.create_infer_request())


class Stream:
    """One step at a time: padded ids in, vectors out. The GIL is released while it runs."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def run(self, ids: list[npt.NDArray[np.int32]], length: int) -> Vectors:
        """Return the vectors of one batch, shape (batch, dimension).

        Args:
            ids: token ids of each text, shape (tokens,), 1 ≤ tokens ≤ `length`.
            length: tokens of the longest text.

        Raises:
            EngineError: a vector is not finite.
        """
        padded = np.zeros((len(ids), length), np.int32)
        for row, one in zip(padded, ids, strict=True):
            row[: len(one)] = one
        lengths = np.fromiter(map(len, ids), np.int32, len(ids))
        self._request.infer([padded, lengths])
        vectors: Vectors = self._request.get_output_tensor(0).data
        if not np.isfinite(vectors).all():
            raise EngineError("a vector came out of the model not finite; the weights or the dtype overflow")
        return vectors


def _read_graph(core: Any, checkpoint: Checkpoint) -> Any:
    try:
        path = cached_graph(checkpoint)
    except OSError:  # a cache that cannot be written costs a conversion at each start, and nothing else
        with tempfile.TemporaryDirectory(prefix="farthing-") as folder:
            _convert(checkpoint, Path(folder) / "model.xml")
            return core.read_model(Path(folder) / "model.xml")
    try:
        return core.read_model(path)
    except RuntimeError:  # damaged on disk: what can be made again is made again
        shutil.rmtree(path.parent, ignore_errors=True)
        return core.read_model(cached_graph(checkpoint))


def cached_graph(checkpoint: Checkpoint) -> Path:
    """Return the path of the checkpoint's converted graph, converting it when there is none."""
    folder = user_cache_path("farthing") / "graphs" / _graph_key(checkpoint)
    if not (folder / "model.xml").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".convert-"))
        try:
            _convert(checkpoint, scratch / "model.xml")
            # Whoever is first wins; the graphs are the same.
            scratch.replace(folder)
        except OSError:
            if not (folder / "model.xml").is_file():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder / "model.xml"


def _convert(checkpoint: Checkpoint, path: Path) -> None:
    openvino = import_openvino()
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "cpu", "converting a model") from error
    from farthing.engine.weights import load_transformer

    example = (torch.ones((2, 3), dtype=torch.int32), torch.tensor([3, 2], dtype=torch.int32))
    dynamic = [openvino.PartialShape([-1, -1]), openvino.PartialShape([-1])]
    model = load_transformer(checkpoint)
    with warnings.catch_warnings():
        # Tracing is deprecated but converts in 1 s what torch.export needs 5 to 9 s for (decision 0001).
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(model, example_input=example, input=dynamic)
    openvino.save_model(graph, path, compress_to_fp16=False)


def _graph_key(checkpoint: Checkpoint) -> str:
    """Return a name that changes with the weights, the module's code and the converter."""
    digest = hashlib.sha256()
    for part in (
        checkpoint.revision,
        str(checkpoint.weights.resolve()),
        str(checkpoint.weights.stat().st_mtime_ns),
        repr((checkpoint.shape, checkpoint.pooling, checkpoint.normalize)),
        version("openvino"),
        Path(__file__).with_name("transformer.py").read_text(encoding="utf-8"),
        Path(__file__).with_name("weights.py").read_text(encoding="utf-8"),
    ):
        digest.update(part.encode())
    return digest.hexdigest()[:24]


def import_openvino() -> Any:
    """Return the openvino module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "cpu", "the engine") from error
    return openvino
