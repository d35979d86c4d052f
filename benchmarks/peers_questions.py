"""The questions: how each is asked of the engines, and its figures. Judges nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peers_engines import REFERENCE, Worker
from peers_rounds import Timed, Turn, agreement, by_batch, interleaved
from peers_texts import for_batch_search

WARM_CALLS = 5
"""First calls of a block, not counted: the process has just been woken."""

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


def throughput(question: str, workers: Mapping[str, Worker], corpus: Corpus, rounds: int) -> dict[str, Any]:
    """Return the figures of a question: each engine at its best batch size, interleaved rounds."""
    if len(corpus.requests) == 1:
        sample = [for_batch_search(corpus.requests[0])]
    else:
        sample = corpus.requests[: max(1, len(corpus.requests) // 4)]
    searched = {}
    for name, worker in workers.items():
        worker.run(sample, sort=corpus.sort)  # warm, and its memory is back, before anything is timed
        searched[name] = _by_batch(worker, sample, sort=corpus.sort)
        print(f"{question}: {name} by batch size, s: {searched[name]}", flush=True)
    best = {name: next(iter(tried), None) for name, tried in searched.items()}
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
