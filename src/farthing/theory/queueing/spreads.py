"""Latencies of texts that come during a step, and the Poisson numbers of those who come with them.

Knows intervals over which latencies are uniform, and places in a step. Knows no chain (batch_queue.py).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import accumulate

EXACT_MEAN = 6.0
"""Poisson numbers of up to this mean are taken one by one, larger ones some way apart."""


class Crowd:
    """States with steps of about the same length, after which not all who wait may fit in the next one.

    Attributes:
        step_s: mean seconds of the steps.
        share: probability of all.
        carried: (texts that are left over when the step starts, probability).
    """

    def __init__(self) -> None:
        """Start empty."""
        self.step_s = self.share = 0.0
        self.carried: list[tuple[float, float]] = []

    def add(self, step_s: float, carried: float, share: float) -> None:
        """Add a state."""
        self.share += share
        self.step_s += (step_s - self.step_s) * share / self.share if self.share else 0.0
        if self.carried and self.carried[-1][0] == carried:
            share += self.carried.pop()[1]
        self.carried.append((carried, share))


class Spread:
    """Latencies that are uniform over intervals of one width."""

    def __init__(self, width_s: float, lows: list[tuple[float, float]]) -> None:
        """Take (start of an interval in seconds, texts in it); an infinite start is later than all asked for."""
        lows.sort()
        self._width_s = width_s
        self._lows = [low for low, _ in lows]
        self._below = [0.0, *accumulate(weight for _, weight in lows)]
        self._moments = [0.0, *accumulate(low * weight for low, weight in lows if low < math.inf)]

    @property
    def total(self) -> float:
        """All texts."""
        return self._below[-1]

    def above(self, t_s: float) -> float:
        """Return how many texts take longer than `t_s`."""
        after = bisect_left(self._lows, t_s) if self._width_s else bisect_right(self._lows, t_s)
        whole = self._below[-1] - self._below[after]
        first = bisect_right(self._lows, t_s - self._width_s, 0, after)
        if first == after or not self._width_s:
            return whole
        weight = self._below[after] - self._below[first]
        moment = self._moments[after] - self._moments[first]
        return whole + (moment - (t_s - self._width_s) * weight) / self._width_s


def joined(places: dict[int, float], later: list[tuple[int, float]], cap: int) -> list[tuple[int, float]]:
    """Return (texts in the step, texts that it is the step of): the place of a text and those who come after it."""
    own = [0.0] * (cap + 1)
    for place, weight in places.items():
        free = cap - place
        rest = weight
        for n, p in later:
            if n >= free:
                break
            part = weight * p
            own[place + n] += part
            rest -= part
        own[cap] += rest
    return [(texts, weight) for texts, weight in enumerate(own) if weight > 0]


def poisson_above(mean: float, number: int) -> float:
    """Return an upper bound of the probability of more than `number`, above the mean (Chernoff's)."""
    if number <= mean:
        return 1.0
    return math.exp(number - mean - number * math.log(number / mean))


def poisson_numbers(mean: float) -> list[tuple[int, float]]:
    """Return numbers with their Poisson probabilities; of a large mean only some, which stand for those between."""
    deviation = math.sqrt(mean)
    stride = 1 if mean <= EXACT_MEAN else max(1, round(deviation))
    low = max(0, math.floor(mean - 3.5 * deviation))
    log_mean = math.log(mean)
    numbers = range(low, math.ceil(mean + 4 * deviation) + 2, stride)
    if stride == 1:
        weights = list(accumulate(numbers[1:], lambda p, n: p * mean / n, initial=1.0))
    else:
        weights = [math.exp(n * log_mean - mean - math.lgamma(n + 1)) for n in numbers]
    total = sum(weights)
    return [(n, weight / total) for n, weight in zip(numbers, weights, strict=True)]
