"""Discrete events: the real policy × the step time = what every text of a given arrival stream waits.

It uses no formula, so that it can judge the closed forms of the theory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import repeat
from operator import add
from typing import Literal

from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.queue import Queue

StepTime = Callable[[Sequence[float]], float]
"""From the sizes of the texts of a step, in order, to the seconds that the step takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How servers share the texts of one queue.

    Attributes:
        servers: number of servers, at least 1.
        max_batch_texts: most texts in a step, at least 1.
        max_batch_size: largest sum of sizes in a step, for example the saturation point in tokens; a single
            text may exceed it alone.
        takes: `all`: a free server takes whatever waits, up to the limits; `share`: at most its share of it,
            ⌈texts that wait / servers of the queue⌉, and leaves the rest to those that are free next.
        free_batch_size: a share is filled up to this sum of sizes, below which a step takes no longer for more.
        ageing_s: seconds of waiting that make up for one class; ∞: a class waits for all texts of those before it.
        filler_step_s: a server without texts works on steps of this many seconds that are always at hand and
            are not interrupted; None: it idles.
    """

    servers: int = 1
    max_batch_texts: int = 1
    max_batch_size: float = math.inf
    takes: Literal["all", "share"] = "all"
    free_batch_size: float = 0.0
    ageing_s: float = math.inf
    filler_step_s: float | None = None

    def __post_init__(self) -> None:
        """Check the policy.

        Raises:
            InputError: a number is out of its range.
        """
        if self.servers < 1 or self.max_batch_texts < 1 or not self.max_batch_size > 0:
            raise InputError(
                f"policy: {self.servers} servers, batches up to {self.max_batch_texts} texts and size "
                f"{self.max_batch_size}: give at least 1 of each"
            )
        if self.filler_step_s is not None and not 0 < self.filler_step_s < math.inf:
            raise InputError(f"policy: filler steps of {self.filler_step_s} s: give seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What came of a simulation.

    Attributes:
        latencies_s: seconds from arrival to the end of its step, by text, in order of arrival.
        classes: priority of each text, or None.
        utilization: share of the servers' time that steps with texts took.
        filler_share: share of the servers' time that filler steps took.
        steps_of: number of texts in a step → number of such steps.
    """

    latencies_s: Sequence[float]
    classes: Sequence[int] | None
    utilization: float
    filler_share: float
    steps_of: Mapping[int, int]

    def latencies_of(self, priority: int | None = None) -> list[float]:
        """Return the latencies in seconds, rising, of one class or of all (None).

        Raises:
            InputError: no text is of that class.
        """
        if priority is None:
            return sorted(self.latencies_s)
        of_class = zip(self.latencies_s, self.classes or repeat(0))  # noqa: B905
        chosen = sorted(t for t, own in of_class if own == priority)
        if not chosen:
            raise InputError(f"class {priority}: no text is of that class")
        return chosen

    def quantile_s(self, quantile: float, priority: int | None = None) -> float:
        """Return a quantile of the latency in seconds, of one class or of all.

        Raises:
            InputError: `quantile` is not in 0 to 1, or no text is of that class.
        """
        if not 0 <= quantile <= 1:
            raise InputError(f"quantile {quantile}: give a number from 0 to 1")
        latencies = self.latencies_of(priority)
        return latencies[max(0, math.ceil(quantile * len(latencies)) - 1)]


def simulate(arrivals: Arrivals, policy: Policy, step_s: StepTime | None = None) -> Simulated:
    """Return what every text of `arrivals` waits under `policy`.

    Args:
        arrivals: the texts.
        policy: servers, batches, filler.
        step_s: seconds of a step from the sizes in it; None: texts run one at a time, and sizes are seconds.

    Raises:
        InputError: steps of several texts without `step_s`.
    """
    if step_s is None and policy.max_batch_texts > 1:
        raise InputError("simulation: batches need the seconds of a step: give step_s")
    in_order = arrivals.classes is None and policy.filler_step_s is None and not policy.free_batch_size
    return (_in_order if in_order else _general)(arrivals, policy, step_s)


