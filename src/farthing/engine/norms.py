"""Norms: layer norm with or without a bias, and RMS norm.

Knows operations. A model whose norms multiply with 1 + weight has that added when its weights are loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from farthing.theory.shapes import ModelShape


class RmsNorm(nn.Module):
    """Scaling by the root mean square, computed in float32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with its last axis scaled."""
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return (scaled * self.weight.float()).to(x.dtype)


def norm_of(shape: ModelShape) -> nn.Module:
    """Return a norm over the residual stream, of the shape's kind."""
    if shape.norm == "rms_norm":
        return RmsNorm(shape.hidden, shape.norm_epsilon)
    return nn.LayerNorm(shape.hidden, shape.norm_epsilon, bias=shape.norm_bias)
