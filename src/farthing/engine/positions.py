"""Positions inside attention: rotary ones on queries and keys, relative ones as biases on the scores.

Knows shapes and operations. Learned positions are an embedding, and are in the transformer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from farthing.theory.shapes import ModelShape

RELATIVE_REACH = 128
"""Distance from which on relative positions share a bucket. Source: transformers, MPNetEncoder."""


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
