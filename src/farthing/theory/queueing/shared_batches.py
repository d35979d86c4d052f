"""Several servers of batches on one queue: about how long texts take, mean and quantiles of no closed form.

Knows Poisson arrivals, and servers that never wait to fill up: a free one takes its share of what waits,
⌈texts that wait / servers⌉, up to a cap, first come first served. Knows no lengths of texts but the seconds that
they take, and no prices.

The approximation: a text waits with the probability that all servers are busy, as if step times were exponential
(a birth–death chain whose rate grows with what waits, for the steps grow with it). How many then wait is told by
the local decay of a queue of constant steps. A text that waits does so until the first of the steps in progress
ends, as if each had an independent residual time, and while those before it are taken, as a fluid is. Steps of the
same length stay in the pattern in which they began, so the starts are spread by the part of a step that does not
depend on its texts. (There one queue is no better than random routing: a share leaves texts behind that would have
cost nothing.)

Against simulation over 900 cells (2 to 16 servers, loads of .2 to .93 of what full steps can do, caps of 2 to 32,
steps that grow with their texts and steps that first do not, CV² of the texts 0, .1 and 1.2; docs/log.md) the 99th
percentile is −17 to +13 % off in nine cells of ten, −12 to +13 % at loads below .9, and 0 % in the median. Texts of
very different lengths leave room in a step that counts as full. Where there is little to spare, it is far too low:
half, at a load of .85 of steps that six texts fill and that take five for nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from farthing.errors import InputError
from farthing.theory.queueing.decay import local_decay
from farthing.theory.queueing.exponential_service import loss_reciprocal
from farthing.theory.queueing.service_times import ServiceTimes

FULL = 0.9999
"""Utilization from which on the queue counts as growing without end."""

GONE = 10.0
"""States whose probability is e to the minus this of the largest are left out, and all beyond."""

SELDOM = 1e-5
"""And so are states as seldom as this."""

GRAIN = 3.0
"""States are one text apart while few wait, and √texts / this where many do."""

COARSE = 100
"""States are at most one in so many parts of their texts apart."""

LARGEST_EXPONENT = 600.0
"""All servers are then as good as always busy."""

AROUND = 1.3
"""The slope of the step time is taken between so many times fewer texts and so many times more."""

WORTH = 0.1
"""Starts are not spread by less than this share of a step."""

POINTS = 3
"""Points that stand for the residual time of the first step to end, and for the spread of the starts."""

PRECISION = 1e-4
"""Relative width of the bracket at which the search for a quantile ends."""

_SIZES_PER_DOUBLING = 4
"""Step times are asked for at so many numbers of texts between one and its double, and lie on lines between."""


@dataclass(frozen=True, slots=True)
class _Tail:
    """Weighted values, rising, with the weight above each: P(value > t) without its normalisation."""

    values: Sequence[float]
    above: Sequence[float]

    def at(self, t_s: float) -> float:
        """Return the weight of the values above `t_s`."""
        return self.above[bisect_right(self.values, t_s)]


class SharedBatches:
    """Servers of batches on one queue, for any rate of arrivals and any number of servers."""

    def __init__(
        self,
        step_s: Callable[[int], float],
        largest_batch: int,
        alone: ServiceTimes,
        in_full_steps: ServiceTimes,
    ) -> None:
        """Take what does not depend on the arrivals.

        Args:
            step_s: from the number of texts in a step, 1 to `largest_batch`, to its mean seconds.
            largest_batch: most texts in a step, at least 1.
            alone: seconds of a step of one text.
            in_full_steps: seconds that a text takes up in steps of the largest batch.

        Raises:
            InputError: the largest batch is below 1, or a step takes no time.
        """
        if largest_batch < 1:
            raise InputError(f"largest batch of {largest_batch} texts: give at least 1")
        # Texts of different lengths do not fill a step: on average the one that did not fit any more would have
        # gone half in.
        lost = 0.5 if in_full_steps.cv2 > 0 else 0.0
        self._full = max(1.0, largest_batch - lost)
        self._alone, self._in_full_steps = alone, in_full_steps
        self._numbers = _numbers(largest_batch)
        self._steps_s = [step_s(number) for number in self._numbers]
        self._known: dict[tuple[float, int], tuple[float, _Tail, _Tail]] = {}
        if not min(self._steps_s) > 0:
            raise InputError(f"a step takes {min(self._steps_s)} s: give step times above 0")

    def utilization(self, arrivals_per_s: float, servers: int) -> float:
        """Return the work offered over the work that full steps can do."""
        return arrivals_per_s * self._step_s(self._full) / (servers * self._full)

    def quantile_s(self, arrivals_per_s: float, servers: int, quantile: float = 0.99) -> float:
        """Return a quantile of the seconds from arrival to the end of the step; infinite if they cannot keep up.

        Args:
            arrivals_per_s: texts per second for all servers together, above 0.
            servers: number of servers, at least 2; of one, `batch_queue` knows the latencies exactly.
            quantile: a probability of at least 0 and below 1; above .999 what is left out begins to count.

        Raises:
            InputError: an argument is out of its range.
        """
        if servers < 2 or not arrivals_per_s > 0 or not 0 <= quantile < 1:
            raise InputError(
                f"{servers} servers, {arrivals_per_s} texts per second, quantile {quantile}: give at least two "
                "servers, a rate above 0, and a quantile of at least 0 and below 1"
            )
        if self.utilization(arrivals_per_s, servers) >= FULL:
            return math.inf
        key = arrivals_per_s, servers
        if key not in self._known:
            busy, waiting = self._waiting(arrivals_per_s, servers)
            self._known[key] = busy, *self._waits(arrivals_per_s, servers, waiting)
        busy, single, batched = self._known[key]
        mean_s = self._in_full_steps.mean_s
        lone = list(zip(self._alone.seconds, self._alone.probabilities, strict=True))
        full = [
            (seconds - mean_s, share)
            for seconds, share in zip(
                self._in_full_steps.seconds, self._in_full_steps.probabilities, strict=True
            )
        ]

        def tail(t_s: float) -> float:
            at_once = sum([share for seconds, share in lone if seconds > t_s])
            waited = sum([share * single.at(t_s - seconds) for seconds, share in lone])
            waited += sum([share * batched.at(t_s - more) for more, share in full])
            return (1 - busy) * at_once + busy * waited

        low = self._alone.quantile_s(quantile)
        if tail(low) <= 1 - quantile:
            return low
        high = 2 * low
        while tail(high) > 1 - quantile:
            low, high = high, 2 * high
        while high - low > PRECISION * high:
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle) > 1 - quantile else (low, middle)
        return high

    def _step_s(self, texts: float) -> float:
        """Return the seconds of a step of any number of texts, at least one and at most the cap."""
        right = bisect_right(self._numbers, texts)
        if right >= len(self._numbers):
            return self._steps_s[-1]
        if right == 0:
            return self._steps_s[0]
        left = right - 1
        part = (texts - self._numbers[left]) / (self._numbers[right] - self._numbers[left])
        return self._steps_s[left] + part * (self._steps_s[right] - self._steps_s[left])

    def _taken(self, waiting: float, servers: int) -> float:
        """Return how many of those who wait a free server takes, rounded up on average."""
        return min(self._full, max(1.0, (waiting + (servers - 1) / 2) / servers))

    def _found_taken(self, found: float, servers: int) -> float:
        """Return how many the next step takes, from how many wait halfway between two starts."""
        return min(self._full, max(1.0, (found + (servers - 1) / 2) / (servers - 0.5)))

    def _waiting(self, arrivals_per_s: float, servers: int) -> tuple[float, list[tuple[float, float]]]:
        """Return P(all servers are busy), and given that the (texts that wait, probability)."""
        variety = 1 + self._in_full_steps.cv2
        states = [(0.0, 1.0, 0.0)]  # texts that wait, how many numbers the state stands for, logarithm
        log = log_exponential = peak = 0.0
        crowd = 1.0  # of all states with all servers busy, relative to the first, at exponential step times
        found = 0.0
        while True:
            stride = max(1, int(math.sqrt(found) / GRAIN), int(found / COARSE))
            taken = self._found_taken(found + (stride + 1) / 2, servers)
            log_rho = math.log(arrivals_per_s * self._step_s(taken) / (servers * taken))
            # A start takes all of its share at once: what waits varies less than if texts left one by one.
            at_once = 1 - (1 - 1 / taken) / (2 * servers)
            log -= stride * local_decay(log_rho) / (variety * at_once)
            log_exponential += stride * log_rho
            found += stride
            crowd += stride * math.exp(min(log_exponential, LARGEST_EXPONENT))
            states.append((found, stride, log))
            peak = max(peak, log)
            if log < peak - GONE and log_rho < 0:
                break
        weights = [(number, stride * math.exp(log - peak)) for number, stride, log in states]
        total = sum([weight for _, weight in weights])
        some_idle = loss_reciprocal(servers, arrivals_per_s * self._alone.mean_s) - 1
        return crowd / (some_idle + crowd), [(number, weight / total) for number, weight in weights]

    def _waits(
        self, arrivals_per_s: float, servers: int, waiting: Sequence[tuple[float, float]]
    ) -> tuple[_Tail, _Tail]:
        """Return the waits of texts whose step is theirs alone, and waits and steps of the others."""
        single: list[tuple[float, float]] = []
        batched: list[tuple[float, float]] = []
        residuals = [1 - (1 - (point + 0.5) / POINTS) ** (1 / servers) for point in range(POINTS)]
        offsets = [(point + 0.5) / POINTS - 0.5 for point in range(POINTS)]
        for found, share in waiting:
            if share < SELDOM:
                continue
            drained_s, total = self._drained(arrivals_per_s, servers, found)
            taken = self._found_taken(found, servers)
            step_s = self._step_s(taken)
            spread_s = min(self._unmoved_s(taken, step_s), 2 * drained_s)
            spreads_s = [offset * spread_s for offset in offsets] if spread_s > WORTH * step_s else [0.0]
            weight = share / POINTS / len(spreads_s)
            for residual in residuals:
                residual_s = residual * step_s
                own = self._taken(total + arrivals_per_s * residual_s, servers)
                own_s = self._step_s(own)
                lone = max(0.0, 2 - own)
                start_s = residual_s + drained_s
                waits_s = [max(0.0, start_s + more_s) for more_s in spreads_s]
                if lone:
                    single += [(wait_s, weight * lone) for wait_s in waits_s]
                if lone < 1:
                    batched += [(wait_s + own_s, weight * (1 - lone)) for wait_s in waits_s]
        return _tail(single), _tail(batched)

    def _unmoved_s(self, taken: float, step_s: float) -> float:
        """Return the seconds of a step that do not depend on its texts, as the slope there tells."""
        low, high = max(1.0, taken / AROUND), min(self._full, taken * AROUND)
        if high <= low:
            return 0.0
        return max(0.0, step_s - taken * (self._step_s(high) - self._step_s(low)) / (high - low))

    def _drained(self, arrivals_per_s: float, servers: int, found: float) -> tuple[float, float]:
        """Return the seconds in which those found waiting are taken, from the first start on, and who waits then."""
        total = found + 1
        before = max(0.0, found - (self._found_taken(found, servers) - 1) / 2)
        seconds = 0.0
        while before > 1e-9:
            taken = self._taken(total, servers)
            step_s = self._step_s(taken)
            rate = servers * taken / step_s
            passed_s = min(before / rate, step_s / 2)
            before -= rate * passed_s
            total += (arrivals_per_s - rate) * passed_s
            seconds += passed_s
        return seconds, total


def _numbers(cap: int) -> list[int]:
    """Return numbers of texts from 1 to `cap`, about `_SIZES_PER_DOUBLING` between one and its double."""
    factor = 2 ** (1 / _SIZES_PER_DOUBLING)
    numbers = [1]
    while numbers[-1] < cap:
        numbers.append(min(cap, max(numbers[-1] + 1, round(numbers[-1] * factor))))
    return numbers


def _tail(weighted: list[tuple[float, float]]) -> _Tail:
    """Return the tail of (value, weight)."""
    weighted.sort()
    above = [0.0, *accumulate(weight for _, weight in reversed(weighted))]
    above.reverse()
    return _Tail([value for value, _ in weighted], above)
