"""Times engines in turn on the same requests, and compares their vectors. Knows no question and no bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from peers_engines import Vectors, Worker

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
WORSE = 1.1
"""How much slower than the best a batch size must be for those beyond it not to be tried."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What an engine is asked in every round.

    Attributes:
        name: row of the tables.
        worker: the engine's process.
        batch: its inner batch size; Farthing chooses its own.
        requests: texts that it sees together, each.
        prompt: what it puts before each text.
        sort: whether texts of a request may be reordered for engines that do not do so themselves.
        single: one text at a time, through the engine's call for one text.
    """

    name: str
    worker: Worker
    requests: list[list[str]]
    batch: int = 32
    prompt: str = ""
    sort: bool = True
    single: bool = False

    def run(self) -> tuple[list[float], Vectors]:
        """Return the seconds of each request and the vectors."""
        return self.worker.run(
            self.requests, self.batch, prompt=self.prompt, sort=self.sort, single=self.single
        )


@dataclass(slots=True)
class Timed:
    """What the rounds of one engine took.

    Attributes:
        rounds: for each round, the seconds of its requests.
        vectors: of the last round.
    """

    rounds: list[list[float]] = field(default_factory=list)
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def totals_s(self) -> list[float]:
        """Seconds of each round."""
        return [sum(seconds) for seconds in self.rounds]

    @property
    def median_s(self) -> float:
        """Median of the rounds' seconds."""
        return statistics.median(self.totals_s)

    @property
    def median_request_s(self) -> float:
        """Median over the rounds of the median request."""
        return statistics.median(statistics.median(seconds) for seconds in self.rounds)


def interleaved(turns: Sequence[Turn], rounds: int, label: str) -> dict[str, Timed]:
    """Run every engine once in each round, the order turned by one from round to round."""
    timed = {turn.name: Timed() for turn in turns}
    for round_ in range(rounds):
        start = round_ % len(turns)
        for turn in [*turns[start:], *turns[:start]]:
            seconds, timed[turn.name].vectors = turn.run()
            timed[turn.name].rounds.append(seconds)
            print(f"{label} round {round_}: {turn.name} {sum(seconds):.3f} s", flush=True)
    return timed


def by_batch(seconds: Callable[[int], float], most: int = BATCHES[-1]) -> dict[int, float]:
    """Return the seconds of the inner batch sizes that were tried, the best first.

    Goes up and down from 8 for as long as a size is not a tenth slower than the best. The best two are timed twice,
    and the lesser counts.

    Args:
        seconds: times a batch size.
        most: texts that there are to batch; larger batches would be the same.
    """
    tried = {8: seconds(8)}
    larger = [batch for batch in BATCHES if 8 < batch <= most]
    smaller = [batch for batch in reversed(BATCHES) if batch < 8]
    for outward in (larger, smaller):
        for batch in outward:
            tried[batch] = seconds(batch)
            if tried[batch] > WORSE * min(tried.values()):
                break
    for batch in sorted(tried, key=lambda batch: tried[batch])[:2]:
        tried[batch] = min(tried[batch], seconds(batch))
    return dict(sorted(tried.items(), key=lambda pair: pair[1]))


def agreement(vectors: Mapping[str, Vectors], reference: str) -> dict[str, dict[str, float]]:
    """Return how far each engine's vectors are from the reference's: least cosine, and the largest deviation.

    The deviation is max‖a−b‖ / median‖b−mean‖, which random weights cannot hide.
    """
    theirs = vectors[reference]
    spread = float(np.median(np.linalg.norm(theirs - theirs.mean(axis=0), axis=1)))
    lengths = np.linalg.norm(theirs, axis=1)
    found = {}
    for name, ours in vectors.items():
        cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * lengths)
        deviation = float(np.linalg.norm(ours - theirs, axis=1).max()) / spread
        found[name] = {"least_cosine": float(cosines.min()), "deviation": deviation}
    return found
