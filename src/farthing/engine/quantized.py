"""Linear layers in eight bits: weights scaled by row, activations by token.

FP8 (e4m3) runs on the units of cards that have them and is emulated elsewhere; int8 is emulated everywhere, to see
what it would cost in quality. A layer knows its weights and the device that it is on; nothing here knows a family or a
checkpoint.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from farthing.engine.network.transformer import Transformer
from farthing.engine.torch.fp8 import (
    Product,
    fp8_rows,
    int8_rows,
    integer_product,
    runs_fp8,
    scaled_product,
    widened_product,
)
from farthing.errors import InputError

ALIGNMENT = 16
"""Both sizes of an FP8 weight are multiples of this. Source: torch._scaled_mm, checked before it launches."""

_ROWS_AT_ONCE = 1024
"""Rows of a weight that are widened at once while it is quantized."""

_NOT_THE_SHAPE = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
"""RuntimeErrors that say nothing of a product's shape: no memory is left, or an earlier kernel failed."""

Kind = Literal["fp8", "int8", "int8_weights"]


@dataclass(frozen=True, slots=True, order=True)
class ProductShape:
    """Shapes of products that fail or work together.

    Attributes:
        most_tokens: the power of two that tokens were rounded up to.
        outputs: rows of the weight.
        inputs: columns of the weight.
    """

    most_tokens: int
    outputs: int
    inputs: int


def _aligned(size: int, alignment: int) -> int:
    """Return the next multiple of the alignment."""
    return -(-size // alignment) * alignment


class QuantizedLinear(nn.Module, ABC):
    """What the eight-bit layers share: codes of the weight, a scale for each of its rows, and the bias as it was.

    Move it between devices freely; another dtype must be chosen before, as `.to(dtype)` would convert the codes.
    """

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(
        self,
        linear: nn.Linear,
        dtype: torch.dtype,
        rows_of: Callable[[Tensor], tuple[Tensor, Tensor]],
        alignment: int = 1,
    ) -> None:
        """Quantize a layer's weight, some rows at a time, so that no second wide copy of it is made.

        Args:
            linear: the layer; it is not changed.
            dtype: of the codes.
            rows_of: rows to codes and scales.
            alignment: both sizes are filled up with zeros to multiples of it.
        """
        super().__init__()
        self.inputs, self.outputs = linear.in_features, linear.out_features
        rows, columns = _aligned(self.outputs, alignment), _aligned(self.inputs, alignment)
        device = linear.weight.device
        weight = torch.zeros(rows, columns, dtype=dtype, device=device)
        scales = torch.ones(1, rows, device=device)
        for start in range(0, self.outputs, _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, self.outputs)
            codes, found = rows_of(linear.weight[start:stop].detach().float())
            weight[start:stop, : self.inputs] = codes
            scales[0, start:stop] = found[:, 0]
        bias = None
        if linear.bias is not None:
            bias = torch.zeros(rows, dtype=linear.bias.dtype, device=device)
            bias[: self.outputs] = linear.bias.detach()
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)
        self._wide: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return (T, outputs) from (T, inputs), in the dtype of `x`."""
        return self.part(x, 0, self.outputs)

    @abstractmethod
    def part(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return (T, stop − start): only the outputs from `start` up to `stop`."""

    def wide(self, start: int, stop: int) -> Tensor:
        """Return the codes of some rows in the dtype that their products are emulated in.

        That is float32 on a processor, where they are kept, and bf16 elsewhere, where memory is dear.
        """
        if self.weight.device.type != "cpu":
            self._wide = None
            return self.weight[start:stop].bfloat16()
        if self._wide is None:
            self._wide = self.weight.float()
        return self._wide[start:stop]


