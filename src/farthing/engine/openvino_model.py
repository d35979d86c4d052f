"""The transformer as an OpenVINO graph on the CPU, compiled, and run on streams.

Source of the choices: docs/decisions/0001-cpu-engine.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from farthing.engine.checkpoint import Checkpoint
from farthing.engine.graphs import import_openvino, read_graph
from farthing.engine.machine import available_cores
from farthing.engine.packing import Ids, packed
from farthing.errors import EngineError, InputError
from farthing.theory.devices import Dtype

_PRECISIONS: dict[Dtype, str] = {"fp32": "f32", "bf16": "bf16"}
_SHAPE_CACHE_ENTRIES = 200
"""Executors kept for shapes seen before: more grows memory for ever, 0 is slower (facts: cpu)."""

PREFIXES_KEPT = 16
"""Prefixes whose keys and values are kept: a model has a few prompts, and each has one."""

Vectors = npt.NDArray[np.float32]
Past = npt.NDArray[np.float32]


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
        self._core, self._checkpoint = core, checkpoint
        self._compiled: Any = core.compile_model(
            read_graph(core, checkpoint), "CPU", self._properties(self.streams)
        )
        shape = checkpoint.shape
        self._no_past = (
            np.zeros((shape.layers, 2, 0, shape.kv_width), np.float32) if checkpoint.reuses_prefixes else None
        )
        self._prefixes: dict[bytes, Past] = {}
        self._lock = Lock()
        # pyopenvino sets itself up for numpy the first time that a tensor's data is asked for. Two threads
        # that ask first at once deadlock: one waits for the GIL, the other, holding it, for the first.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data

    def stream(self) -> Stream:
        """Return a stream; each belongs to one thread at a time."""
        return Stream(self._compiled.create_infer_request(), self._no_past)

    def prefix(self, ids: Ids) -> tuple[Past, bool]:
        """Return the keys and values of tokens that many texts begin with, computed once and kept.

        Args:
            ids: int32 (P,), at least one token.

        Returns:
            float32 (layers, 2, P, kv), and whether they were computed just now.

        Raises:
            InputError: the model attends both ways, or its pooling reads more than the last token.
        """
        if self._no_past is None:
            raise InputError(
                f"{self._checkpoint.name}: a prefix is reused by causal models with last-token pooling only"
            )
        key = ids.tobytes()
        with self._lock:
            computed = key not in self._prefixes
            if computed:
                graph = read_graph(self._core, self._checkpoint, "prefix")
                compiled = self._core.compile_model(graph, "CPU", self._properties(1))
                made = compiled(packed([ids]).inputs)[0]
                if len(self._prefixes) >= PREFIXES_KEPT:
                    del self._prefixes[next(iter(self._prefixes))]
                self._prefixes[key] = np.array(made, np.float32)
            return self._prefixes[key], computed

    def _properties(self, streams: int) -> dict[str, Any]:
        return {
            # Never the default: on processors with bf16 units it is bf16.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.dtype],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self.streams,
            "CPU_RUNTIME_CACHE_CAPACITY": _SHAPE_CACHE_ENTRIES,
        }


class Stream:
    """One step at a time: token ids in, vectors out. The GIL is released while it runs."""

    def __init__(self, request: Any, no_past: Past | None) -> None:
        self._request, self._no_past = request, no_past

    def run(self, texts: Sequence[Ids], past: Past | None = None) -> Vectors:
        """Return the vectors of one batch, shape (batch, dimension), valid until the next run.

        Args:
            texts: token ids of each text, shape (tokens,), at least one token each.
            past: keys and values of what all of them begin with (`OpenVinoModel.prefix`); those tokens are then
                left out of `texts`.

        Raises:
            EngineError: a vector is not finite.
        """
        inputs: list[Any] = [*packed(texts).inputs]
        if self._no_past is not None:
            inputs.append(self._no_past if past is None else past)
        self._request.infer(inputs)
        vectors: Vectors = self._request.get_output_tensor(0).data
        if not np.isfinite(vectors).all():
            raise EngineError("a vector came out of the model not finite; the weights or the dtype overflow")
        return vectors
