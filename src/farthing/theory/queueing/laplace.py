"""From a Laplace transform back to the function, numerically.

Knows transforms as functions of a complex number. Knows nothing of what they describe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

EULER_DAMPING = 18.4
"""Abate–Whitt's A: the discretisation error is about exp(−A) = 1e-8 for a function within 0 and 1."""

EULER_AVERAGED = 11
"""Partial sums that Euler summation averages."""

EULER_TERMS = 24
"""Terms before the averaged ones; enough where the function is smooth near the point."""


@cache
def euler_weights(terms: int = EULER_TERMS) -> tuple[float, ...]:
    """Return the weight of each term of the alternating series, its sign and Euler's average included.

    Args:
        terms: terms before the averaged ones, at least 1.

    Source: Abate & Whitt 1995, "Numerical inversion of Laplace transforms of probability distributions",
    algorithm EULER.
    """
    weights = [0.5] + [1.0] * terms
    total = 2.0**EULER_AVERAGED
    for j in range(1, EULER_AVERAGED + 1):
        weights.append(sum(math.comb(EULER_AVERAGED, i) for i in range(j, EULER_AVERAGED + 1)) / total)
    return tuple(-w if k % 2 else w for k, w in enumerate(weights))


def inverted(transform: Callable[[complex], complex], t: float) -> float:
    """Return at `t` the function that has the given Laplace transform.

    Args:
        transform: ∫ exp(−s·t)·f(t) dt for complex s with a real part above 0.
        t: above 0.

    Source: as `euler_weights`.
    """
    s, step = complex(EULER_DAMPING / (2 * t)), complex(0, math.pi / t)
    terms = [weight * transform(s + k * step).real for k, weight in enumerate(euler_weights())]
    return math.exp(EULER_DAMPING / 2) / t * math.fsum(terms)