def _simulated(
    arrivals: Arrivals,
    policy: Policy,
    latencies: Sequence[float],
    busy_s: float,
    filler_s: float,
    steps_of: Mapping[int, int],
) -> Simulated:
    end = max(map(add, arrivals.times_s, latencies))
    server_seconds = policy.servers * (end - arrivals.times_s[0])
    return Simulated(
        latencies_s=latencies,
        classes=arrivals.classes,
        utilization=busy_s / server_seconds,
        filler_share=filler_s / server_seconds,
        steps_of=steps_of,
    )


def _in_order(arrivals: Arrivals, policy: Policy, step_s: StepTime | None) -> Simulated:
    """One class, no filler: what waits is a stretch of the arrivals, so is each step; the result is `_general`'s."""
    times, sizes = arrivals.times_s, arrivals.sizes
    lanes = policy.servers if policy.takes == "share" else 1
    size, most = policy.max_batch_size, policy.max_batch_texts
    latencies: list[float] = []
    steps_of: Counter[int] = Counter()
    free = [times[0]] * policy.servers
    texts, arrived, served, busy_s = len(times), 0, 0, 0.0
    while served < texts:
        now = max(free[0], times[served])
        while arrived < texts and times[arrived] <= now:
            arrived += 1
        end = min(served + most, served - (served - arrived) // lanes)
        filled, last = sizes[served], served + 1
        while last < end and (filled := filled + sizes[last]) <= size:
            last += 1
        seconds = sizes[served] if step_s is None else step_s(sizes[served:last])
        done = now + seconds
        heapreplace(free, done)
        busy_s += seconds
        steps_of[last - served] += 1
        if last - served == 1:
            latencies.append(done - times[served])
        else:
            latencies += [done - time for time in times[served:last]]
        served = last
    return _simulated(arrivals, policy, latencies, busy_s, 0.0, steps_of)


def _general(arrivals: Arrivals, policy: Policy, step_s: StepTime | None) -> Simulated:
    """Any policy: the server that is free first takes the next step, else it fills its time or waits for a text."""
    times, sizes, classes = arrivals.times_s, arrivals.sizes, arrivals.classes
    texts = len(times)
    queue = Queue[int](sizes.__getitem__, times.__getitem__, ageing_s=policy.ageing_s)
    lanes = policy.servers if policy.takes == "share" else 1
    size, most, free_size = policy.max_batch_size, policy.max_batch_texts, policy.free_batch_size
    latencies = [0.0] * texts
    steps_of: Counter[int] = Counter()
    busy_s = filler_s = 0.0
    free = [times[0]] * policy.servers
    arrived = served = 0
    while served < texts:
        now, known = free[0], arrived
        while arrived < texts and times[arrived] <= now:
            if classes is not None:
                queue.add((arrived,), classes[arrived])
            arrived += 1
        if classes is None and arrived > known:
            queue.add(range(known, arrived))
        if arrived == served:
            if policy.filler_step_s is None:
                # Nothing waits: the server starts again with the next text. Others that became free
                # meanwhile are behind it in the heap and find the same.
                heapreplace(free, times[arrived])
            else:
                gap = max(1, math.ceil((times[arrived] - now) / policy.filler_step_s)) * policy.filler_step_s
                filler_s += gap
                heapreplace(free, now + gap)
            continue
        rows = queue.take(size, lanes, step_texts=most, free_tokens=free_size)
        seconds = sizes[rows[0]] if step_s is None else step_s([sizes[row] for row in rows])
        end = now + seconds
        heapreplace(free, end)
        busy_s += seconds
        steps_of[len(rows)] += 1
        served += len(rows)
        for row in rows:
            latencies[row] = end - times[row]
    return _simulated(arrivals, policy, latencies, busy_s, filler_s, steps_of)
