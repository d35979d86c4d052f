"""Attention without padding: torch's variable-length kernel on CUDA, for fp16 and bf16.

What the kernel cannot do (relative biases, a first token that looks only so far) is mixed on the padded grid.
Its arguments differ between torch 2.10 and 2.13; they are read from its signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from farthing.engine.grid import Grid, Kept, Sight
from farthing.engine.grid_attention import mixed_on_grid

Kernel = Callable[..., Any]
"""`torch.nn.attention.varlen.varlen_attn`, or what stands for it where there is no CUDA."""


class VarlenAttention:
    """Mixes by texts laid one after another; queries and keys of a text end together, as in FlashAttention 2.1."""

    def __init__(self, kernel: Kernel) -> None:
        """Take the kernel.

        Args:
            kernel: (query, key, value, bounds of queries, bounds of keys, most queries, most keys, …) → mixed.
        """
        self._kernel = kernel
        known = inspect.signature(kernel).parameters
        self._windows = "window_size" in known
        self._groups = "enable_gqa" in known
        self._scales = "scale" in known

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        grid: Grid,
        sight: Sight,
        *,
        bias: Tensor | None = None,
        past: Tensor | None = None,
        kept: Kept | None = None,
    ) -> Tensor:
        """Return the mixed values of each query; as `grid_attention.mixed_on_grid`."""
        if not self._can(sight, bias, kept):
            return mixed_on_grid(query, key, value, grid, sight, bias=bias, past=past, kept=kept)
        longest = grid.slots.shape[1]
        own = torch.arange(grid.bounds.shape[0], device=query.device, dtype=torch.int32)
        key_bounds, most_keys = grid.bounds, longest
        if past is not None:
            before = past.reshape(2, -1, key.shape[1], key.shape[2])
            key, value = _behind(before[0], key, grid), _behind(before[1], value, grid)
            key_bounds, most_keys = grid.bounds + own * before.shape[1], longest + before.shape[1]
        if not self._groups and key.shape[1] != query.shape[1]:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        if not self._scales:
            query = query * (sight.scale * query.shape[2] ** 0.5)
        mixed: Tensor = self._kernel(
            query,
            key,
            value,
            grid.bounds if kept is None else own,
            key_bounds,
            longest if kept is None else 1,
            most_keys,
            **self._options(sight, key.shape[1] != query.shape[1]),
        )
        return mixed.reshape(mixed.shape[0], -1)

    def _can(self, sight: Sight, bias: Tensor | None, kept: Kept | None) -> bool:
        everything = not sight.causal and sight.reach is None
        # Queries end with the keys: a lone query stands for the last token, unless all see all.
        return (
            bias is None
            and (sight.reach is None or self._windows)
            and (kept is None or kept.last or everything)
        )

    def _options(self, sight: Sight, grouped: bool) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self._scales:
            options["scale"] = sight.scale
        if self._groups and grouped:
            options["enable_gqa"] = True
        if not self._windows:
            return {**options, "is_causal": sight.causal}
        left = -1 if sight.reach is None else sight.reach
        return {**options, "window_size": (left, 0 if sight.causal else left)}


def torch_kernel() -> Kernel:
    """Return torch's kernel; it has none for the CPU.

    Raises:
        ImportError: this torch is older than 2.10.
    """
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


def _behind(before: Tensor, own: Tensor, grid: Grid) -> Tensor:
    """Return the prefix's rows before those of each text, (T + B · P, heads, size)."""
    texts, prefix = grid.lengths.shape[0], before.shape[0]
    owner = grid.places.long() // grid.slots.shape[1]
    token = torch.arange(own.shape[0], device=own.device)
    whole = own.new_empty(own.shape[0] + texts * prefix, *own.shape[1:])
    whole[token + (owner + 1) * prefix] = own
    start = grid.bounds[:-1].long() + torch.arange(texts, device=own.device) * prefix
    rows = (start[:, None] + torch.arange(prefix, device=own.device)).reshape(-1)
    whole[rows] = before.expand(texts, *before.shape).reshape(-1, *before.shape[1:])
    return whole
