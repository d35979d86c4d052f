"""The transformer as an OpenVINO graph on the CPU, compiled, and run on streams.

Source of the choices: docs/decisions/0001-cpu-engine.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.compiled import Mode, Vectors
from farthing.engine.dense_graph import made_dense, padded
from farthing.engine.graphs import import_openvino, read_graph
from farthing.engine.machine import available_cores
from farthing.engine.network.packing import Ids, packed
from farthing.engine.prefixes import Prefixes
from farthing.errors import EngineError, InputError
from farthing.theory.devices import Dtype

_PRECISIONS: dict[Dtype, str] = {"fp32": "f32", "bf16": "bf16"}
_SHAPES_KEPT: Mapping[Mode, int] = {"throughput": 8, "latency": 32}
"""Executors of a kind that each stream keeps for shapes seen before. Packed steps are no slower with 8 than with 200,
short texts alone are. 200 take 60 MB more over 800 shapes of MiniLM's, and none take more still (docs/log.md)."""

_PRIMITIVES_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_PRIMITIVES_KEPT = 16
"""The same, of the library below OpenVINO: 1,024 unless said otherwise, 15 MB that no step is faster for."""

_PLACES = 16
"""Places of a row that attention's kernels take together: as many fp32 numbers as AVX-512 has in a register."""

Past = npt.NDArray[np.float32]


