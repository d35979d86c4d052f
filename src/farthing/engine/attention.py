"""Attention of packed tokens: which tokens see which, rotary and relative positions, grouped heads.

Knows shapes and operations. Knows no checkpoint names and no device. Tokens are packed outside; inside, scores are
computed on a padded grid of (texts, longest), gathered by index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.norms import RmsNorm
from farthing.theory.shapes import ModelShape

MASKED = -1e9
"""Added to the score of a key that is not seen: far below any real score, and finite, so that no row becomes NaN."""

RELATIVE_REACH = 128
"""Distance from which on relative positions share a bucket. Source: transformers, MPNetEncoder."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the tokens of a step stand. T tokens, B texts, the longest of S, P tokens of a shared prefix.

    Attributes:
        positions: (T,), place of each token in its text, the prefix counted.
        slots: (B, S), index of the token at each place of the grid.
        places: (T,), place in the flattened grid of each token.
        lengths: (B,), tokens of each text without the prefix.
        prefix: tokens of the shared prefix, P.
    """

    positions: Tensor
    slots: Tensor
    places: Tensor
    lengths: Tensor
    prefix: int | Tensor = 0

    @property
    def keys(self) -> Tensor:
        """(S,), places of the grid, the prefix not counted."""
        return torch.arange(self.slots.shape[1], device=self.slots.device)


class Rotation:
    """Cosines and sines of rotary positions, for the tokens of one step."""

    def __init__(self, positions: Tensor, theta: float, size: int) -> None:
        """Compute them.

        Args:
            positions: (T,).
            theta: base of the frequencies.
            size: channels that are rotated, even.

        Source: Su et al. 2021, in the order of halves that all these families use.
        """
        channels = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32)
        angles = positions.float()[:, None] * torch.pow(theta, -channels / size)[None, :]
        self._cos, self._sin = angles.cos()[:, None, :], angles.sin()[:, None, :]
        self._size = size

    def at(self, rows: Tensor) -> Rotation:
        """Return the rotation of some of the tokens."""
        part = object.__new__(Rotation)
        part._cos, part._sin, part._size = self._cos[rows], self._sin[rows], self._size
        return part

    def __call__(self, heads: Tensor) -> Tensor:
        """Return (T, heads, head_size) rotated."""
        turned, rest = heads[..., : self._size], heads[..., self._size :]
        left, right = turned.chunk(2, dim=-1)
        cos, sin = self._cos.to(heads.dtype), self._sin.to(heads.dtype)
        turned = torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
        return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned


class RelativeBias(nn.Module):
    """Biases on the scores by relative position, in buckets that grow with the distance; one table for all layers."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.table = nn.Embedding(shape.relative_buckets, shape.heads)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return (1, heads, queries, keys) from positions of (queries,) and (keys,).

        Source: Raffel et al. 2020, both ways, as MPNet has it.
        """
        ahead = keys[None, :] - queries[:, None]
        half = self.table.num_embeddings // 2
        exact = half // 2
        far = ahead.abs().clamp(min=1).float()
        grown = exact + (
            torch.log(far / exact) / math.log(RELATIVE_REACH / exact) * (half - exact)
        ).long().clamp(max=half - 1 - exact)
        bucket = torch.where(ahead.abs() < exact, ahead.abs(), grown) + (ahead > 0).long() * half
        bias: Tensor = self.table(bucket)
        return bias.permute(2, 0, 1)[None]


class Attention(nn.Module):
    """Multi-head self-attention with Q, K and V in one matrix product."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = shape.heads, shape.kv_heads, shape.head_size
        self.scale = shape.head_size**-0.5 if shape.attention_scale is None else shape.attention_scale
        self.causal, self.reach = shape.causal, shape.attention_reach[layer]
        width = shape.attention_width
        self.qkv = nn.Linear(shape.hidden, width + 2 * shape.kv_width, bias=shape.attention_bias)
        self.output = nn.Linear(width, shape.hidden, bias=shape.output_bias)
        self.query_norm = RmsNorm(shape.head_size, shape.norm_epsilon) if shape.qk_norm else None
        self.key_norm = RmsNorm(shape.head_size, shape.norm_epsilon) if shape.qk_norm else None

    def forward(
        self,
        x: Tensor,
        grid: Grid,
        rotation: Rotation | None,
        bias: Tensor | None,
        past: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (T, hidden), or (B, hidden) for the kept tokens, and this layer's keys and values (2, T, kv).

        Args:
            x: (T, hidden).
            grid: where the tokens stand.
            rotation: rotary positions of the tokens.
            bias: (1, heads, S, S), added to the scores.
            past: keys and values of the shared prefix, (2, P, kv).
            kept: (B,), the one token of each text whose output is wanted; None for all.
        """
        width, kv_width = self.heads * self.head_size, self.kv_heads * self.head_size
        if kept is None:
            query, key, value = torch.split(self.qkv(x), [width, kv_width, kv_width], dim=-1)
        else:
            weights, biases = self.qkv.weight, self.qkv.bias
            query = functional.linear(x[kept], weights[:width], None if biases is None else biases[:width])
            both = functional.linear(x, weights[width:], None if biases is None else biases[width:])
            key, value = both.chunk(2, dim=-1)
        query = query.reshape(-1, self.heads, self.head_size)
        key = key.reshape(-1, self.kv_heads, self.head_size)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if rotation is not None:
            key = rotation(key)
            query = (rotation if kept is None else rotation.at(kept))(query)
        made = torch.stack((key.reshape(-1, kv_width), value))
        mixed = self._mixed(query, key, value.reshape(key.shape), grid, bias, past, kept)
        projected: Tensor = self.output(mixed)
        return projected, made

    def _mixed(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        grid: Grid,
        bias: Tensor | None,
        past: Tensor | None,
        kept: Tensor | None,
    ) -> Tensor:
        """Return the mixed values of each query, (T, width) or (B, width)."""
        queries = query[grid.slots] if kept is None else query[:, None]
        keys, values = key[grid.slots], value[grid.slots]
        if past is not None:
            before = past.reshape(2, 1, -1, self.kv_heads, self.head_size)
            before = before.expand(-1, keys.shape[0], -1, -1, -1)
            keys, values = torch.cat((before[0], keys), dim=1), torch.cat((before[1], values), dim=1)
        groups = self.heads // self.kv_heads
        mixed = functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            _repeated(keys.transpose(1, 2), groups),
            _repeated(values.transpose(1, 2), groups),
            attn_mask=self._mask(grid, None if kept is None else grid.positions[kept], query.dtype, bias),
            scale=self.scale,
        )
        width = self.heads * self.head_size
        if kept is not None:
            return mixed.reshape(-1, width)
        return mixed.transpose(1, 2).reshape(-1, width)[grid.places]

    def _mask(self, grid: Grid, kept: Tensor | None, dtype: torch.dtype, bias: Tensor | None) -> Tensor:
        """Return what is added to the scores, (B or 1, heads or 1, queries, keys).

        Args:
            grid: where the tokens stand.
            kept: (B,), positions of the kept queries; None for all places of the grid.
            dtype: of the scores.
            bias: as in `forward`.
        """
        own = grid.keys
        seen = (own[None, :] < grid.lengths[:, None])[:, None, :]  # (B, 1, S)
        keys = own + grid.prefix
        if isinstance(grid.prefix, Tensor) or grid.prefix:
            before = torch.arange(grid.prefix, device=own.device)  # type: ignore[arg-type]
            keys = torch.cat((before, keys))
            always = torch.ones_like(seen[:, :, :1]).expand(-1, -1, before.shape[0])
            seen = torch.cat((always, seen), dim=2)
        if self.causal or self.reach is not None:
            queries = (own + grid.prefix)[None, :] if kept is None else kept[:, None]
            behind = queries[:, :, None] - keys[None, None, :]  # (B or 1, queries, keys)
            if self.causal:
                seen = seen & (behind >= 0)
            if self.reach is not None:
                seen = seen & (behind.abs() <= self.reach)
        mask = torch.where(seen, 0.0, MASKED)[:, None].to(dtype)
        if bias is None:
            return mask
        if kept is not None:
            bias = bias[0].transpose(0, 1)[kept][:, :, None]  # (B, heads, 1, S)
        return mask + bias.to(dtype)


def _repeated(heads: Tensor, groups: int) -> Tensor:
    """Return (B, heads, S, size) with each key head as often as it is asked.

    By hand: `enable_gqa` converts to a graph with attention in parts (facts: cpu).
    """
    if groups == 1:
        return heads
    batch, count, length, size = heads.shape
    return heads[:, :, None].expand(batch, count, groups, length, size).reshape(batch, -1, length, size)
