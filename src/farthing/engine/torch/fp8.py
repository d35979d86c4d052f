"""Numbers in eight bits and their products: codes with a scale for each row, on a card's FP8 units or emulated.

Emulated means the same numbers in wider arithmetic, and no faster. Knows tensors. Knows no layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

FP8_MOST = 448.0
"""Largest finite value of e4m3 without infinities. Source: Micikevicius et al. 2022, FP8 Formats for Deep Learning."""

INT8_MOST = 127
"""Largest code of symmetric int8: −128 is not used, so that a value and its negative have the same size."""

LEAST_SCALE = torch.finfo(torch.float32).tiny
"""Scale of a row of zeros: anything that can be divided by."""

FP8_CAPABILITY = (8, 9)
"""First compute capability of NVIDIA's with FP8 units (Ada; Hopper is 9.0)."""

EXACT_PRODUCTS = 1024
"""Products of int8 codes whose sum is exact in float32: 1024 × 127² is below 2²⁴."""

Product = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""(codes (T, K), weight (N, K), scales (T, 1), scales (1, N), bias (N,) or None) → (T, N)."""


def fp8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return e4m3 codes of (rows, K) and the float32 scale of each row, (rows, 1), so that x ≈ codes × scales.

    The largest of a row becomes 448. A row that is not finite gives a product that is not finite.
    """
    scales = (_largest(x) / FP8_MOST).clamp(min=LEAST_SCALE)
    return (x / scales).to(torch.float8_e4m3fn), scales


def int8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 codes of (rows, K) and the float32 scale of each row, (rows, 1); as `fp8_rows`, to 127."""
    scales = (_largest(x) / INT8_MOST).clamp(min=LEAST_SCALE)
    return torch.round(x / scales).to(torch.int8), scales


def _largest(x: Tensor) -> Tensor:
    largest: Tensor = torch.linalg.vector_norm(x, ord=math.inf, dim=-1, keepdim=True, dtype=torch.float32)
    return largest


def runs_fp8(device: torch.device) -> bool:
    """Return whether a device has units for e4m3. AMD's first ones round to another format, so they do not count."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= FP8_CAPABILITY


def scaled_product(
    codes: Tensor, weight: Tensor, token_scales: Tensor, row_scales: Tensor, bias: Tensor | None
) -> Tensor:
    """Return the product on FP8 units, (T, N) in bf16; a `Product`.

    Sums are kept in the units' own accumulators, which are narrower than float32 and faster.

    Raises:
        RuntimeError: the library has no kernel for this shape. Known: an H100, T ≤ 256, K = 9216.
            Source: github.com/pytorch/ao, issue 4582.
    """
    return torch._scaled_mm(
        codes,
        weight.t(),
        scale_a=token_scales,
        scale_b=row_scales,
        bias=None if bias is None else bias.bfloat16(),
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


def widened_product(
    codes: Tensor, weight: Tensor, token_scales: Tensor, row_scales: Tensor, bias: Tensor | None
) -> Tensor:
    """Return the product of codes that are already in a wider dtype, (T, N) in float32; a `Product`.

    All e4m3 codes are exact in bf16 and float32, so this is what FP8 units compute, but for the rounding of sums.
    """
    found = (codes @ weight.t()).float() * token_scales * row_scales
    return found if bias is None else found + bias


def integer_product(codes: Tensor, weight: Tensor) -> Tensor:
    """Return (T, N), exact sums of products of int8 codes, as int32.

    Args:
        codes: (T, K), of any dtype.
        weight: (N, K), in float32 or bf16: the products are made in it and summed in float32.
    """
    sums = torch.zeros(codes.shape[0], weight.shape[0], dtype=torch.int32, device=codes.device)
    wide = codes.float()
    for start in range(0, codes.shape[1], EXACT_PRODUCTS):
        some = slice(start, start + EXACT_PRODUCTS)
        sums += (wide[:, some] @ weight[:, some].float().t()).int()
    return sums
