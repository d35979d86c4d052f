"""The whole step by kernel: its matrix products beside the same products done plainly, its attention, and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from farthing.engine.torch.model import Model
from farthing.theory.time.roofline import mfu
from farthing.theory.work import WorkCounter
from gpu_parts.bench import Bench
from gpu_parts.device import Kernel, Work
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject, forward_work, model_of
from gpu_parts.tables import markdown, ms, share

_GROUPS = {
    # In this order: flash kernels carry the names of the libraries that they are written in.
    "attention": re.compile(r"flash|fmha|attention|attn|softmax", re.IGNORECASE),
    "gemm": re.compile(
        r"gemm|nvjet|cutlass|cublas|xmma|splitk|gemv|matmul|scaled_mm|\bmm\b|addmm|linear|triton_tem",
        re.IGNORECASE,
    ),
}
_TURNS, _TIMES = 3, 3
_NAMED = 16
"""Kernels that a result names, so that the grouping can be judged."""


def group_of(kernel: str) -> str:
    """Return what a kernel does, told by its name: attention, gemm or rest."""
    return next((group for group, pattern in _GROUPS.items() if pattern.search(kernel)), "rest")


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return the kernels' seconds of whole steps and of their plain products, profiled in turns."""
    engine, peak = subject.engine(), peaks.best(subject)
    model = model_of(engine)
    found: dict[str, Any] = {}
    batches = [n for n in (1, *bench.sizes.batches) if n * subject.sequence <= subject.most_tokens]
    for batch in bench.budget.within(sorted(set(batches))):
        texts = bench.uniform(subject.shape.vocabulary, batch, subject.sequence)
        step = forward_work(bench, engine, texts)
        plain = plain_work(model, batch * subject.sequence, batch)
        steps, plains = [], []
        for _ in range(_TURNS):
            steps.append(bench.device.kernels(step, _TIMES))
            plains.append(bench.device.kernels(plain, _TIMES))
        shares = [_grouped(kernels) for kernels in steps]
        kernel_s = {group: median(one[group] for one in shares) for group in shares[0]}
        plain_s = median(sum(kernel.seconds for kernel in kernels) for kernels in plains)
        step_s = bench.median_s(step)
        work = WorkCounter(subject.shape, trim=model.network.trim).step([subject.sequence] * batch).total
        found[f"{batch}×{subject.sequence}"] = {
            "batch": batch,
            "length": subject.sequence,
            "kernel_s": kernel_s,
            "plain_products_s": plain_s,
            "gemm_ratio": kernel_s["gemm"] / plain_s,
            "step_s": step_s,
            "idle_share": max(0.0, 1 - sum(kernel_s.values()) / step_s),
            "mfu": mfu(work.useful_flops, step_s, peak),
            "mfu_executed": mfu(work.executed_flops, step_s, peak),
            "kernels": [
                {
                    "name": one.name,
                    "group": group_of(one.name),
                    "seconds": one.seconds,
                    "launches": one.launches,
                }
                for one in steps[-1][:_NAMED]
            ],
        }
    return {"best_product_flops_per_s": peak, "cells": found}


def _grouped(kernels: Iterable[Kernel]) -> dict[str, float]:
    seconds = {"gemm": 0.0, "attention": 0.0, "rest": 0.0}
    for kernel in kernels:
        seconds[group_of(kernel.name)] += kernel.seconds
    return seconds


def plain_work(model: Model, tokens: int, texts: int) -> Work:
    """Return all matrix products of a step one after another, with the model's own weights and random input."""
    products = list(step_products(model, tokens, texts))
    inputs = {
        (rows, weight.shape[1]): torch.randn(rows, weight.shape[1], device=weight.device, dtype=weight.dtype)
        for rows, weight, _ in products
    }

    def work() -> None:
        with torch.inference_mode():
            for rows, weight, bias in products:
                functional.linear(inputs[rows, weight.shape[1]], weight, bias)

    return work


def step_products(model: Model, tokens: int, texts: int) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """Yield (rows, weight, bias) of each product of a step: the last layer's as it is trimmed."""
    shape, stacks = model.network.shape, model.weights.stacks
    for name, stack in stacks.items():
        if not name.startswith("layers.") or stack.weight.dim() < 2:
            continue
        weight, bias = stack.weight, stack.bias
        trimmed = model.network.trim and name.startswith(f"layers.{shape.layers - 1}.")
        if trimmed and name.endswith(".qkv"):
            width = shape.attention_width
            yield texts, weight[:width], None if bias is None else bias[:width]
            yield tokens, weight[width:], None if bias is None else bias[width:]
        else:
            yield texts if trimmed else tokens, weight, bias


def table(figures: dict[str, Any]) -> list[str]:
    """Return the shares as lines."""
    rows = []
    for name, cell in figures["cells"].items():
        busy = sum(cell["kernel_s"].values())
        shares = (share(cell["kernel_s"][group] / busy) for group in ("gemm", "attention", "rest"))
        rows.append(
            (
                name,
                ms(cell["step_s"]),
                share(cell["mfu"]),
                share(cell["mfu_executed"]),
                *shares,
                share(cell["idle_share"]),
                f"{cell['gemm_ratio']:.3f}",
            )
        )
    headers = (
        "texts × tokens",
        "device step",
        "MFU",
        "without trimming",
        "GEMM",
        "attention",
        "rest",
        "no kernel runs",
        "GEMM / plain products",
    )
    return markdown(headers, rows)
