"""How long texts take at a server of batches: mean and quantiles, from the embedded Markov chain.

Knows Poisson arrivals, one server that takes what waits up to a cap and never waits to fill up, first come first
served, and step times by the number of texts. Knows no lengths of texts and no second server.

A text that comes to an idle server takes a step of its own. Any other comes during a step, at a time that is
uniform within it, and waits for what is left of the step, v; then for j full steps, if so many texts are before
it; then its own step runs, with it, those before it in the step, and those who came in the meantime.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from farthing.errors import InputError
from farthing.theory.queueing.batch_chain import BEYOND_CAP, FAR, BatchChain, solved_chain
from farthing.theory.queueing.quantiles import tail_quantile
from farthing.theory.queueing.service_times import constant
from farthing.theory.queueing.single_server import mean_wait_s, time_in_system_quantile_s
from farthing.theory.queueing.spreads import Crowd, Spread, joined, poisson_above, poisson_numbers

PANELS = 3
"""Parts of a step for which a text's place in the queue is computed apart, where the cap matters."""

IGNORED = 1e-6
"""States, and overflows of the next step, less likely than this do not count for quantiles."""

LIKE_STEPS = 1.25
"""Steps that differ by less than this factor are computed together where the cap matters."""

FULL = 1 - 1e-9
"""Utilization from which a server counts as full: rounding alone decides there whether the queue settles."""


