"""A checkpoint on the processor, run by OpenVINO: a graph for each mode, built from the shape and compiled once.

Source of the choices: docs/decisions/0001-cpu-engine.md.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from farthing.engine.contract import Ids, Lane, Mode, Ran, require_same_process
from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.machine import available_cores
from farthing.engine.network.packing import dense_width, grid_width, packed, padded
from farthing.engine.network.transformer import network_of
from farthing.engine.network.weights import weights_of
from farthing.engine.openvino.ops import prefix_graph, vector_graph
from farthing.engine.openvino.runtime import engine_error, import_openvino, openvino_errors
from farthing.engine.prefixes import Prefixes
from farthing.errors import EngineError, InputError
from farthing.theory.dtypes import Dtype
from farthing.theory.shapes import ModelShape
from farthing.theory.work import WorkCounter

_PRECISIONS: dict[Dtype, str] = {"fp32": "f32", "bf16": "bf16"}
_SHAPES_KEPT: Mapping[Mode, int] = {"throughput": 8, "latency": 32}
"""Executors of a kind that each stream keeps for shapes seen before. Packed steps are no slower with 8 than with 200,
short texts alone are. 200 take 60 MB more over 800 shapes of MiniLM's, and none take more still (docs/log.md)."""

_WORTH_A_FILE_BYTES = 1 << 20

Past = npt.NDArray[np.float32]


class OpenVinoEngine:
    """As `contract.Engine`. Each mode holds the weights of the linear layers in an order of its own.

    Embedding tables, and whatever else is stored in float32, are shared with the mapped file.
    """

    device = "cpu"
    vector_error: Mapping[str, float | str] | None = None
    step_tokens = 1024
    """On two processors MiniLM's line saturates at 100 to 300 tokens, and steps of 1,024 still bring 3 to 4 % more than
    those of 256: what a step costs in Python and what a new shape costs are not in the line (docs/log.md)."""

    def __init__(self, checkpoint: Checkpoint, dtype: Dtype = "fp32", threads: int | None = None) -> None:
        """Read the checkpoint's weights; nothing is compiled yet.

        Args:
            checkpoint: the model folder.
            dtype: of the matrix products, fp32 or bf16 (where the processor has the units).
            threads: cores to keep busy; None for all that the process may use.

        Raises:
            InputError: this processor or engine does not do `dtype`, or there are not so many cores.
            ModelError: the weights cannot be used.
        """
        if dtype not in _PRECISIONS:
            raise InputError(f"dtype {dtype!r} is not supported on the CPU; use fp32 or bf16")
        _remove_graphs_of_old()
        openvino = import_openvino()
        # It sets itself up for numpy the first time that a tensor's data is asked for. Two threads that ask first at
        # once deadlock: one waits for the GIL, the other, holding it, for the first.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
        self._core = openvino.Core()
        if dtype == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError("dtype bf16: this processor has no bf16 units; use fp32")
        cores = available_cores()
        if threads is not None and not 0 < threads <= cores:
            raise InputError(f"threads {threads}: this process may use 1 to {cores} cores")
        self.lanes = threads or cores
        self.dtype: Dtype = dtype
        self.dimension = checkpoint.dimension
        self.shape: ModelShape = checkpoint.shape
        self.network = network_of(checkpoint)
        self.weights = {name: in_file(values) for name, values in weights_of(checkpoint)}
        self.closed = False
        self._counter = WorkCounter(self.shape, trim=self.network.trim)
        self._prefixes = Prefixes() if checkpoint.reuses_prefixes else None
        self._compiled: dict[Mode, Any] = {}
        self._compiling, self._process = Lock(), os.getpid()

    def warm(self, mode: Mode) -> None:
        """Compile a mode now, if it is not."""
        self._in_mode(mode)

    def lane(self, mode: Mode = "throughput") -> Lane:
        """Return a new lane; its mode is compiled first if it is not."""
        compiled = self._in_mode(mode)
        with openvino_errors("preparing a lane"):
            passes = _Request(self, compiled.create_infer_request(), dense=mode == "latency")
        return Lane(passes, self._counter, self.dimension, self._prefixes, self.network.pools_prompt)

    def close(self) -> None:
        """Let go of graphs and weights, as soon as no lane is left; those that are refuse to run."""
        with self._compiling:
            self._compiled, self.weights, self.closed = {}, {}, True

    def keys_and_values(self, ids: Ids) -> Past:
        """Return those of a prefix, float32 (layers, 2, P, kv), by a graph that is compiled for it and let go."""
        compiled = self._made(prefix_graph(self.shape, self.weights, self.dtype), "latency")
        with openvino_errors("computing a prefix"):
            return np.array(compiled(list(packed([ids])))[0], np.float32)

    def require_open(self) -> None:
        """Refuse to run what was closed.

        Raises:
            EngineError: it was.
        """
        if self.closed:
            raise EngineError("the model is closed; load it again")

    def _in_mode(self, mode: Mode) -> Any:
        require_same_process(self._process)
        with self._compiling:
            self.require_open()
            if mode not in self._compiled:
                dense, prefix = mode == "latency", self._prefixes is not None
                graph = vector_graph(self.network, self.weights, self.dtype, dense=dense, prefix=prefix)
                self._compiled[mode] = self._made(graph, mode)
            return self._compiled[mode]

    def _made(self, graph: Any, mode: Mode) -> Any:
        properties = {
            # Never the default: on processors with bf16 units it is bf16.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.dtype],
            "NUM_STREAMS": self.lanes if mode == "throughput" else 1,
            "INFERENCE_NUM_THREADS": self.lanes,
            "CPU_RUNTIME_CACHE_CAPACITY": _SHAPES_KEPT[mode],
        }
        with openvino_errors("compiling the model"):
            return self._core.compile_model(graph, "CPU", properties)


