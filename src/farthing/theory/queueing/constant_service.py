"""Several servers on one shared queue when every service takes equally long: M/D/c, exactly.

Knows the distribution of the wait. Knows no service times that vary (replicas.py).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

from farthing.errors import InputError
from farthing.theory.queueing.laplace import inverted
from farthing.theory.queueing.service_times import constant
from farthing.theory.queueing.single_server import NEARLY_FULL, tail_decay_per_s, wait_tail

MOST_SERVERS = 500
"""The time of an inversion grows with the servers: it is about 2 ms per wait at this many."""

CONVERGED = 1e-13
"""Newton's step at which a root of modulus below 1 is found."""

MOST_STEPS = 100
"""Newton's steps at most; there are about six."""

SHORTEST_SHARE = 1e-3
"""Waits shorter than this share of the service time count as this long: the transform would overflow."""


def constant_wait_tail(arrivals_per_s: float, service_s: float, servers: int) -> Callable[[float], float]:
    """Return the function t → P(wait > t), with t in seconds; always 1 if ρ ≥ 1.

    The servers take the texts in turn, so each sees every c-th arrival: the wait is that of one server with
    Erlang-c arrivals, whose transform has c−1 zeros in the right half plane to be divided out. They are the
    c−1 roots z = 1 − s/λ inside the unit circle of z^c = exp(−cρ(1−z)).

    Args:
        arrivals_per_s: texts per second for all servers together, at least 0.
        service_s: seconds of every service, above 0.
        servers: number of servers, 1 to `MOST_SERVERS`.

    Raises:
        InputError: an argument is out of its range.

    Source: Crommelin 1932 and Kleinrock 1975, section 8.2 (G/G/1 by spectral factors); inverted as in
    Abate & Whitt 1995. The same numbers as Franx 2001 gives to at least 1e-5.
    """
    if not 1 <= servers <= MOST_SERVERS:
        raise InputError(f"{servers} servers: give 1 to {MOST_SERVERS}")
    service = constant(service_s)
    if not 0 <= arrivals_per_s < math.inf:
        raise InputError(f"arrivals per second: {arrivals_per_s}: give a number of at least 0")
    rho = arrivals_per_s * service_s / servers
    if servers == 1:
        return lambda t_s: wait_tail(arrivals_per_s, service, t_s)
    if rho >= 1:
        return lambda t_s: 1.0
    if rho == 0:
        return lambda t_s: 1.0 if t_s < 0 else 0.0
    zeros = [arrivals_per_s * (1 - z) for z in _roots(servers, rho)]
    pairs = [(2 * zero.real / abs(zero) ** 2, 1 / abs(zero) ** 2) for zero in zeros if zero.imag]
    singles = [1 / zero.real for zero in zeros if not zero.imag]
    at_once = servers * (1 - rho) * math.prod(arrivals_per_s * single for single in singles)
    at_once *= math.prod(arrivals_per_s**2 * square for _, square in pairs)
    waiting = max(0.0, 1 - at_once)
    eta = tail_decay_per_s(arrivals_per_s, constant(service_s / servers))

    def transform(s: complex) -> complex:
        # Each of the c factors is divided by its share of (1 − s/λ)^c at once: either product alone overflows.
        turned = 1 - s / arrivals_per_s
        share = 1 / turned if abs(turned) > 1 else 1.0
        wait = -servers * (1 - rho) * s / arrivals_per_s * share
        for linear, square in pairs:
            wait *= (1 - s * (linear - s * square)) * share * share
        for single in singles:
            wait *= (1 - s * single) * share
        wait /= (turned * share) ** servers - cmath.exp(-s * service_s) * share**servers
        return (1 - wait) / s

    def tail(t_s: float) -> float:
        if t_s < 0:
            return 1.0
        if t_s == 0:
            return waiting
        if rho > NEARLY_FULL:
            return waiting * math.exp(-eta * t_s)
        return min(waiting, max(0.0, inverted(transform, max(t_s, SHORTEST_SHARE * service_s))))

    return tail


def _roots(servers: int, rho: float) -> list[complex]:
    """Return the roots inside the unit circle of z^c = exp(−cρ(1−z)): one of each conjugate pair."""
    found = []
    for k in range(1, servers // 2 + 1):
        unit = -1.0 + 0j if 2 * k == servers else cmath.exp(2j * math.pi * k / servers)
        z = unit / 2
        for _ in range(MOST_STEPS):
            other = unit * cmath.exp(-rho * (1 - z))
            step = (z - other) / (1 - rho * other)
            z -= step
            if abs(step) <= CONVERGED:
                break
        found.append(z)
    return found
