"""Number formats of weights and of matrix products."""

from typing import Literal

Dtype = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]

DTYPE_BYTES: dict[Dtype, int] = {"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1, "fp4": 2, "int4": 2}
"""Bytes of one weight or activation. With products in 4 bits, what stands between them is of 16."""

FOUR_BITS: dict[Dtype, float] = {"fp4": 4 + 8 / 16, "int4": 4 + 16 / 128}
"""Bits of one weight of the layers' matrices for products in 4 bits: a scale of 8 bits for each 16 weights of NVFP4,
one of 16 for each 128 of int4. Source: the defaults of compressed-tensors' presets NVFP4 and W4A16."""
