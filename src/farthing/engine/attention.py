"""Attention of packed tokens: projections, head norms and rotary positions around a way of mixing.

Knows shapes and operations. Knows no checkpoint names and no device. Which token sees which is the grid's; how the
scores are computed is the mixing's: on a padded grid (`grid_attention`) or without padding (`varlen_attention`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.grid import Grid, Kept, Sight
from farthing.engine.grid_attention import mixed_on_grid
from farthing.engine.norms import RmsNorm
from farthing.engine.positions import Rotation
from farthing.theory.shapes import ModelShape


class Mixing(Protocol):
    """A way of computing attention; the arguments are those of `grid_attention.mixed_on_grid`."""

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
        """Return the mixed values of each query."""


class Attention(nn.Module):
    """Multi-head self-attention with Q, K and V in one matrix product, or in three (`take_apart`).

    Attributes:
        mixing: how scores are computed; a backend may put its own here.
        apart: the three products; None for one.
    """

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = shape.heads, shape.kv_heads, shape.head_size
        scale = shape.head_size**-0.5 if shape.attention_scale is None else shape.attention_scale
        self.sight = Sight(scale, shape.causal, shape.attention_reach[layer])
        self.mixing: Mixing = mixed_on_grid
        width = shape.attention_width
        self.qkv = nn.Linear(shape.hidden, width + 2 * shape.kv_width, bias=shape.attention_bias)
        self.output = nn.Linear(width, shape.hidden, bias=shape.output_bias)
        self.query_norm = RmsNorm(shape.head_size, shape.norm_epsilon) if shape.qk_norm else None
        self.key_norm = RmsNorm(shape.head_size, shape.norm_epsilon) if shape.qk_norm else None
        self.apart: nn.ModuleList | None = None

    def take_apart(self) -> None:
        """Compute Q, K and V in three products of the same weights, without a copy, and scores without scaling.

        For backends on which three smaller products cost no more than one, and splitting its result does. The scale
        of the scores goes into the query's weights, unless a norm follows them.
        """
        width, kv_width = self.heads * self.head_size, self.kv_heads * self.head_size
        bounds = [0, width, width + kv_width, width + 2 * kv_width]
        parts = [_part(self.qkv, start, stop) for start, stop in pairwise(bounds)]
        if self.query_norm is None:
            with torch.no_grad():
                for parameter in parts[0].parameters():
                    parameter.mul_(self.sight.scale)
            self.sight = replace(self.sight, scale=1.0)
        self.apart = nn.ModuleList(parts)

    def forward(
        self,
        x: Tensor,
        grid: Grid,
        rotation: Rotation | None,
        bias: Tensor | None,
        past: Tensor | None = None,
        kept: Kept | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (T, hidden), or (B, hidden) for the kept tokens, and this layer's keys and values (2, T, kv).

        Args:
            x: (T, hidden).
            grid: where the tokens stand.
            rotation: rotary positions of the tokens.
            bias: (1, heads, S, S), added to the scores.
            past: keys and values of the shared prefix, (2, P, kv).
            kept: the one token of each text whose output is wanted; None for all.
        """
        width, kv_width = self.heads * self.head_size, self.kv_heads * self.head_size
        if self.apart is not None:
            asking = x if kept is None else x[kept.rows]
            query, key, value = (part(given) for part, given in zip(self.apart, (asking, x, x), strict=True))
        elif kept is None:
            query, key, value = torch.split(self.qkv(x), [width, kv_width, kv_width], dim=-1)
        else:
            query = _rows(self.qkv, x[kept.rows], 0, width)
            key, value = _rows(self.qkv, x, width, width + 2 * kv_width).chunk(2, dim=-1)
        query = query.reshape(-1, self.heads, self.head_size)
        key = key.reshape(-1, self.kv_heads, self.head_size)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if rotation is not None:
            key = rotation(key)
            query = (rotation if kept is None else rotation.at(kept.rows))(query)
        made = torch.stack((key.reshape(-1, kv_width), value))
        mixed = self.mixing(
            query, key, value.reshape(key.shape), grid, self.sight, bias=bias, past=past, kept=kept
        )
        projected: Tensor = self.output(mixed)
        return projected, made


def _part(linear: nn.Linear, start: int, stop: int) -> nn.Linear:
    """Return a layer of some of a layer's outputs, on the same weights."""
    part = nn.Linear(linear.in_features, stop - start, bias=linear.bias is not None, device="meta")
    part.weight = nn.Parameter(linear.weight.data[start:stop], requires_grad=False)
    if linear.bias is not None:
        part.bias = nn.Parameter(linear.bias.data[start:stop], requires_grad=False)
    return part


def _rows(linear: nn.Module, x: Tensor, start: int, stop: int) -> Tensor:
    """Return some of a linear layer's outputs, (…, stop − start)."""
    if not isinstance(linear, nn.Linear):
        part: Tensor = linear.part(x, start, stop)  # type: ignore[operator]  # a quantized layer
        return part
    bias = None if linear.bias is None else linear.bias[start:stop]
    return functional.linear(x, linear.weight[start:stop], bias)
