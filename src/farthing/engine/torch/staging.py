"""A step's input on its way to a device, and its vectors on the way back: pinned memory, copies that nobody awaits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from farthing.engine.contract import Ids

_ALIGNMENT = 4
"""Numbers in 16 bytes: compiled code copies inputs that start elsewhere."""

_BOUND = 8
"""The bound on a step's texts is a multiple of it: attention's masks want rows of so many."""


class Inputs(NamedTuple):
    """What the network is told of a step of B texts with T tokens.

    Attributes:
        ids: int32 (T,), of all texts, one after another.
        bounds: int32 (B + 1,), the place of each text's first token, and T.
        longest: no text has more tokens.
    """

    ids: Tensor
    bounds: Tensor
    longest: int


class Staging:
    """Memory that steps pass through; it grows to the largest and is used again. One step at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pinned = device, device.type == "cuda"
        self._in = torch.empty(0, dtype=torch.int32)
        self._out = torch.empty(0, dtype=torch.float32)

    def placed(self, texts: Sequence[Ids], filler: Sequence[int] = (), into: Tensor | None = None) -> Inputs:
        """Return a step's input on the device.

        The copy may still be on its way: it is ordered before what follows on the current stream, and the host's
        memory is free again when that has run.

        Args:
            texts: token ids of each text, int32 (tokens,).
            filler: tokens of texts behind them that nobody asked for.
            into: memory on the device, as `room` gives it for a step of this size; None for new.
        """
        lengths = [*map(len, texts), *filler]
        tokens, own = sum(lengths), sum(map(len, texts))
        start = _aligned(tokens)
        total = start + len(lengths) + 1
        if self._in.numel() < total:
            self._in = torch.empty(2 * total, dtype=torch.int32, pin_memory=self._pinned)
        host = self._in[:total].numpy()
        np.concatenate(texts, out=host[:own])
        host[own : start + 1] = 0
        np.cumsum(lengths, out=host[start + 1 :])
        into = room(tokens, len(lengths), self._device) if into is None else into
        into.copy_(self._in[:total], non_blocking=True)
        return Inputs(into[:tokens], into[start:], -(-max(lengths) // _BOUND) * _BOUND)

    def fetched(self, vectors: Tensor) -> Tensor:
        """Return vectors on the host, float32, valid until the next call, once the current stream has run."""
        if self._out.numel() < vectors.numel():
            self._out = torch.empty(2 * vectors.numel(), dtype=torch.float32, pin_memory=self._pinned)
        return self._out[: vectors.numel()].view(vectors.shape).copy_(vectors, non_blocking=True)


def room(tokens: int, texts: int, device: torch.device) -> Tensor:
    """Return memory on a device for a step's ids and bounds."""
    return torch.empty(_aligned(tokens) + texts + 1, dtype=torch.int32, device=device)


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT
