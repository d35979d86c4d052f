"""One transformer on one device, run by torch: fused, without padding and recorded on CUDA, eager on a CPU.

Knows torch and its devices. Knows no checkpoint and no texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from farthing.engine.attention import Attention
from farthing.engine.compiled import Vectors
from farthing.engine.network.packing import Ids, packed
from farthing.engine.torch.recorded import Record, RecordedSteps, recorded_on_cuda
from farthing.engine.torch.staging import Staging
from farthing.engine.network.transformer import Transformer
from farthing.engine.torch.varlen import Kernel, VarlenAttention, torch_kernel
from farthing.errors import EngineError

Past = Mapping[torch.device, Tensor]
"""Keys and values of a shared prefix in every layer, (layers, 2, P, kv), on each device that has them."""

HALVES = (torch.float16, torch.bfloat16)

KERNEL_HEADS = range(8, 257, 8)
"""Sizes of a head that the kernel takes. Source: FlashAttention 2."""

COMPILED_KINDS = 64
"""Kinds of layers and steps that are compiled at most."""


class Replica:
    """A transformer on a device. Several threads may run steps: the device takes them one after another.

    Attributes:
        device: where it runs.
        model: the transformer.
        pads_attention: whether attention runs on a padded grid.
    """

    def __init__(
        self,
        model: Transformer,
        device: torch.device,
        *,
        kernel: Kernel | None = None,
        compiler: str | None = None,
        record: Record | None = None,
    ) -> None:
        """Move the model to the device and prepare it.

        Args:
            model: in evaluation mode.
            device: where it shall run.
            kernel: of attention without padding; None mixes on a padded grid.
            compiler: torch.compile's backend, which fuses what is between the matrix products: residual sums with
                norms, head norms with rotary positions, gate with activation. None runs it as it is written.
            record: how small steps are recorded; None runs them all.
        """
        self.device = device
        self.model = model.to(device)
        self.pads_attention = kernel is None or model.relative is not None
        if kernel is not None:
            mixing = VarlenAttention(kernel)
            for module in self.model.modules():
                if isinstance(module, Attention):
                    module.mixing = mixing
        if compiler is not None:
            for layer in self.model.layers:
                # Layers of one kind share their code: it is compiled once for each kind, for every size of step.
                layer.compile(dynamic=True, backend=compiler)
        longest = model.shape.max_positions if model.shape.positions == "learned" else None
        self._recorded = None if record is None else RecordedSteps(self._forward, record, device, longest)
        self._lock = Lock()

    def _forward(self, arrays: Sequence[Tensor], past: Tensor | None = None) -> Tensor:
        vectors: Tensor = self.model(*arrays, past)
        return vectors

    def run(self, texts: Sequence[Ids], staging: Staging, past: Tensor | None = None) -> Vectors:
        """Return the vectors of a step, float32 (B, dimension), valid until the staging's next step.

        The lock is held while the step is launched, not while it runs: meanwhile another thread packs the next.

        Raises:
            torch.OutOfMemoryError: the step does not fit into the device's memory.
        """
        filled = None
        if self._recorded is not None and past is None:
            filled = self._recorded.filled(texts)
        step = packed(texts) if filled is None else filled
        with self._lock, self._on_device(), torch.inference_mode():
            if filled is None or self._recorded is None:
                made = self._forward(staging.placed(step), past)
            else:
                made = self._recorded.run(step, staging)
            vectors = staging.fetched(made[: len(texts)])
            ready = self._mark()
        if ready is not None:
            ready.synchronize()
        return vectors.numpy()

    def keys_and_values(self, ids: Ids) -> Tensor:
        """Return those of one text's tokens in every layer, (layers, 2, P, kv), on the device."""
        staging = Staging(self.device)
        with self._lock, self._on_device(), torch.inference_mode():
            states = self.model.states(*staging.placed(packed([ids])))[2]
            ready = self._mark()
        if ready is not None:
            ready.synchronize()
        return states

    def _on_device(self) -> Any:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _mark(self) -> Any:
        """Return an event after all that was launched, or None where launching is running."""
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # asleep, not spinning
        event.record()
        return event


class Stream:
    """A thread's way to a replica: token ids in, vectors out. The GIL is released while the device works."""

    def __init__(self, replica: Replica) -> None:
        self._replica, self._staging = replica, Staging(replica.device)

    def run(self, texts: Sequence[Ids], past: Past | None = None) -> Vectors:
        """Return the vectors of one batch, shape (batch, dimension), valid until the next run.

        A batch that does not fit into the device's memory is split in two, and those again.

        Args:
            texts: token ids of each text, shape (tokens,), at least one token each.
            past: keys and values of what all of them begin with; those tokens are then left out of `texts`.

        Raises:
            EngineError: a vector is not finite, or a single text does not fit into the device's memory.
        """
        own = None if past is None else past[self._replica.device]
        try:
            vectors = self._replica.run(texts, self._staging, own)
        except torch.OutOfMemoryError:
            vectors = None  # tried again below, where the error no longer holds on to the memory
        if vectors is None:
            return self._in_two(texts, past)
        if not np.isfinite(vectors).all():
            raise EngineError("a vector came out of the model not finite; the weights or the dtype overflow")
        return vectors

    def _in_two(self, texts: Sequence[Ids], past: Past | None) -> Vectors:
        if self._replica.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(texts) == 1:
            raise EngineError(
                f"a text of {len(texts[0]):,} tokens does not fit into the memory of {self._replica.device}; "
                "cut texts shorter (max_length) or use a smaller model or dtype"
            )
        half = len(texts) // 2
        first = self.run(texts[:half], past).copy()
        return np.concatenate((first, self.run(texts[half:], past)))


def prepared(model: Transformer, device: torch.device, dtype: torch.dtype) -> Replica:
    """Return the model on a device with all that is fast there.

    On CUDA: attention without padding where the kernel takes the dtype, fused by torch.compile, small steps recorded.
    """
    if device.type != "cuda":
        return Replica(model, device)
    kernel = torch_kernel() if dtype in HALVES and model.shape.head_size in KERNEL_HEADS else None
    # All layers share one code, which is compiled for each kind of layer, one text and several, with a prefix and
    # without. Past its limit torch would run the layers as they are written, and say nothing.
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, COMPILED_KINDS)
    return Replica(model, device, kernel=kernel, compiler="inductor", record=recorded_on_cuda)