class BatchQueue:
    """A server of batches under a Poisson stream of texts, in the long run.

    The chain is solved once and asked for as many figures as wanted.
    """

    def __init__(self, arrivals_per_s: float, step_s: Callable[[int], float], largest_batch: int) -> None:
        """Take the figures; nothing is computed yet.

        Args:
            arrivals_per_s: λ, texts per second, at least 0.
            step_s: from the number of texts in a step, 1 to `largest_batch`, to its seconds, above 0.
            largest_batch: most texts in a step, at least 1.

        Raises:
            InputError: an argument is out of its range.
        """
        if not 0 <= arrivals_per_s < math.inf:
            raise InputError(f"arrivals per second: {arrivals_per_s}: give a number of at least 0")
        if largest_batch < 1:
            raise InputError(f"largest batch of {largest_batch} texts: give at least 1")
        self._arrivals_per_s = arrivals_per_s
        self._step_s = step_s
        self._cap = largest_batch
        self._known: dict[int, float] = {}
        self._full_s = self._seconds(largest_batch)
        self._solved: BatchChain | None = None
        self._spreads: list[Spread] | None = None

    @property
    def utilization(self) -> float:
        """Work offered over the work that full steps can do: λ·D(cap)/cap."""
        return self._arrivals_per_s * self._full_s / self._cap

    def mean_s(self) -> float:
        """Return the mean seconds from arrival to the end of the step; infinite if the utilization is 1 or more.

        Source: Little's law, as those who come after a text during its wait are λ times the wait on average
        (Keilson & Servi 1988): they are who stays behind when its step starts, or is behind it in the step.
        """
        if not 0 < self.utilization < FULL:
            return self._seconds(1) if self.utilization == 0 else math.inf
        if self._cap == 1:
            return mean_wait_s(self._arrivals_per_s, constant(self._full_s)) + self._full_s
        chain = self._chain()
        taken = behind = in_step = 0.0
        for state, share, step_s in zip(chain.queues, chain.shares, chain.steps_s, strict=True):
            batch = min(state, self._cap)
            queue = state if state < chain.queues[-1] else chain.mean_of_last
            taken += share * batch
            behind += share * batch * (queue - batch + (batch - 1) / 2)
            in_step += share * batch * step_s
        return (behind / self._arrivals_per_s + in_step) / taken

    def quantile_s(self, quantile: float = 0.99) -> float:
        """Return a quantile of the seconds from arrival to the end of the step; infinite if it never settles.

        Args:
            quantile: a probability of at least 0 and below 1.

        Raises:
            InputError: the quantile is out of its range.
        """
        if not 0 <= quantile < 1:
            raise InputError(f"quantile {quantile}: give a number of at least 0 and below 1")
        if not 0 < self.utilization < FULL:
            return self._seconds(1) if self.utilization == 0 else math.inf
        if self._cap == 1:
            return time_in_system_quantile_s(self._arrivals_per_s, constant(self._full_s), quantile)
        rest = 1 - quantile
        last_s = self._full_steps() * self._full_s
        at_last = self.tail(last_s)
        if at_last > rest:
            decay_per_s = -self._cap * math.log(self._chain().ratio) / self._full_s
            return last_s + math.log(at_last / rest) / decay_per_s
        shortest_s = min(self._chain().steps_s)
        return tail_quantile(self.tail, rest, shortest_s, shortest_s)

    def tail(self, t_s: float) -> float:
        """Return the probability that a text takes longer than `t_s`, for times that are not in the far tail.

        Beyond the full steps that were followed, the probability stays what it was there.

        Args:
            t_s: seconds from arrival to the end of the step, at least 0.
        """
        if self._spreads is None:
            self._spreads = self._all_spreads()
        return math.fsum(spread.above(t_s) for spread in self._spreads) / math.fsum(
            spread.total for spread in self._spreads
        )

    def _seconds(self, number: int) -> float:
        """Return the seconds of a step, asked once for each number of texts: step times may be costly."""
        if number not in self._known:
            seconds = self._step_s(number)
            if not 0 < seconds < math.inf:
                raise InputError(f"a step of {number} texts takes {seconds} s: give step times above 0")
            self._known[number] = seconds
        return self._known[number]

    def _chain(self) -> BatchChain:
        if self._solved is None:
            self._solved = solved_chain(self._arrivals_per_s, self._seconds, self._cap)
        return self._solved

    def _full_steps(self) -> int:
        """Return how many full steps of wait are followed; from there on the tail is exponential."""
        return 1 + math.ceil((BEYOND_CAP * math.sqrt(self._cap) + 3) / self._cap)

    def _all_spreads(self) -> list[Spread]:
        """Return the latencies of the texts that come per step, idle time before it included."""
        chain, rate, cap = self._chain(), self._arrivals_per_s, self._cap
        logs = [math.lgamma(queue) for queue in chain.queues]
        spreads = []
        alone = 0.0
        crowded = Crowd()
        full = Crowd()
        for queue, share, step_s in chain.spread_out(cap * (self._full_steps() + 1)):
            mean = rate * step_s
            if queue <= cap:
                alone += share * math.exp(-mean)
            if queue >= cap:
                full.add(step_s, queue - cap, share)
            elif share * poisson_above(mean, cap) > IGNORED:
                if crowded.share and step_s > LIKE_STEPS * crowded.step_s:
                    spreads.append(self._placed(crowded, chain))
                    crowded = Crowd()
                crowded.add(step_s, 0.0, share)
            elif share > IGNORED:
                spreads.append(self._together(step_s, share, chain, logs))
        spreads += [self._placed(crowd, chain) for crowd in (crowded, full) if crowd.share > IGNORED]
        spreads.append(Spread(0.0, [(self._seconds(1), alone)]))
        return spreads

    def _together(self, step_s: float, share: float, chain: BatchChain, logs: list[float]) -> Spread:
        """Return the latencies of those who come during a step and are all in the next one.

        Then the others who come during it are Poisson whenever in it the text itself comes, so the next step is
        independent of what is left of this one.
        """
        mean = self._arrivals_per_s * step_s
        log_mean, reach = math.log(mean), FAR * math.sqrt(mean) + FAR
        return Spread(
            step_s,
            [
                (next_s, share * mean * width * math.exp((queue - 1) * log_mean - mean - log))
                for queue, width, next_s, log in zip(
                    chain.queues, chain.widths, chain.steps_s, logs, strict=True
                )
                if abs(queue - 1 - mean) < reach
            ],
        )

    def _placed(self, crowd: Crowd, chain: BatchChain) -> Spread:
        """Return the latencies of those who come during steps after which not all may fit in the next one."""
        cap, step_s, rate = self._cap, crowd.step_s, self._arrivals_per_s
        panel_s = step_s / PANELS
        spacing = max(1.0, chain.widths[-1] / 2)
        followed = self._full_steps()
        lows: list[tuple[float, float]] = []
        for panel in range(PANELS):
            left_s = (panel + 0.5) * panel_s
            # Texts by how many full steps they wait, and within the step after them by their place in it.
            places: list[dict[int, float]] = [{} for _ in range(followed)]
            late = 0.0
            for n, p in poisson_numbers(rate * (step_s - left_s)):
                for carried, share in crowd.carried:
                    place = (carried + n) / spacing
                    below = math.floor(place)
                    weight = share * p * rate * panel_s
                    for index, part in ((below, below + 1 - place), (below + 1, place - below)):
                        if part:
                            before = index * spacing
                            full_steps = int(before / cap + 1e-9)
                            if full_steps < followed:
                                row, key = places[full_steps], round(before - full_steps * cap + 1)
                                row[key] = row.get(key, 0.0) + weight * part
                            else:
                                late += weight * part
            lows.append((math.inf, late))
            for full_steps, row in enumerate(places):
                if row:
                    start_s = panel * panel_s + full_steps * self._full_s
                    lows += [
                        (start_s + chain.step_at(texts), weight)
                        for texts, weight in joined(
                            row, poisson_numbers(rate * (left_s + full_steps * self._full_s)), cap
                        )
                    ]
        return Spread(panel_s, lows)