def grid_width(longest: int) -> int:
    """Return the width of attention's grid for texts of so many tokens at most.

    The last places of a row cost the kernels about as much as 16 do. Where they are half of 16 or more, a grid that
    is filled up makes whole steps up to 7 % faster; where they are fewer, up to 8 % slower (docs/log.md).
    """
    return -(-longest // _PLACES) * _PLACES if longest % _PLACES >= _PLACES // 2 else longest


class OpenVinoModel:
    """A graph that is compiled for a mode when a stream of that mode is first asked for.

    Each mode holds the weights of the linear layers in an order of its own: 45 MB for MiniLM, as much again for the
    second. Embedding tables are read from the file and shared.

    Attributes:
        streams: steps side by side in the mode for throughput, one thread each; latency has one on all threads.
        dtype: of the matrix products.
        dimension: width of a vector.
    """

    devices: tuple[str, ...] = ("cpu",)
    vector_error = None

    def __init__(self, checkpoint: Checkpoint, dtype: Dtype = "fp32", streams: int | None = None) -> None:
        """Read the checkpoint's graph, converting it first when no cached one fits.

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
        self._graph = read_graph(core, checkpoint)
        self._compiled: dict[Mode, _Compiled] = {}
        shape = checkpoint.shape
        self._no_past = (
            np.zeros((shape.layers, 2, 0, shape.kv_width), np.float32) if checkpoint.reuses_prefixes else None
        )
        self._prefixes: Prefixes[Past] = Prefixes(checkpoint)
        self._compiling = Lock()
        # pyopenvino sets itself up for numpy the first time that a tensor's data is asked for. Two threads
        # that ask first at once deadlock: one waits for the GIL, the other, holding it, for the first.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data

    def stream(self, mode: Mode = "throughput") -> Stream:
        """Return a stream, compiling its mode first where none was made yet; each belongs to one thread at a time."""
        compiled = self._in_mode(mode)
        return Stream(compiled.graph.create_infer_request(), self._no_past, dense=compiled.dense)

    def prepare(self, mode: Mode) -> None:
        """Compile a mode now, if it is not, so that no job waits for it."""
        self._in_mode(mode)

    def _in_mode(self, mode: Mode) -> _Compiled:
        with self._compiling:
            if mode not in self._compiled:
                graph = self._graph.clone() if mode == "latency" else self._graph
                dense = mode == "latency" and made_dense(graph)
                self._compiled[mode] = _Compiled(self._made(graph, mode), dense)
            return self._compiled[mode]

    def grid_width(self, longest: int) -> int:
        """Return the width of attention's grid in the mode for throughput, as `grid_width`."""
        return grid_width(longest)

    def prefix(self, ids: Ids) -> tuple[Past, bool]:
        """Return the keys and values of tokens that many texts begin with, computed once and kept.

        Args:
            ids: int32 (P,), at least one token.

        Returns:
            float32 (layers, 2, P, kv), and whether they were computed just now.

        Raises:
            InputError: the model attends both ways, or its pooling reads more than the last token.
        """
        return self._prefixes.of(ids, self._keys_and_values)

    def _keys_and_values(self, ids: Ids) -> Past:
        graph = read_graph(self._core, self._checkpoint, "prefix")
        return np.array(self._made(graph, "latency")(packed([ids]).inputs)[0], np.float32)

    def _made(self, graph: Any, mode: Mode) -> Any:
        properties = {
            # Never the default: on processors with bf16 units it is bf16.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.dtype],
            "NUM_STREAMS": self.streams if mode == "throughput" else 1,
            "INFERENCE_NUM_THREADS": self.streams,
            "CPU_RUNTIME_CACHE_CAPACITY": _SHAPES_KEPT[mode],
        }
        return self._core.compile_model(graph, "CPU", properties)


@contextmanager
def _few_primitives_kept() -> Iterator[None]:
    """Say how many primitives oneDNN may keep, where it reads that: once, in the first step of the process.

    The variable is taken back: another oneDNN in this process, such as torch's, keeps what it has.
    """
    if _PRIMITIVES_VARIABLE in os.environ:  # the user's own choice
        yield
        return
    os.environ[_PRIMITIVES_VARIABLE] = str(_PRIMITIVES_KEPT)
    try:
        yield
    finally:
        os.environ.pop(_PRIMITIVES_VARIABLE, None)


class _Compiled(NamedTuple):
    """A compiled graph, and whether it takes padded texts instead of packed ones."""

    graph: Any
    dense: bool


class Stream:
    """One step at a time: token ids in, vectors out. The GIL is released while it runs."""

    def __init__(self, request: Any, no_past: Past | None, *, dense: bool = False) -> None:
        self._request, self._dense = request, dense
        # The request's own tensors, which only grow: handing it arrays takes it up to 0.1 ms longer.
        self._inputs = [request.get_input_tensor(index) for index in range(4 if dense else 5)]
        self._no_past = no_past
        self._past: Past | None = None
        self._fresh = True

    def run(self, texts: Sequence[Ids], past: Past | None = None) -> Vectors:
        """Return the vectors of one batch, shape (batch, dimension), valid until the next run.

        Args:
            texts: token ids of each text, shape (tokens,), at least one token each.
            past: keys and values of what all of them begin with (`OpenVinoModel.prefix`); those tokens are then
                left out of `texts`.

        Raises:
            EngineError: a vector is not finite.
        """
        if self._dense:
            arrays = padded(texts)
        elif len(texts) == len(texts[0]) == 1:
            # Weights would be held in an order of their own for products with a single row.
            return self.run([texts[0], texts[0]], past)[:1]
        else:
            arrays = packed(texts, grid_width(max(map(len, texts)))).inputs
        for tensor, array in zip(self._inputs, arrays, strict=True):
            tensor.shape = array.shape
            tensor.data[...] = array
        if self._no_past is not None:
            self._read(self._no_past if past is None else past)
        if self._fresh:
            with _few_primitives_kept():
                self._request.infer(share_outputs=True)
            self._fresh = False
        else:
            self._request.infer(share_outputs=True)
        vectors: Vectors = self._request.get_output_tensor(0).data
        if not np.isfinite(vectors).all():
            raise EngineError("a vector came out of the model not finite; the weights or the dtype overflow")
        return vectors

    def _read(self, past: Past) -> None:
        """Let the request read keys and values where they lie."""
        if past is not self._past:
            tensor = import_openvino().Tensor(past, shared_memory=past.size > 0)
            self._request.set_input_tensor(len(self._inputs), tensor)
            self._past = past  # kept: the tensor does not keep its memory alive
