"""How fast the probabilities of a long queue fall, where as many texts are taken at each start.

Knows Poisson arrivals and constant times between starts. Knows no step times.
"""

from __future__ import annotations

import math
from functools import lru_cache

LOWEST_LOG, LOG_STEP, LOG_STEPS = -5.0, 0.04, 200
"""Logarithms of ρ for which the decay of a queue is kept in a table."""


def tail_ratio(full_arrivals: float, cap: int) -> float:
    """Return the factor by which the probability of one text more falls, for long queues.

    Args:
        full_arrivals: mean arrivals during a full step, above 0 and below `cap`.
        cap: texts in a full step.

    Source: above the cap the chain is a random walk with steps Poisson − cap; its probabilities fall like w⁻ⁿ
    with w > 1 and w^cap = exp(arrivals·(w − 1)).
    """
    # f(x) = cap·x − arrivals·(e^x − 1) is concave with zeros at 0 and at ln w: Newton from the right of it.
    x = 1.0
    while cap * x > full_arrivals * math.expm1(x):
        x *= 2
    for _ in range(60):
        step = (cap * x - full_arrivals * math.expm1(x)) / (cap - full_arrivals * math.exp(x))
        x -= step
        if abs(step) < 1e-12 * x:
            break
    return math.exp(-x)


def local_decay(log_rho: float) -> float:
    """Return x ≠ 0 with ρ·(eˣ − 1) = x: how fast the logarithm of the queue's probabilities falls per text.

    It is below 0 where ρ is above 1: there they rise. Read from a table, on lines between its points.

    Args:
        log_rho: ln ρ.

    Source: a walk with steps Poisson − taken, as `tail_ratio`.
    """
    place = (log_rho - LOWEST_LOG) / LOG_STEP
    index = int(place)
    if place < 0 or index >= LOG_STEPS:
        return _solved_decay(math.exp(log_rho))
    table = _decays()
    return table[index] + (place - index) * (table[index + 1] - table[index])


@lru_cache(maxsize=1)
def _decays() -> list[float]:
    return [_solved_decay(math.exp(LOWEST_LOG + LOG_STEP * index)) for index in range(LOG_STEPS + 1)]


def _solved_decay(rho: float) -> float:
    """Return the x of `local_decay`, by Newton's steps on a convex function, from outside both of its roots."""
    if abs(1 - rho) < 1e-4:
        return 2 * (1 - rho)
    x = -2 * math.log(rho) if rho < 1 else -rho
    for _ in range(40):
        grown = rho * math.exp(x)
        step = (grown - rho - x) / (grown - 1)
        x -= step
        if abs(step) < 1e-6 * abs(x):
            break
    return x