def in_file(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return values that a file backs, so that the system may take their memory back.

    OpenVINO keeps what it was given beside its own order of it. What a checkpoint has in 16 bits was widened: it goes
    to a file without a name, where there is room for one.
    """
    if isinstance(values, np.memmap) or values.nbytes < _WORTH_A_FILE_BYTES:
        return values
    try:
        with tempfile.TemporaryFile(dir=user_cache_path("farthing", ensure_exists=True)) as file:
            os.posix_fallocate(
                file.fileno(), 0, values.nbytes
            )  # a disk that is full tells here, not by a signal
            mapped = np.memmap(file, np.float32, "r+", shape=values.shape)
    except OSError:
        return values
    mapped[...] = values
    return mapped


def _remove_graphs_of_old() -> None:
    """Remove the converted graphs that versions before this one kept: gigabytes, and nothing reads them any more."""
    shutil.rmtree(user_cache_path("farthing") / "graphs", ignore_errors=True)


class _Request:
    """An infer request, as `contract.Passes`."""

    def __init__(self, engine: OpenVinoEngine, request: Any, *, dense: bool) -> None:
        self._engine, self._request, self._dense = engine, request, dense
        self._weights = engine.weights  # read where they lie, whatever becomes of the engine
        inputs = len(request.model_inputs)
        # The request's own tensors, which only grow: handing it arrays takes it up to 0.1 ms longer.
        self._leaves_out = not engine.network.pools_prompt
        own = (4 if dense else 5) + self._leaves_out
        self._inputs = [request.get_input_tensor(index) for index in range(own)]
        self._given: Sequence[Ids | None] = [None] * len(self._inputs)
        self._memory: list[Ids] = []
        self._vectors = np.empty((0, engine.dimension), np.float32)
        shape = engine.shape
        self._none = np.zeros((shape.layers, 2, 0, shape.kv_width), np.float32)
        self._takes_past = inputs > len(self._inputs)
        self._past: Past | None = None

    def keys_and_values(self, ids: Ids) -> Past:
        return self._engine.keys_and_values(ids)

    def run(self, texts: Sequence[Ids], past: Past | None, left_out: int = 0) -> Ran:
        self._engine.require_open()
        lengths = [len(one) for one in texts]
        longest = max(lengths)
        filler: tuple[int, ...] = ()
        if self._dense:
            width = dense_width(longest)
            arrays: Sequence[Ids] = padded(texts, width)
        else:
            width = grid_width(longest)
            if lengths == [1]:  # products with a single row would hold the weights in an order of their own
                texts, filler = [texts[0], texts[0]], (1,)
            arrays = packed(texts, width)
        if self._leaves_out:
            arrays = [*arrays, np.array([left_out], np.int32)]
        try:  # a context manager takes a short text some 20 µs longer
            if [memory.shape for memory in self._memory] != [array.shape for array in arrays]:
                for tensor, array in zip(self._inputs, arrays, strict=True):
                    tensor.shape = array.shape
                self._memory = [tensor.data for tensor in self._inputs]
                self._given = [None] * len(arrays)
                self._write_to(len(texts))
            for memory, array, given in zip(self._memory, arrays, self._given, strict=True):
                if array is not given:
                    memory[...] = array
            self._given = arrays
            if self._takes_past:
                self._read(self._none if past is None else past)
            self._request.infer(share_outputs=True)
        except RuntimeError as error:
            step = f"a step of {len(lengths)} texts, the longest of {longest:,} tokens,"
            raise engine_error(step, error) from error
        return Ran(self._vectors[: len(lengths)], width, self._dense, filler)

    def _write_to(self, texts: int) -> None:
        """Let the request write so many vectors to memory that is known: asking it where they are takes 30 µs."""
        if len(self._vectors) != texts:
            self._vectors = np.empty((texts, self._vectors.shape[1]), np.float32)
            self._request.set_output_tensor(0, import_openvino().Tensor(self._vectors, shared_memory=True))

    def _read(self, past: Past) -> None:
        """Let the request read keys and values where they lie."""
        if past is not self._past:
            tensor = import_openvino().Tensor(past, shared_memory=past.size > 0)
            self._request.set_input_tensor(len(self._inputs), tensor)
            self._past = past  # kept: the tensor does not keep its memory alive
