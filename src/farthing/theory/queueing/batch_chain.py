"""How many texts wait when a server of batches starts a step: the embedded Markov chain, solved.

Knows the number of arrivals during a step, and a chain on few enough states to be solved directly: every number
of texts where they are few, and where they are many only some, as far apart as the distribution is smooth. Knows
no waiting times (batch_queue.py).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farthing.theory.queueing.decay import tail_ratio

DENSE = 12
"""Up to this cap every number of texts is a state of its own."""

DENSE_RANGE = 30
"""So it is as long as no more than this wait, whatever the cap."""

DENSE_START = 12
"""Elsewhere so many are: there the Poisson distribution is not smooth yet, and nothing is below one text."""

STRIDE = 1.2
"""Distance of states in standard deviations of the arrivals. The trapezoid rule over a normal density is off by
2·exp(−2π²/stride²), 2e-6, and so over anything that is as smooth."""

SPREAD = 7.0
"""Standard deviations around the mean that states cover at first."""

NEGLIGIBLE = 1e-7
"""The range is wide enough when its last state has less probability than this."""

BEYOND_CAP = 4.0
"""States end so many √cap above the cap: from there on the probabilities fall geometrically, off by e⁻¹⁰ or so."""

FAR = 9.0
"""Standard deviations from its mean beyond which a Poisson probability counts as 0."""


@dataclass(frozen=True, slots=True)
class BatchChain:
    """What waits when a step starts, the texts that it takes included, in the long run.

    Attributes:
        queues: numbers of texts, rising. Where they are far apart each stands for its neighbourhood.
        shares: probability of each.
        steps_s: seconds of the step that each starts.
        widths: texts that each stands for; those of the last repeat beyond it.
        ratio: the last one's share holds all numbers from it on, which fall by this factor per text; 0: it
            stands for itself alone.
    """

    queues: Sequence[float]
    shares: Sequence[float]
    steps_s: Sequence[float]
    widths: Sequence[float]
    ratio: float

    def step_at(self, texts: float) -> float:
        """Return the seconds of a step of any number of texts, between the states along a line."""
        right = bisect_left(self.queues, texts)
        if right >= len(self.queues) or self.queues[right] == texts or right == 0:
            return self.steps_s[min(right, len(self.queues) - 1)]
        low, high = self.queues[right - 1], self.queues[right]
        part = (texts - low) / (high - low)
        return self.steps_s[right - 1] * (1 - part) + self.steps_s[right] * part

    @property
    def mean_of_last(self) -> float:
        """Mean number of texts in what the last state stands for."""
        if not self.ratio:
            return self.queues[-1]
        factor = math.pow(self.ratio, self.widths[-1])
        return self.queues[-1] + self.widths[-1] * factor / (1 - factor)

    def spread_out(self, most: float) -> list[tuple[float, float, float]]:
        """Return (texts, probability, seconds) with the last state's share spread over what it stands for.

        Args:
            most: the first number from there on has the probability of all above.
        """
        states = list(zip(self.queues, self.shares, self.steps_s, strict=True))
        if not self.ratio:
            return states
        start, share, seconds = states.pop()
        width = self.widths[-1]
        factor = math.pow(self.ratio, width)
        while start < most:
            states.append((start, share * (1 - factor), seconds))
            start, share = start + width, share * factor
        return [*states, (start, share, seconds)]


def solved_chain(arrivals_per_s: float, seconds: Callable[[int], float], cap: int) -> BatchChain:
    """Return the long run of a server that takes what waits, up to `cap` texts, at once.

    Args:
        arrivals_per_s: λ, texts per second, above 0 and below cap / seconds(cap).
        seconds: from the number of texts in a step, 1 to `cap`, to its seconds.
        cap: most texts in a step.

    Source: the queue at the next start is max(1, queue − taken + arrivals of the step), Poisson arrivals; the
    chain is solved by state reduction (Grassmann, Taksar & Heyman 1985), which subtracts nothing.
    """
    low, high = _range(arrivals_per_s, seconds, cap)
    while True:
        chain = _on_grid(arrivals_per_s, seconds, cap, low, high)
        short_below = low > 1 and chain.shares[0] > NEGLIGIBLE
        short_above = not chain.ratio and chain.shares[-1] > NEGLIGIBLE
        if not short_below and not short_above:
            return chain
        width = high - low
        low = max(1.0, low - width / 3) if short_below else low
        high = high + width / 2 if short_above else high


def _range(arrivals_per_s: float, seconds: Callable[[int], float], cap: int) -> tuple[float, float]:
    """Return where the queue will be, by the fixed point of its drift and the variance around it."""
    low, high = 1, cap
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if arrivals_per_s * seconds(middle) > middle else (low, middle)
    mean = max(1.0, arrivals_per_s * seconds(high))
    deviation = math.sqrt(mean)
    below, above = max(1.0, mean - 2 * deviation), min(float(cap), mean + 2 * deviation)
    slope = 0.0
    if above > below + 1:
        slope = arrivals_per_s * (seconds(round(above)) - seconds(round(below))) / (above - below)
    deviation /= math.sqrt(1 - min(max(slope, 0.0), 0.99) ** 2)
    return max(1.0, math.floor(mean - SPREAD * deviation)), math.ceil(mean + SPREAD * deviation + 8)


def _grid(low: float, high: float, cap: int) -> tuple[list[float], list[float], bool]:
    """Return the states, how many texts each stands for, and whether the last one stands for all above.

    The strides grow so that their square grows linearly, as the variance of the arrivals does. At both ends of
    the growing part the weight is corrected by Euler and Maclaurin's first term.
    """
    closed = high >= cap
    top = cap + BEYOND_CAP * math.sqrt(cap) + 3
    if cap <= DENSE or high <= min(cap, DENSE_RANGE):
        last = math.ceil(min(high, top)) if not closed else math.ceil(top)
        return [float(n) for n in range(1, last + 1)], [1.0] * last, closed
    nodes = [float(n) for n in range(1, DENSE_START)] if low <= DENSE_START else []
    widths = [1.0] * len(nodes)
    start, stride = (float(DENSE_START), 1.0) if nodes else (low, max(1.0, STRIDE * math.sqrt(low)))
    reach = (cap if closed else high) - start
    growth = STRIDE**2 / 4
    count = max(
        1, math.ceil((math.hypot(stride, 2 * math.sqrt(growth * max(reach, 0))) - stride) / 2 / growth)
    )
    growth = (reach - stride * count) / count**2
    if growth < 0:
        growth, stride = 0.0, reach / count
    nodes += [start + (stride + growth * t) * t for t in range(count + 1)]
    widths += [stride + 2 * growth * t for t in range(count + 1)]
    if len(nodes) > count + 1:
        widths[-count - 1] += growth / 6
    if closed:
        nodes[-1], stride = float(cap), widths[-1]
        widths[-1] -= growth / 6
        more = math.ceil((top - cap) / stride)
        nodes += [cap + stride * k for k in range(1, more + 1)]
        widths += [stride] * more
    return nodes, widths, closed


def _on_grid(
    arrivals_per_s: float, seconds: Callable[[int], float], cap: int, low: float, high: float
) -> BatchChain:
    nodes, widths, closed = _grid(low, high, cap)
    steps_s = _step_times(seconds, nodes, cap)
    logs = [math.lgamma(n + 1) for n in nodes]
    full = arrivals_per_s * steps_s[-1]
    ratio = tail_ratio(full, cap) if closed else 0.0
    rows = []
    for queue, width, step_s in zip(nodes, widths, steps_s, strict=True):
        if queue > cap:
            rows.append(_carried(full, queue - cap, nodes, widths, closed))
            continue
        mean = arrivals_per_s * step_s
        if queue == cap and width > 1:
            # At the cap the drift has a kink. The state there stands for its neighbourhood but for Euler and
            # Maclaurin's first term, which is as if a few texts more arrived.
            slope = arrivals_per_s * (step_s - seconds(cap - 1))
            mean += (width - 1 / width) / 12 * (1 - slope)
        rows.append(_arrived(mean, nodes, widths, logs, closed))
    if closed:
        # The last state is all from there on: where it goes is a mixture over what it holds.
        width = widths[-1]
        factor = ratio**width
        mixed = [0.0] * len(nodes)
        share, carried = 1 - factor, nodes[-1] - cap
        while carried < nodes[-1] and share > 1e-12:
            row = _carried(full, carried, nodes, widths, closed)
            mixed = [m + share * p for m, p in zip(mixed, row, strict=True)]
            carried, share = carried + width, share * factor
        mixed[-1] += max(0.0, 1 - sum(mixed))
        rows[-1] = mixed
    shares = _stationary(rows)
    return BatchChain(nodes, shares, steps_s, widths, ratio)


def _step_times(seconds: Callable[[int], float], nodes: Sequence[float], cap: int) -> list[float]:
    """Return the step time at each state, asked for at the next whole number and led on by the slope there.

    Without the slope the rounding would shift the drift of the queue, and that counts many times over where
    the drift is small.
    """
    numbers = [min(round(n), cap) for n in nodes]
    times = [seconds(n) for n in numbers]
    last = len(nodes) - 1
    led = []
    for i, (node, number, step_s) in enumerate(zip(nodes, numbers, times, strict=True)):
        before, after = max(i - 1, 0), min(i + 1, last)
        run = numbers[after] - numbers[before]
        slope = (times[after] - times[before]) / run if run and number != node and node < cap else 0.0
        led.append(step_s + slope * (node - number))
    return led


def _arrived(
    mean: float, nodes: Sequence[float], widths: Sequence[float], logs: Sequence[float], closed: bool
) -> list[float]:
    """Return the probabilities of the next state when nothing is left over."""
    log_mean = math.log(mean)
    reach = FAR * math.sqrt(mean) + FAR
    exp = math.exp
    row = [
        w * exp(n * log_mean - mean - log) if abs(n - mean) < reach else 0.0
        for n, w, log in zip(nodes, widths, logs, strict=True)
    ]
    if nodes[0] == 1:
        row[0] += exp(-mean)  # nobody came: the next step starts with the one that comes then
    return _complete(row, mean + reach > nodes[-1], closed)


def _carried(
    mean: float, carried: float, nodes: Sequence[float], widths: Sequence[float], closed: bool
) -> list[float]:
    """Return the probabilities of the next state when `carried` texts are left over."""
    log_mean = math.log(mean)
    reach = FAR * math.sqrt(mean) + FAR
    row = [
        w * math.exp((n - carried) * log_mean - mean - math.lgamma(n - carried + 1))
        if n >= carried and abs(n - carried - mean) < reach
        else 0.0
        for n, w in zip(nodes, widths, strict=True)
    ]
    return _complete(row, carried + mean + reach > nodes[-1], closed)


def _complete(row: list[float], near_end: bool, closed: bool) -> list[float]:
    """Return the row with sum 1: what is missing goes to the last state, if that stands for all above."""
    if closed and near_end:
        row[-1] = max(0.0, 1 - sum(row[:-1]))
    total = sum(row)
    return [p / total for p in row]


def _stationary(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the stationary probabilities of a chain from its transition probabilities."""
    left = [list(row) for row in rows]
    inflows: list[list[float]] = []
    for k in range(len(left) - 1, 0, -1):
        leaving = left.pop()[:k]
        scale = 1 / sum(leaving)
        inflow = [row.pop() * scale for row in left]
        inflows.append(inflow)
        for i, flow in enumerate(inflow):
            if flow > 1e-16:
                left[i] = [p + flow * out for p, out in zip(left[i], leaving, strict=True)]
    shares = [1.0]
    for inflow in reversed(inflows):
        shares.append(sum(share * flow for share, flow in zip(shares, inflow, strict=True)))
    total = sum(shares)
    return [share / total for share in shares]
