"""int8 products, emulated: the numbers that int8 units give, not their speed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from farthing.engine.torch.fp8 import LEAST_SCALE, largest
from farthing.engine.torch.weights import Stack, Weights

INT8_MOST = 127
"""Largest code of symmetric int8: −128 is not used, so that a value and its negative have the same size."""

EXACT_PRODUCTS = 1024
"""Products of int8 codes whose sum is exact in float32: 1024 × 127² is below 2²⁴."""


def int8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 codes of (rows, K) and the float32 scale of each row, (rows, 1), so that x ≈ codes × scales."""
    scales = (largest(x) / INT8_MOST).clamp(min=LEAST_SCALE)
    return torch.round(x / scales).to(torch.int8), scales


def integer_product(codes: Tensor, weight: Tensor) -> Tensor:
    """Return (T, N), exact sums of products of int8 codes, as int32.

    Args:
        codes: (T, K), of any dtype.
        weight: (N, K), of any dtype.
    """
    sums = torch.zeros(codes.shape[0], weight.shape[0], dtype=torch.int32)
    wide, rows = codes.float(), weight.float()
    for start in range(0, codes.shape[1], EXACT_PRODUCTS):
        some = slice(start, start + EXACT_PRODUCTS)
        sums += (wide[:, some] @ rows[:, some].t()).int()
    return sums


class Int8Stack(Stack):
    """Weights in int8 scaled by row; activations in int8 scaled by token as they come, or left as they are."""

    def __init__(self, stack: Stack, *, activations: bool = True) -> None:
        codes, scales = int8_rows(stack.weight.float())
        super().__init__(codes.float(), stack.bias)
        self._scales, self._activations = scales, activations

    def product(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return (T, stop − start) from (T, inputs): the outputs of some rows."""
        weight = self.weight[start:stop]
        if self._activations:
            codes, token_scales = int8_rows(x)
            found = integer_product(codes, weight) * token_scales
        else:
            found = functional.linear(x.float(), weight)
        found = found * self._scales[start:stop].t()
        return (found if self.bias is None else found + self.bias[start:stop]).to(x.dtype)


def quantize_int8(weights: Weights, *, activations: bool = True) -> None:
    """Quantize the products of all layers, in place."""
    for name, stack in weights.stacks.items():
        if name.startswith("layers.") and stack.weight.dim() > 1:
            weights.stacks[name] = Int8Stack(stack, activations=activations)
