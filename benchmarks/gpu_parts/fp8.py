"""FP8 beside bf16: how much faster a step is, and how far its vectors are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from farthing.engine.torch.fp8 import REFUSED, runs_fp8, vector_error
from farthing.theory.time.roofline import mfu
from farthing.theory.work import WorkCounter
from gpu_parts.bench import Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject, forward_work
from gpu_parts.tables import markdown, ms, share


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return the seconds of both at several batches, measured in turns, and the error over ragged texts."""
    exact, small, shape = subject.engine(), subject.engine("fp8"), subject.shape
    texts = bench.ragged(shape.vocabulary, bench.sizes.check_texts, subject.sequence // 4, subject.sequence)
    error = vector_error(exact.lane().run(texts).vectors, small.lane().run(texts).vectors, against="bf16")
    best = {dtype: peaks.best(subject, dtype) for dtype in ("bf16", "fp8")}
    found: dict[str, Any] = {}
    batches = [n for n in bench.sizes.batches if n * subject.sequence <= subject.most_tokens]
    for batch in bench.budget.within(batches):
        alike = bench.uniform(shape.vocabulary, batch, subject.sequence)
        seconds = bench.device.medians(
            {"bf16": forward_work(bench, exact, alike), "fp8": forward_work(bench, small, alike)},
            rounds=bench.sizes.rounds,
            least_s=bench.sizes.least_s,
        )
        flops = WorkCounter(shape, trim=False).step([subject.sequence] * batch).total.useful_flops
        found[f"{batch}×{subject.sequence}"] = {
            "batch": batch,
            "length": subject.sequence,
            "bf16_s": seconds["bf16"],
            "fp8_s": seconds["fp8"],
            "speedup": seconds["bf16"] / seconds["fp8"],
            "bf16_mfu": mfu(flops, seconds["bf16"], best["bf16"]),
            "fp8_mfu": mfu(flops, seconds["fp8"], best["fp8"]),
        }
    return {
        "emulated": not runs_fp8(bench.device.torch),
        "best_product_flops_per_s": best,
        "vector_error": asdict(error),
        "refused_shapes": [shape._asdict() for shape in sorted(REFUSED)],
        "cells": found,
    }


def table(figures: dict[str, Any]) -> list[str]:
    """Return the batches and the error as lines."""
    rows = (
        (
            name,
            ms(cell["bf16_s"]),
            share(cell["bf16_mfu"]),
            ms(cell["fp8_s"]),
            share(cell["fp8_mfu"]),
            f"{cell['speedup']:.2f}×",
        )
        for name, cell in figures["cells"].items()
    )
    error = figures["vector_error"]
    emulated = " FP8 is emulated here: its speed says nothing." if figures["emulated"] else ""
    refused = f" The library refused {len(figures['refused_shapes'])} shapes." * bool(
        figures["refused_shapes"]
    )
    return [
        *markdown(("texts × tokens", "bf16", "MFU", "FP8", "MFU of the best FP8 product", "FP8 is"), rows),
        "",
        f"Cosine to bf16's vectors over {error['texts']} ragged texts: mean {error['mean_cosine']:.4f}, least "
        f"{error['least_cosine']:.4f}.{emulated}{refused}",
    ]
