"""The card's own matrix product: at the model's shapes and at its best, which is the denominator of every MFU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import torch
from torch.nn import functional

from farthing.engine.torch.fp8 import fp8_rows, runs_fp8, scaled_product, widened_product
from farthing.theory.shapes import ModelShape
from gpu_parts.bench import Bench
from gpu_parts.device import Work
from gpu_parts.models import DTYPE, Subject
from gpu_parts.tables import markdown, tflops

Product = tuple[int, int, int]
"""(M, K, N): tokens, inputs, outputs."""

_WEIGHT_BYTES = 256 << 20
_MOST_WEIGHTS = 24
"""Weights are taken in turns, as those of a model's layers, so that they come from memory and not from a cache."""


def layer_products(shape: ModelShape, tokens: int) -> dict[str, Product]:
    """Return the matrix products of a layer for so many tokens."""
    h, a, m = shape.hidden, shape.attention_width, shape.intermediate
    return {
        "qkv": (tokens, h, a + 2 * shape.kv_width),
        "output": (tokens, a, h),
        "up": (tokens, h, (shape.mlp_matrices - 1) * m),
        "down": (tokens, m, h),
    }


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return the FLOP/s of each product in bf16 and FP8, measured in turns, and the best of all."""
    figures: dict[str, Any] = {"emulated_fp8": not runs_fp8(bench.device.torch), "dtypes": {}}
    for dtype in bench.budget.within(("bf16", "fp8")):
        figures["dtypes"][dtype] = peaks.rates(subject, dtype)
    figures["copy_bytes_per_s"] = bench.device.copy_bytes_per_s()
    return figures


def rates(bench: Bench, subject: Subject, dtype: str) -> dict[str, Any]:
    """Return the FLOP/s of every product in a dtype, by name, and the best of them."""
    named = {
        f"{name}, {tokens} tokens": product
        for tokens in bench.sizes.product_tokens
        for name, product in layer_products(subject.shape, tokens).items()
    }
    named |= {"×".join(map(str, product)): product for product in bench.sizes.best_products}
    works, flops = {}, {}
    for name, (rows, inner, columns) in named.items():
        for kind, work in _works(bench, (rows, inner, columns), dtype):
            works[name + kind], flops[name + kind] = work, 2 * rows * inner * columns
    seconds = bench.device.medians(works, rounds=bench.sizes.rounds, least_s=bench.sizes.least_s / 5)
    found = {name: flops[name] / taken for name, taken in seconds.items()}
    best = max(found, key=lambda name: found[name])
    return {"flops_per_s": found, "best": best, "best_flops_per_s": found[best]}


def _works(bench: Bench, product: Product, dtype: str) -> Iterator[tuple[str, Work]]:
    """Yield what the product is called and a call that does it, over random data: zeros draw less power."""
    rows, inner, columns = product
    device = bench.device.torch
    weight_bytes = inner * columns * (2 if dtype == "bf16" else 1)
    count = max(1, min(_MOST_WEIGHTS, _WEIGHT_BYTES // weight_bytes)) if bench.device.cuda else 1
    x = torch.randn(rows, inner, device=device, dtype=DTYPE)
    weights = [torch.randn(columns, inner, device=device, dtype=DTYPE) for _ in range(count)]
    if dtype == "bf16":
        turns = cycle(weights)
        yield "", lambda: functional.linear(x, next(turns))
        return
    codes, scales = fp8_rows(x)
    scaled = cycle([(found, their_scales.t().contiguous()) for found, their_scales in map(fp8_rows, weights)])
    if not runs_fp8(device):

        def emulated() -> torch.Tensor:
            weight, row_scales = next(scaled)
            return widened_product(codes.to(DTYPE), weight.to(DTYPE), scales, row_scales, None)

        yield "", emulated
        return

    def by_row() -> torch.Tensor:
        weight, row_scales = next(scaled)
        return scaled_product(codes, weight, scales, row_scales, None)

    def by_tensor() -> torch.Tensor:
        weight, _ = next(scaled)
        return torch._scaled_mm(
            codes, weight.t(), scale_a=one, scale_b=one, out_dtype=DTYPE, use_fast_accum=True
        )

    one = torch.ones((), device=device)
    for kind, work in ((", scaled by row", by_row), (", scaled as a whole", by_tensor)):
        try:
            work()
        except RuntimeError as error:  # the library has no kernel for this shape
            print(f"fp8 {product}{kind}: {str(error).splitlines()[0]}")
        else:
            yield kind, work


class Peaks:
    """The matrix products of this run, measured once for each model and dtype."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def rates(self, subject: Subject, dtype: str) -> dict[str, Any]:
        """Return what `rates` measured."""
        key = subject.name, dtype
        if key not in self._known:
            self._known[key] = rates(self._bench, subject, dtype)
        return self._known[key]

    def best(self, subject: Subject, dtype: str = "bf16") -> float:
        """Return the best FLOP/s over fixed shapes and the model's own: what an MFU is a share of."""
        return float(self.rates(subject, dtype)["best_flops_per_s"])


def table(figures: dict[str, Any]) -> list[str]:
    """Return the figures as lines."""
    lines = []
    for dtype, found in figures["dtypes"].items():
        by_speed = sorted(found["flops_per_s"].items(), key=lambda pair: -pair[1])
        best = found["best_flops_per_s"]
        rows = [(name, tflops(rate), f"{rate / best:.2f}") for name, rate in by_speed]
        emulated = ", emulated" if dtype == "fp8" and figures["emulated_fp8"] else ""
        lines += [*markdown((f"product in {dtype}{emulated}", "rate", "of the best"), rows), ""]
    return [*lines, f"A copy inside the memory: {figures['copy_bytes_per_s'] / 1e12:.2f} TB/s."]
