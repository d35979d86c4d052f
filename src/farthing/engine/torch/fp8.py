"""Linear layers in e4m3: weights scaled by row, activations by token, products on FP8 units or emulated.

Emulated means the same numbers in wider arithmetic, and no faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.torch.weights import Stack, Weights
from farthing.errors import EngineError
from farthing.theory.dtypes import Dtype

FP8_MOST = 448.0
"""Largest finite value of e4m3 without infinities. Source: Micikevicius et al. 2022, FP8 Formats for Deep Learning."""

FP8_CAPABILITY = (8, 9)
"""First compute capability of NVIDIA's with FP8 units (Ada; Hopper is 9.0)."""

LEAST_SCALE = torch.finfo(torch.float32).tiny
"""Scale of a row of zeros: anything that can be divided by."""

_ALIGNMENT = 16
"""Both sizes of an FP8 weight are multiples of this. Source: torch._scaled_mm, checked before it launches."""

_ROWS_AT_ONCE = 1024
"""Rows of a weight that are widened at once while it is quantized."""

_NOT_THE_SHAPE = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
"""RuntimeErrors that say nothing of a product's shape: no memory is left, or an earlier kernel failed."""


class ProductShape(NamedTuple):
    """Shapes of products that fail or work together.

    Attributes:
        most_tokens: the power of two that tokens were rounded up to.
        outputs: rows of the weight.
        inputs: columns of the weight.
    """

    most_tokens: int
    outputs: int
    inputs: int


REFUSED: set[ProductShape] = set()
"""Shapes that the FP8 units' library has no kernel for, as this process found out: a fact about the library."""


def runs_fp8(device: torch.device) -> bool:
    """Return whether a device has units for e4m3. AMD's first ones round to another format, so they do not count."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= FP8_CAPABILITY


def fp8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return e4m3 codes of (rows, K) and the float32 scale of each row, (rows, 1), so that x ≈ codes × scales.

    The largest of a row becomes 448. A row that is not finite gives a product that is not finite.
    """
    scales = (largest(x) / FP8_MOST).clamp(min=LEAST_SCALE)
    return (x / scales).to(torch.float8_e4m3fn), scales


def largest(x: Tensor) -> Tensor:
    """Return the largest absolute value of each row, float32 (rows, 1)."""
    found: Tensor = torch.linalg.vector_norm(x, ord=math.inf, dim=-1, keepdim=True, dtype=torch.float32)
    return found