class Fp8Linear(QuantizedLinear):
    """Weights in e4m3 scaled by row, activations in e4m3 scaled by token as they come.

    Attributes:
        product: the product on FP8 units; None for the device's own, where it has such units.
        failed: shapes that the FP8 units' library refused. They run as `widened_product`, which gives the same
            numbers but for rounding.
    """

    def __init__(self, linear: nn.Linear, product: Product | None = None) -> None:
        """Quantize a layer.

        Args:
            linear: the layer; it is not changed.
            product: as in the attributes.
        """
        super().__init__(linear, torch.float8_e4m3fn, fp8_rows, ALIGNMENT)
        self.product = product
        self.failed: set[ProductShape] = set()
        # A compiled graph would have the kernel's error raised past the except, and one graph for each size of step.
        self._multiplied = torch.compiler.disable(_multiplied)  # type: ignore[no-untyped-call]

    def part(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return (T, stop − start): only the outputs from `start` up to `stop`.

        Those beside them are computed too where `start` or `stop` is no multiple of 16.
        """
        missing = self.weight.shape[1] - self.inputs
        codes, token_scales = fp8_rows(functional.pad(x, (0, missing)) if missing else x)
        first, last = start // ALIGNMENT * ALIGNMENT, _aligned(stop, ALIGNMENT)
        found: Tensor = self._multiplied(self, codes, token_scales, first, last)
        return found[:, start - first : stop - first].to(x.dtype)


def _multiplied(layer: Fp8Linear, codes: Tensor, token_scales: Tensor, start: int, stop: int) -> Tensor:
    """Return the product with some rows, on FP8 units where there are any and their library has a kernel."""
    row_scales = layer.scales[:, start:stop]
    bias = None if layer.bias is None else layer.bias[start:stop]
    product = layer.product or (scaled_product if runs_fp8(codes.device) else None)
    shape = ProductShape(1 << (codes.shape[0] - 1).bit_length(), stop - start, codes.shape[1])
    if product is not None and shape not in layer.failed:
        try:
            return product(codes, layer.weight[start:stop], token_scales, row_scales, bias)
        except _NOT_THE_SHAPE:
            raise
        except RuntimeError:
            layer.failed.add(shape)
    weight = layer.wide(start, stop)
    return widened_product(codes.to(weight.dtype), weight, token_scales, row_scales, bias)


class Int8Linear(QuantizedLinear):
    """Weights in int8 scaled by row; activations in int8 scaled by token as they come, or left as they are."""

    def __init__(self, linear: nn.Linear, *, activations: bool = True) -> None:
        """Quantize a layer.

        Args:
            linear: the layer; it is not changed.
            activations: whether activations become int8 as well.
        """
        super().__init__(linear, torch.int8, int8_rows)
        self.activations = activations

    def part(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Return (T, stop − start): only the outputs from `start` up to `stop`."""
        weight = self.wide(start, stop)
        if self.activations:
            codes, token_scales = int8_rows(x)
            found = integer_product(codes, weight) * token_scales
        else:
            found = (x.to(weight.dtype) @ weight.t()).float()
        found = found * self.scales[:, start:stop]
        return (found if self.bias is None else found + self.bias[start:stop]).to(x.dtype)


def quantized(model: Transformer, kind: Kind, *, skip: Collection[str] = ()) -> Transformer:
    """Quantize the linear layers of a model's attention and MLP, in place, and return it.

    Embeddings, norms and matrices behind the pooling stay. Each original weight is let go before the next is
    quantized.

    Args:
        model: with its weights.
        kind: `fp8`; `int8`; or `int8_weights`, whose activations stay as they are.
        skip: names of modules in which nothing is changed, for example `layers.0` or `layers.3.mlp.down`.

    Raises:
        InputError: a name in `skip` holds no linear layer.
    """
    names = [
        name
        for name, module in model.named_modules()
        if name.startswith("layers.") and isinstance(module, nn.Linear)
    ]
    for given in skip:
        left = [name for name in names if f"{name}.".startswith(f"{given}.")]
        if not left:
            raise InputError(f"skip {given!r}: no linear layer is in it; they are named as {names[0]} is")
        names = [name for name in names if name not in left]
    for name in names:
        parent, _, child = name.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, child, _quantized_linear(getattr(owner, child), kind))
    return model


def _quantized_linear(linear: nn.Linear, kind: Kind) -> QuantizedLinear:
    return Fp8Linear(linear) if kind == "fp8" else Int8Linear(linear, activations=kind == "int8")


def failed_shapes(model: nn.Module) -> dict[str, tuple[ProductShape, ...]]:
    """Return which products of FP8 layers did not run on FP8 units though there are such, by layer."""
    return {
        name: tuple(sorted(module.failed))
        for name, module in model.named_modules()
        if isinstance(module, Fp8Linear) and module.failed
    }
