"""Tokens per second and MFU over batch × length, uniform and ragged, beside sentence-transformers on the same card."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from farthing.engine.contract import Ids
from farthing.engine.torch.engine import TorchEngine
from farthing.theory.shapes import ModelShape
from gpu_parts.bench import Bench, Sizes
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject
from gpu_parts.peer import Peer, attentions
from gpu_parts.tables import gib, markdown, ms, number, share
from gpu_parts.throughput import if_it_fits, ours, steps_s, theirs

RAGGED_MOST = 8
"""A ragged text has at most so many times the tokens of the mean."""

_FEWEST_STEPS = 4
_SLOW_S, _TURNS = 0.2, 3
"""Steps slower than that are run so many times once, not in several turns."""


def cells(sizes: Sizes, shape: ModelShape, most_tokens: int) -> list[tuple[int, int]]:
    """Return the pairs of batch and length that are measured."""
    return [
        (batch, length)
        for length, batch in product(sizes.lengths, sizes.batches)
        if length <= shape.max_positions and batch * length <= most_tokens
    ]


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return the cells of the grid, each a batch of one length or of ragged ones, for us and for them."""
    engine, peak = subject.engine(), peaks.best(subject)
    shape, sizes = subject.shape, bench.sizes
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        peers = {name: Peer(subject, bench.device.torch, name, Path(scratch)) for name in attentions()}
        for batch, length in bench.budget.within(cells(sizes, shape, subject.most_tokens)):
            kinds = {"uniform": bench.uniform(shape.vocabulary, batch, length)}
            if batch > 1:
                longest = min(shape.max_positions, RAGGED_MOST * length)
                kinds["ragged"] = bench.ragged(shape.vocabulary, batch, length, longest)
            for kind, texts in kinds.items():
                cell = _cell(bench, subject, engine, peers, texts, peak)
                found[f"{kind} {batch}×{length}"] = {
                    "kind": kind,
                    "batch": batch,
                    "length": length,
                    **cell,
                }
    return {"best_product_flops_per_s": peak, "cells": found}


def _cell(
    bench: Bench,
    subject: Subject,
    engine: TorchEngine,
    peers: dict[str, Peer],
    texts: Sequence[Ids],
    peak: float,
) -> dict[str, Any]:
    """Return the seconds of one step alone and of many, and those of their batch of the same texts."""
    lane = engine.lane()
    step_s = bench.median_s(lambda: lane.run(texts), wall=True)
    times = max(_FEWEST_STEPS, min(100, math.ceil(4 * bench.sizes.least_s / step_s)))
    turns = _TURNS if step_s < _SLOW_S else 1
    many_s = median(steps_s(engine, [texts] * times) for _ in range(turns)) / times
    cell: dict[str, Any] = {
        "step_s": step_s,
        "peak_memory_bytes": bench.device.peak_bytes(lambda: lane.run(texts)),
        "farthing": ours(subject, texts, many_s, peak),
        "sentence_transformers": {},
    }
    for name, peer in peers.items():
        cell["sentence_transformers"][name] = if_it_fits(
            partial(_their_cell, bench, subject, peer, texts, peak, many_s)
        )
    return cell


def _their_cell(
    bench: Bench, subject: Subject, peer: Peer, texts: Sequence[Ids], peak: float, ours_s: float
) -> dict[str, Any]:
    """Return the seconds of their batch."""
    seconds = bench.median_s(lambda: peer.run(texts), wall=True)
    memory = bench.device.peak_bytes(lambda: peer.run(texts))
    return theirs(subject, texts, seconds, peak, ours_s) | {"peak_memory_bytes": memory}


def best_peer(cell: dict[str, Any]) -> dict[str, Any] | None:
    """Return the faster of sentence-transformers' ways, or None where none ran."""
    ran = [one for one in cell["sentence_transformers"].values() if one is not None]
    return max(ran, key=lambda one: one["tokens_per_s"]) if ran else None


def table(figures: dict[str, Any]) -> list[str]:
    """Return the cells as lines."""
    rows = []
    for name, cell in figures["cells"].items():
        mine, other = cell["farthing"], best_peer(cell) or {}
        rows.append(
            (
                name,
                f"{mine['tokens']:,}",
                ms(cell["step_s"]),
                number(mine["tokens_per_s"]),
                share(mine["mfu"]),
                share(mine["mfu_executed"]),
                gib(cell["peak_memory_bytes"]),
                number(other.get("tokens_per_s")),
                share(other.get("mfu")),
                f"{other['farthing_speedup']:.2f}×" if other else "–",
            )
        )
    headers = (
        "texts × tokens",
        "tokens",
        "one step",
        "tokens/s",
        "MFU",
        "without trimming",
        "peak memory",
        "sentence-transformers, tokens/s",
        "its MFU",
        "Farthing is",
    )
    return markdown(headers, rows)
