"""A checkpoint on one card, run by torch: compiled, attention without padding, small steps recorded.

On a processor it runs as it is written, for tests. Source of the choices: docs/decisions/0007-cuda.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from threading import Lock
from typing import Any, NamedTuple, Never, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental import _config as _sizes

from farthing.engine.contract import Ids, Lane, Mode, Ran, Vectors, require_same_process
from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.network.transformer import Network, network_of
from farthing.engine.network.weights import weights_of
from farthing.engine.prefixes import Prefixes
from farthing.engine.torch.cards import card_name
from farthing.engine.torch.fp8 import quantize, runs_fp8, vector_error
from farthing.engine.torch.model import Model
from farthing.engine.torch.recorded import Record, RecordedSteps, cuda_graphs, recorded_sizes
from farthing.engine.torch.staging import Staging
from farthing.engine.torch.varlen import Kernel, kernel_for
from farthing.engine.torch.weights import Named, Weights
from farthing.errors import EngineError, InputError
from farthing.theory.dtypes import Dtype
from farthing.theory.work import WorkCounter

DTYPES: Mapping[Dtype, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.bfloat16,
}
"""Dtype of the weights as they are loaded; fp8's are quantized afterwards."""

_ERROR_TEXTS, _ERROR_TOKENS = 32, 64
"""Texts of random ids, and their tokens, that the error of a quantized model is measured on when it is loaded."""

Forward = Callable[..., Tensor]
"""As `Model.forward`."""

Found = TypeVar("Found")


class Means(NamedTuple):
    """What makes a network fast on a device. It changes vectors by rounding, and by nothing else.

    Attributes:
        kernel: of attention without padding; None for the padded grid.
        compiler: torch.compile's backend; None runs the network as it is written.
        record: how small steps are recorded; None for not.
    """

    kernel: Kernel | None = None
    compiler: str | Callable[..., Any] | None = None
    record: Record | None = None


