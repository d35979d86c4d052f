"""Finding where a falling tail reaches a probability, in few evaluations.

Knows functions of one variable. Knows nothing of what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from farthing.errors import InputError

PRECISION = 1e-5
"""Relative width of the bracket at which a search ends: where the tail is steep."""

CLOSE = 1e-6
"""Relative distance of the tail from the probability at which a search ends."""

LEAST_PROBABILITY = 1e-6
"""Tails are numerical inversions: good to about 1e-9, so that a smaller probability would find their noise."""

SMALLEST_TAIL = 1e-300
"""Stands for a tail of 0, so that it has a logarithm."""


def tail_quantile(
    tail: Callable[[float], float],
    probability: float,
    low: float,
    step: float,
    jumps: Sequence[tuple[float, float]] = (),
) -> float:
    """Return the least t ≥ `low` with `tail(t)` ≤ `probability`.

    Args:
        tail: P(T > t), falling, and below `probability` somewhere.
        probability: what the tail shall not exceed, at least `LEAST_PROBABILITY`.
        low: where to begin, at least 0.
        step: a first guess of how far above `low` the answer is, above 0.
        jumps: where the tail falls at once, rising, and by how much: the jumps are looked at first, so that
            the search between them meets none.

    Returns:
        t, off by at most `PRECISION` · t, or with a tail that is off by `CLOSE` of the probability.

    Raises:
        InputError: the probability is too small.

    Source: regula falsi on the logarithm of the tail, which is nearly straight, with the Illinois rule (Dowell
    & Jarratt 1971), and bisection after two steps that did not halve the bracket.
    """
    if not probability >= LEAST_PROBABILITY:
        raise InputError(
            f"quantile {1 - probability:.12g}: give at most {1 - LEAST_PROBABILITY}: more is not computed"
        )
    target = math.log(probability)

    def excess(value: float) -> float:
        return math.log(max(value, SMALLEST_TAIL)) - target

    at_low = excess(tail(low))
    if at_low <= CLOSE:
        return low
    high = low + step
    while (at_high := excess(tail(high))) > 0:
        slope = (at_low - at_high) / (high - low)
        low, at_low = high, at_high
        step *= 2
        guess = 1.02 * at_high / slope if slope > 0 else step
        high = low + min(max(guess, step / 16), 4 * step)
    within = [jump for jump in jumps if low < jump[0] <= high]
    while within:
        middle = len(within) // 2
        t, size = within[middle]
        after = tail(t)
        if excess(after) > 0:
            low, at_low, within = t, excess(after), within[middle + 1 :]
            continue
        if excess(after + size) > CLOSE:
            return t
        high, at_high, within = t, excess(after + size), within[:middle]
    return _smooth_root(lambda t: excess(tail(t)), low, at_low, high, at_high)


def _smooth_root(
    excess: Callable[[float], float], low: float, at_low: float, high: float, at_high: float
) -> float:
    """Return where `excess`, above 0 at `low` and not at `high`, falls to 0."""
    if at_high >= -CLOSE:
        return high
    slow, kept = 0, ""
    while high - low > PRECISION * high:
        width = high - low
        if slow >= 2:
            middle, slow = (low + high) / 2, 0
        else:
            middle = low + width * at_low / (at_low - at_high)
        at_middle = excess(middle)
        if abs(at_middle) <= CLOSE:
            return middle
        if at_middle > 0:
            low, at_low = middle, at_middle
            at_high /= 2 if kept == "high" else 1
            kept = "high"
        else:
            high, at_high = middle, at_middle
            at_low /= 2 if kept == "low" else 1
            kept = "low"
        slow = slow + 1 if high - low > width / 2 else 0
    return high