def scaled_product(
    codes: Tensor, weight: Tensor, token_scales: Tensor, row_scales: Tensor, bias: Tensor | None
) -> Tensor:
    """Return (T, N) in bf16 of codes (T, K), weight (N, K), scales (T, 1) and (1, N), and bias (N,), on FP8 units.

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
    """Return what `scaled_product` does, but for the rounding of sums, in float32; without FP8 units.

    The codes are exact in the dtype that they are multiplied in: float32 on a processor, bf16 elsewhere.
    """
    wide = torch.float32 if codes.device.type == "cpu" else torch.bfloat16
    found = (codes.to(wide) @ weight.to(wide).t()).float() * token_scales * row_scales
    return found if bias is None else found + bias


# An operation of its own, whose code is not compiled: a kernel that refuses a shape would raise past any except in
# a compiled graph, and a break of the graph at each product would cost the host more than the product.
@torch.library.custom_op(
    "farthing::fp8_product",
    mutates_args=(),
    schema="(Tensor codes, Tensor weight, Tensor token_scales, Tensor row_scales, Tensor? bias) -> Tensor",
)
def fp8_product(
    codes: Tensor, weight: Tensor, token_scales: Tensor, row_scales: Tensor, bias: Tensor | None
) -> Tensor:
    """Return the product on FP8 units where there are any and their library has a kernel, else widened."""
    shape = ProductShape(1 << (codes.shape[0] - 1).bit_length(), *weight.shape)
    if runs_fp8(codes.device) and shape not in REFUSED:
        try:
            return scaled_product(codes, weight, token_scales, row_scales, bias)
        except _NOT_THE_SHAPE:
            raise
        except RuntimeError:
            REFUSED.add(shape)
    return widened_product(codes, weight, token_scales, row_scales, bias).to(_out_dtype(codes))


@fp8_product.register_fake
def _(
    codes: Tensor, weight: Tensor, _token_scales: Tensor, _row_scales: Tensor, _bias: Tensor | None
) -> Tensor:
    return codes.new_empty(codes.shape[0], weight.shape[0], dtype=_out_dtype(codes))


def _out_dtype(codes: Tensor) -> torch.dtype:
    return torch.float32 if codes.device.type == "cpu" else torch.bfloat16


class Fp8Stack(Stack):
    """A stack whose weight is codes, filled up with zeros to multiples of 16, with a scale for each row."""

    def __init__(self, stack: Stack) -> None:
        """Quantize a stack, some rows at a time, so that no second wide copy of it is made; it is not changed."""
        outputs, inputs = stack.weight.shape
        rows, columns, device = _aligned(outputs), _aligned(inputs), stack.weight.device
        weight = torch.zeros(rows, columns, dtype=torch.float8_e4m3fn, device=device)
        scales = torch.ones(1, rows, device=device)
        for start in range(0, outputs, _ROWS_AT_ONCE):
            some = slice(start, min(start + _ROWS_AT_ONCE, outputs))
            codes, found = fp8_rows(stack.weight[some].float())
            weight[some, :inputs], scales[0, some] = codes, found[:, 0]
        super().__init__(
            weight, None if stack.bias is None else functional.pad(stack.bias, (0, rows - outputs))
        )
        self.scales = nn.Parameter(scales, requires_grad=False)

    def product(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return (T, stop − start) from (T, inputs), in the dtype of `x`: the outputs of some rows.

        Those beside them are computed too where `start` or `stop` is no multiple of 16.
        """
        missing = self.weight.shape[1] - x.shape[1]
        codes, token_scales = fp8_rows(functional.pad(x, (0, missing)) if missing else x)
        first, last = start // _ALIGNMENT * _ALIGNMENT, _aligned(stop)
        bias = None if self.bias is None else self.bias[first:last]
        found: Tensor = fp8_product(
            codes, self.weight[first:last], token_scales, self.scales[:, first:last], bias
        )
        return found[:, start - first : stop - first].to(x.dtype)


def quantize(weights: Weights) -> None:
    """Quantize the products of all layers, in place; each original is let go before the next is quantized.

    Embeddings, norms and matrices behind the pooling stay.
    """
    for name, stack in weights.stacks.items():
        if name.startswith("layers.") and stack.weight.dim() > 1:
            weights.stacks[name] = Fp8Stack(stack)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, slots=True)
class VectorError:
    """How far vectors are from those of the same model in a wider dtype.

    Attributes:
        mean_cosine: mean over the texts of the cosine between both vectors.
        least_cosine: the smallest of them.
        texts: how many texts were measured.
        against: dtype of the other vectors.
    """

    mean_cosine: float
    least_cosine: float
    texts: int
    against: Dtype


def vector_error(
    reference: npt.NDArray[np.floating], found: npt.NDArray[np.floating], against: Dtype
) -> VectorError:
    """Return how far vectors are from others of the same texts.

    Args:
        reference: (texts, dimension), of any length.
        found: of the same shape.
        against: dtype that `reference` was computed in.

    Raises:
        EngineError: no texts, other shapes, or a vector that is zero or not finite: it has no direction.
    """
    if reference.shape != found.shape or reference.ndim != 2 or not len(found):
        raise EngineError(f"vectors of shapes {reference.shape} and {found.shape} cannot be compared")
    wide, other = reference.astype(np.float64), found.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise EngineError("a vector to compare is zero or not finite; it has no direction")
    cosines = (wide * other).sum(axis=1) / lengths
    return VectorError(float(cosines.mean()), float(cosines.min()), len(cosines), against)
