"""A step's input on its way to a device: one array in pinned memory, one asynchronous copy.

Knows torch and packed steps. Belongs to one thread at a time.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from farthing.engine.network.packing import PackedStep


class Staging:
    """Memory that steps pass through; it grows to the largest step and is used again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = device.type == "cuda"
        self._host = torch.empty(0, dtype=torch.int32)
        self._out = torch.empty(0, dtype=torch.float32)

    def placed(self, step: PackedStep, into: Tensor | None = None) -> list[Tensor]:
        """Return the step's arrays on the device, in the order of the module's arguments.

        The copy may still be on its way: it is ordered before what follows on the current CUDA stream, and the
        host's memory is free again when that has run.

        Args:
            step: what is copied.
            into: int32 memory on the device to copy to, of the step's size; None for new.
        """
        arrays = step.inputs
        total = sum(array.size for array in arrays)
        if self._host.numel() < total:
            self._host = torch.empty(2 * total, dtype=torch.int32, pin_memory=self._pinned)
        whole = self._host[:total]
        np.concatenate([array.reshape(-1) for array in arrays], out=whole.numpy())
        if into is None:
            into = torch.empty(total, dtype=torch.int32, device=self._device)
        into.copy_(whole, non_blocking=True)
        return views(step, into)

    def fetched(self, vectors: Tensor) -> Tensor:
        """Return vectors as float32 on the host, valid until the next call, once the current stream has run."""
        if self._out.numel() < vectors.numel():
            self._out = torch.empty(2 * vectors.numel(), dtype=torch.float32, pin_memory=self._pinned)
        out = self._out[: vectors.numel()].view(vectors.shape)
        return out.copy_(vectors, non_blocking=True)


def views(step: PackedStep, flat: Tensor) -> list[Tensor]:
    """Return the parts of one array of all of a step's numbers, each with its shape."""
    shapes = [array.shape for array in step.inputs]
    ends = np.cumsum([0, *(array.size for array in step.inputs)]).tolist()
    return [flat[start:stop].view(shape) for (start, stop), shape in zip(pairwise(ends), shapes, strict=True)]
