"""The questions: how each is asked of the engines, and its figures. Judges nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from farthing.engine.calibration.gemm_peak import GemmRate
from peers_engines import REFERENCE, Worker
from peers_rounds import Timed, Turn, agreement, by_batch, interleaved
from peers_texts import for_batch_search

WARM_CALLS = 5
"""First calls of a block, not counted: the process has just been woken."""

OWN_SHAPES = ((1024, 384, 1536), (1024, 1536, 384))
"""Shapes of the matrix peak that are the default model's."""

PREFIX_BATCHES = 32
"""Queries that the best batch size is looked for on."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a throughput question runs on.

    Attributes:
        requests: texts that an engine sees together, each.
        tokens: of all texts, as the model cuts them.
        flops: of a forward pass over all texts, without padding.
        sort: whether texts of a request may be reordered for engines that do not do so themselves.
    """

    requests: list[list[str]]
    tokens: int
    flops: int
    sort: bool


def throughput(
    question: str, workers: Mapping[str, Worker], corpus: Corpus, rounds: int, *, search: bool = True
) -> dict[str, Any]:
    """Return the figures of a question: each engine at one batch size, interleaved rounds.

    Args:
        question: what the lines that are printed begin with.
        workers: the engines.
        corpus: the texts.
        rounds: how often each engine runs on all of them.
        search: whether peers run at their best batch size; else at the one that they come with.
    """
    if len(corpus.requests) == 1:
        sample = [for_batch_search(corpus.requests[0])]
    else:
        sample = corpus.requests[: max(1, len(corpus.requests) // 4)]
    searched: dict[str, dict[int, float]] = {}
    for name, worker in workers.items():
        worker.run(sample, sort=corpus.sort)  # warm, and its memory is back, before anything is timed
        searched[name] = _by_batch(worker, sample, sort=corpus.sort) if search else {}
        if search:
            print(f"{question}: {name} by batch size, s: {searched[name]}", flush=True)
    best = {
        name: next(iter(tried), None if workers[name].engine.ours else workers[name].engine.own_batch)
        for name, tried in searched.items()
    }
    turns = [
        Turn(name, worker, corpus.requests, best[name] or 32, sort=corpus.sort)
        for name, worker in workers.items()
    ]
    timed = interleaved(turns, rounds, question)
    agreed = _agreement(timed)
    return {
        "requests": len(corpus.requests),
        "texts": sum(map(len, corpus.requests)),
        "tokens": corpus.tokens,
        "flops": corpus.flops,
        "engines": {
            name: {
                "seconds": one.totals_s,
                "median_s": one.median_s,
                "tokens_per_s": corpus.tokens / one.median_s,
                "best_batch": best[name],
                "batch_search_s": searched[name],
                **agreed[name],
            }
            for name, one in timed.items()
        },
    }


def utilization(
    question: str, worker: Worker, corpus: Corpus, rounds: int, rates: Callable[[], list[GemmRate]]
) -> dict[str, Any]:
    """Return an engine's useful FLOPs per wall second over the machine's best matrix rate, measured around each round.

    A round is set beside the higher of the rates before and after it, since the machine's own changes. Beside the best
    of all shapes stands the best of the default model's own, whose products are most of its work.

    Args:
        question: what the lines that are printed begin with.
        worker: the engine.
        corpus: the texts.
        rounds: how often it runs on all of them.
        rates: measures the matrix rates, best first.
    """
    turn = Turn(worker.engine.name, worker, corpus.requests, sort=corpus.sort)
    turn.run()  # warm
    measured, seconds = [rates()], []
    for round_ in range(rounds):
        seconds.append(sum(turn.run()[0]))
        measured.append(rates())
        best = measured[-1][0]
        print(
            f"{question} round {round_}: {seconds[-1]:.3f} s; {best.label}: {best.flops_per_s / 1e9:.0f} GFLOP/s",
            flush=True,
        )
    peaks = [found[0].flops_per_s for found in measured]
    own = [next(rate.flops_per_s for rate in found if rate.shape in OWN_SHAPES) for found in measured]
    shares, shares_of_own = (
        [corpus.flops / second / max(around) for second, around in zip(seconds, pairwise(of), strict=True)]
        for of in (peaks, own)
    )
    median_s = statistics.median(seconds)
    row = {
        "seconds": seconds,
        "median_s": median_s,
        "tokens_per_s": corpus.tokens / median_s,
        "mfu_wall_of_rounds": shares,
        "mfu_wall": statistics.median(shares),
        "mfu_wall_of_own_shapes": statistics.median(shares_of_own),
    }
    return {
        "texts": sum(map(len, corpus.requests)),
        "tokens": corpus.tokens,
        "flops": corpus.flops,
        "peak_flops_per_s": peaks,
        "peak_labels": [found[0].label for found in measured],
        "peak_flops_per_s_of_own_shapes": own,
        "engines": {worker.engine.name: row},
    }


def latency(workers: Mapping[str, Worker], texts: Mapping[int, Sequence[str]], rounds: int) -> dict[str, Any]:
    """Return the median latency of one text at a time for texts of each length, in interleaved blocks."""
    figures = {}
    for tokens, some in texts.items():
        calls = [[text] for text in (*some[:WARM_CALLS], *some)]
        turns = [Turn(name, worker, calls, single=True) for name, worker in workers.items()]
        timed = interleaved(turns, rounds, f"latency, {tokens} tokens,")
        agreed = _agreement(timed)
        rows: dict[str, Any] = {}
        for name, one in timed.items():
            counted = [seconds[WARM_CALLS:] for seconds in one.rounds]
            medians = [statistics.median(seconds) for seconds in counted]
            together = sorted(second for seconds in counted for second in seconds)
            rows[name] = {
                "seconds": medians,
                "median_s": statistics.median(medians),
                "p90_s": together[int(0.9 * len(together))],
                **agreed[name],
            }
        figures[str(tokens)] = {"calls_per_round": len(some), "engines": rows}
    return figures


def prefix(
    workers: Mapping[str, Worker], instruction: str, queries: list[str], rounds: int
) -> dict[str, Any]:
    """Return the figures of queries behind one instruction: Farthing with reuse, without, and the reference."""
    whole = [instruction + query for query in queries]
    ours = workers["farthing"]
    turns = [
        Turn("farthing", ours, [queries], prompt=instruction),
        Turn("farthing, plain", ours, [whole]),
    ]
    searched: dict[int, float] = {}
    if REFERENCE in workers:
        searched = _by_batch(workers[REFERENCE], [whole[:PREFIX_BATCHES]], sort=True)
        turns.append(Turn(REFERENCE, workers[REFERENCE], [queries], next(iter(searched)), prompt=instruction))
    for turn in turns[:2]:
        turn.run()
    timed = interleaved(turns, rounds, "prefix")
    agreed = _agreement(timed)
    return {
        "queries": len(queries),
        "batch_search_s": searched,
        "engines": {
            name: {"seconds": one.totals_s, "median_s": one.median_s, **agreed[name]}
            for name, one in timed.items()
        },
    }


def _by_batch(worker: Worker, sample: list[list[str]], *, sort: bool) -> dict[int, float]:
    """Return a peer's seconds by inner batch size, the best first; Farthing chooses its own."""
    if worker.engine.ours:
        return {}
    most = max(map(len, sample))
    return by_batch(lambda batch: sum(worker.run(sample, batch, sort=sort)[0]), most)


def _agreement(timed: Mapping[str, Timed]) -> dict[str, dict[str, float]]:
    reference = REFERENCE if REFERENCE in timed else next(iter(timed))
    return agreement({name: one.vectors for name, one in timed.items()}, reference)
