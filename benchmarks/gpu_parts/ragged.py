"""A corpus of ragged texts, sorted by both engines, each at its best batch: the comparison that a bar is about."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from farthing.scheduling.batching import batches_by_length
from gpu_parts.bench import RAGGED, Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject
from gpu_parts.peer import Peer, attentions
from gpu_parts.tables import markdown, number, share
from gpu_parts.throughput import if_it_fits, ours, steps_s, theirs

_TURNS = 2
_BUDGETS = (4, 8, 16, 32)
"""Our steps have so many times the tokens of the mean text, at most: the best of them is used, as theirs is."""


def measure(bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return the seconds of both over the corpus, measured in turns, each at the batch that it did best with."""
    engine, peak, sizes = subject.engine(), peaks.best(subject), bench.sizes
    mean = subject.sequence // 2 if subject.sequence < sizes.sequence else subject.sequence
    texts = bench.ragged(subject.shape.vocabulary, sizes.corpus_texts, mean, subject.shape.max_positions)
    lengths = [len(text) for text in texts]

    def we_s(budget: int) -> float:
        batches = batches_by_length(lengths, budget)
        return steps_s(engine, [[texts[row] for row in batch.rows] for batch in batches])

    with tempfile.TemporaryDirectory() as scratch:
        peers = {name: Peer(subject, bench.device.torch, name, Path(scratch)) for name in attentions()}

        def they_s(name: str, batch: int) -> float | None:
            return if_it_fits(lambda: bench.device.wall_s(lambda: peers[name].run_sorted(texts, batch)))

        tried: dict[str, dict[str, float | None]] = {"farthing": {}}
        for budget in (mean * times for times in _BUDGETS):
            we_s(budget)
            tried["farthing"][str(budget)] = we_s(budget)
        for name in peers:
            tried[name] = {}
            for batch in bench.budget.within(sizes.corpus_batches):
                tried[name][str(batch)] = they_s(name, batch) and they_s(name, batch)
        best = {name: _best(seconds) for name, seconds in tried.items()}
        turns: dict[str, list[float]] = {name: [] for name, batch in best.items() if batch is not None}
        for _ in range(_TURNS):
            for name, seconds in turns.items():
                at = best[name]
                assert at is not None
                seconds.append(we_s(at) if name == "farthing" else they_s(name, at) or 0.0)
    mine_s = median(turns["farthing"])
    return {
        "texts": len(texts),
        "tokens": sum(lengths),
        "longest": max(lengths),
        "cv2_drawn": RAGGED.cv2,
        "tried_s": tried,
        "best_batch": best,
        "farthing": ours(subject, texts, mine_s, peak),
        "sentence_transformers": {
            name: theirs(subject, texts, median(seconds), peak, mine_s)
            for name, seconds in turns.items()
            if name != "farthing"
        },
    }


def _best(seconds: dict[str, float | None]) -> int | None:
    ran = {int(batch): taken for batch, taken in seconds.items() if taken}
    return min(ran, key=lambda batch: ran[batch]) if ran else None


def table(figures: dict[str, Any]) -> list[str]:
    """Return the corpus as lines."""
    mine, best = figures["farthing"], figures["best_batch"]
    rows: list[tuple[object, ...]] = [
        (
            "Farthing",
            f"{best['farthing']:,} tokens",
            number(mine["tokens_per_s"]),
            share(mine["mfu"]),
            "",
        )
    ]
    rows += [
        (
            f"sentence-transformers, {name}",
            f"{best[name]} texts",
            number(found["tokens_per_s"]),
            share(found["mfu"]),
            f"{found['farthing_speedup']:.2f}×",
        )
        for name, found in figures["sentence_transformers"].items()
    ]
    caption = (
        f"{figures['texts']} ragged texts of {figures['tokens']:,} tokens, the longest {figures['longest']:,}, "
        "sorted by both:"
    )
    return [caption, "", *markdown(("engine", "best step", "tokens/s", "MFU", "Farthing is"), rows)]