class TorchEngine:
    """As `contract.Engine`. Its lanes share one stream of the card: while one step runs, the next is packed.

    Attributes:
        model: the network as it is written; None once the engine is closed.
        forward: the same, compiled where it is.
        means: what makes it fast.
    """

    lanes = 2
    step_tokens = 8192
    """An H100 runs so many tokens of bge-small in 1.8 ms; its host packs, launches and fetches a recorded step in 0.4
    to 0.9 ms. Larger models are saturated before. Source: docs/benchmarks.md, on a GPU."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: Dtype = "bf16",
        device: str = "cuda:0",
        *,
        named: Named | None = None,
        means: Means | None = None,
    ) -> None:
        """Copy the checkpoint's weights to the card; nothing is compiled yet.

        Args:
            checkpoint: the model folder.
            dtype: of the matrix products: fp32, bf16, fp16 or fp8.
            device: one card as torch names it, or `cpu`.
            named: weights by our names, in the order of `weights_of`, instead of those of the folder.
            means: what makes it fast, instead of what is best on the device.

        Raises:
            InputError: the device is not here or has no FP8 units, or the dtype is none of these.
            ModelError: the weights cannot be used.
            EngineError: they do not fit, or the device failed.
        """
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r} is not run by torch here; use {', '.join(DTYPES)}")
        self._on = torch.device(device if device == "cpu" else card_name(device))
        if dtype == "fp8" and self._on.type == "cuda" and not runs_fp8(self._on):
            raise InputError(
                f"dtype fp8: {device} has no FP8 units (NVIDIA has them since Ada and Hopper); use bf16"
            )
        self.shape, self.device, self.dtype = checkpoint.shape, str(self._on), dtype
        self.dimension = checkpoint.dimension
        self.vector_error: Mapping[str, float | str] | None = None
        # A card's default stream cannot be recorded.
        self._stream: Any = torch.cuda.Stream(self._on) if self._on.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.means = self._best_means() if means is None else means
        self._errors: tuple[type[Exception], ...] = (RuntimeError,)
        self._launching, self._warming, self._process = Lock(), Lock(), os.getpid()
        self._warm = False
        self._recorded: RecordedSteps | None = None
        self._prefixes = Prefixes() if checkpoint.reuses_prefixes else None
        source = weights_of(checkpoint) if named is None else named
        self.model: Model | None = self.guarded(
            "loading the model", lambda: self._loaded(network_of(checkpoint), source)
        )
        if self.means.compiler is not None:
            from torch._dynamo.exc import FailOnRecompileLimitHit  # which takes a second to import

            self._errors = (RuntimeError, FailOnRecompileLimitHit)
            self.model.compile(self.means.compiler)
        self.forward: Forward = self.model.forward
        self._counter = WorkCounter(self.shape, trim=self.model.network.trim)

    def warm(self, mode: Mode) -> None:
        """Compile the network and record the small steps, if that was not done; lanes are the same in both modes."""
        require_same_process(self._process)
        with self._warming:
            if not self._warm:
                self.guarded("compiling the model", self._compile_and_record)
                self._warm = True

    def lane(self, mode: Mode = "throughput") -> Lane:
        """Return a new lane; the engine is made warm first if it is not."""
        self.warm(mode)
        pools_prompt = self.opened().network.pools_prompt
        return Lane(_Passes(self), self._counter, self.dimension, self._prefixes, pools_prompt)

    def close(self) -> None:
        """Let go of weights, compiled code and recorded steps; lanes that are left refuse to run."""
        with self._launching:
            self.model, self.forward, self._recorded, self._prefixes = None, _closed, None, None
        if self._stream is not None:
            torch.cuda.empty_cache()

    def opened(self) -> Model:
        """Return the network.

        Raises:
            EngineError: the engine is closed.
        """
        return _closed() if self.model is None else self.model

    @contextmanager
    def running(self) -> Iterator[None]:
        """Launch what is inside on the engine's stream, one thread at a time; then wait until it ran, side by side."""
        ready = None
        with self._launching, torch.inference_mode(), self._on_stream():
            yield
            if self._stream is not None:
                ready = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # asleep, not spinning
                ready.record()
        if ready is not None:
            ready.synchronize()

    def step(
        self, texts: Sequence[Ids], past: Tensor | None, staging: Staging, left_out: int = 0
    ) -> tuple[Tensor, int, Sequence[int]]:
        """Launch a step; inside `running`.

        Returns:
            Vectors, those of texts that only fill the step up at the end; places of a row of the grid, or 0; and the
            tokens of those texts.
        """
        model, recorded = self.opened(), None if past is not None or left_out else self._recorded
        filled = None if recorded is None else recorded.filled([len(one) for one in texts])
        if recorded is not None and filled is not None:
            (size, filler), longest = filled, filled[0].longest
            made = recorded.run(size, texts, filler, staging)
        else:
            # A step of one text, or of a single token, would be compiled apart.
            filler = [1] if len(texts) == 1 and self.means.compiler is not None else []
            ids, bounds, longest = staging.placed(texts, filler)
            made = self.forward(ids, bounds, longest, past, *([left_out] if left_out else []))
        return made, 0 if model.kernel is not None else longest, filler

    def keys_and_values(self, ids: Ids) -> Tensor:
        """Launch the keys and values of a prefix, (layers, 2, P, KV heads, size); inside `running`."""
        return self.opened().keys_and_values(Staging(self._on).placed([ids]))

    def guarded(self, what: str, work: Callable[[], Found]) -> Found:
        """Return what a work gives.

        Args:
            what: what is being done, as it stands at the start of a sentence.
            work: it.

        Raises:
            EngineError: the device refused, or its memory is full.
        """
        try:
            return work()
        except EngineError:
            raise
        except torch.OutOfMemoryError:
            pass  # while it is handled it holds on to the memory
        except self._errors as error:
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise EngineError(f"{what} failed on {self.device}: {said}") from error
        if self._stream is not None:
            torch.cuda.empty_cache()
        raise EngineError(
            f"{what} does not fit into the memory of {self.device}; cut texts shorter (max_length) or use a smaller "
            "model or dtype"
        )

    def _best_means(self) -> Means:
        if self._stream is None:
            return Means()
        return Means(
            kernel_for(self.shape, DTYPES[self.dtype], self._on), "inductor", cuda_graphs(self._stream)
        )

    def _on_stream(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _loaded(self, network: Network, named: Named) -> Model:
        with self._on_stream():
            weights = Weights.loaded(self.shape, named, self._on, DTYPES[self.dtype])
            if self.dtype == "fp8":
                exact = self._sample(Model(network, weights, self.means.kernel))
                quantize(weights)
            model = Model(network, weights, self.means.kernel)
            if self.dtype == "fp8":
                self.vector_error = asdict(vector_error(exact, self._sample(model), against="bf16"))
            if self._stream is not None:
                self._stream.synchronize()
        return model

    def _sample(self, model: Model) -> Vectors:
        """Return the vectors of random ids, (texts, dimension)."""
        generator = np.random.default_rng(0)
        size = (_ERROR_TEXTS, min(_ERROR_TOKENS, self.shape.max_positions))
        texts = list(generator.integers(0, self.shape.vocabulary, size, np.int32))
        with torch.inference_mode():
            found: Vectors = model.forward(*Staging(self._on).placed(texts)).numpy(force=True)
        return found

    def _compile_and_record(self) -> None:
        model = self.opened()
        with self.running():
            if self.means.compiler is not None:
                some = [np.zeros(tokens, np.int32) for tokens in (9, 12)]
                # Numbers that never change, such as a norm's epsilon, are fixed: else all would be traced twice. And
                # sizes that happen to be equal here are not taken for one number.
                as_they_are = _sizes.patch(use_duck_shape=False)  # type: ignore[attr-defined]
                with torch._dynamo.config.patch(specialize_float=True), as_they_are:
                    inputs = Staging(self._on).placed(some)
                    self.forward(*inputs)
                    if self._prefixes is not None:
                        self.forward(*inputs, self.keys_and_values(some[0]))
                    if not model.network.pools_prompt:
                        self.forward(*inputs, None, 2)  # tokens left out: another graph than for none
            if self.means.record is not None:
                sizes = recorded_sizes(self.shape, padded=model.kernel is None)
                self._recorded = RecordedSteps(sizes, self.forward, self.means.record, self._on)


class _Passes:
    """Steps of one lane, as `contract.Passes`."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine, self._staging = engine, Staging(torch.device(engine.device))

    def run(self, texts: Sequence[Ids], past: Tensor | None, left_out: int = 0) -> Ran:
        what = f"a step of {len(texts)} texts, the longest of {max(map(len, texts)):,} tokens,"
        return self._engine.guarded(what, lambda: self._run(texts, past, left_out))

    def keys_and_values(self, ids: Ids) -> Tensor:
        return self._engine.guarded(f"a prefix of {len(ids):,} tokens", lambda: self._keys_and_values(ids))

    def _run(self, texts: Sequence[Ids], past: Tensor | None, left_out: int) -> Ran:
        with self._engine.running():
            made, grid, filler = self._engine.step(texts, past, self._staging, left_out)
            found = self._staging.fetched(made[: len(texts)])
        return Ran(found.numpy(), grid, filler=filler)

    def _keys_and_values(self, ids: Ids) -> Tensor:
        with self._engine.running():
            return self._engine.keys_and_values(ids)


def _closed(*_: Any) -> Never:
    raise EngineError("the model is closed; load it again")
