"""Several servers on one shared queue when service times are exponential: M/M/c, exactly.

Knows closed forms. Knows no other service times (replicas.py).
"""

from __future__ import annotations

import math

from farthing.errors import InputError

NEGLIGIBLE = 1e-16
"""A term of this share of its sum ends a series."""

LARGEST_SUM = 1e300
"""The reciprocal of a probability that counts as 0."""


def erlang_c(servers: int, offered: float) -> float:
    """Return the probability that a text has to wait; 1 if ρ ≥ 1.

    Args:
        servers: number of servers, at least 1.
        offered: arrivals per second × mean service seconds, at least 0.

    Raises:
        InputError: an argument is out of its range.

    Source: Erlang 1917. The loss probability B is one over Σ c!/(c−k)!/offeredᵏ, k = 0…c, of which about √c
    terms count, and the probability to wait is B / (1 − ρ(1 − B)).
    """
    if servers < 1 or not 0 <= offered < math.inf:
        raise InputError(f"{servers} servers with a load of {offered}: give at least 1, and at least 0")
    if offered >= servers:
        return 1.0
    if offered == 0:
        return 0.0
    rho = offered / servers
    return 1 / ((1 - rho) * loss_reciprocal(servers, offered) + rho)


def loss_reciprocal(servers: int, offered: float) -> float:
    """Return 1/B, B the probability that all servers are busy if nobody may wait; infinite above `LARGEST_SUM`.

    Args:
        servers: number of servers, at least 1.
        offered: arrivals per second × mean service seconds, above 0; it may exceed the servers.

    Source: as `erlang_c`.
    """
    term = total = 1.0
    for free in range(servers, 0, -1):
        term *= free / offered
        total += term
        if total > LARGEST_SUM:
            return math.inf
        if term < NEGLIGIBLE * total:
            break
    return total


def exponential_wait_tail(arrivals_per_s: float, mean_s: float, servers: int, t_s: float) -> float:
    """Return the probability that a text waits longer than `t_s`; 1 if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second for all servers together, at least 0.
        mean_s: mean service seconds, above 0.
        servers: number of servers, at least 1.
        t_s: seconds.

    Raises:
        InputError: an argument is out of its range.

    Source: Kleinrock 1975, section 3.5: erlang_c · exp(−(c/E[D] − λ)t).
    """
    waiting, surplus_per_s = _state(arrivals_per_s, mean_s, servers)
    return 1.0 if t_s < 0 or surplus_per_s <= 0 else waiting * math.exp(-surplus_per_s * t_s)


def exponential_wait_quantile_s(
    arrivals_per_s: float, mean_s: float, servers: int, quantile: float = 0.99
) -> float:
    """Return the quantile of the wait before service in seconds; infinite if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second for all servers together, at least 0.
        mean_s: mean service seconds, above 0.
        servers: number of servers, at least 1.
        quantile: a probability, 0 to below 1.

    Raises:
        InputError: an argument is out of its range.

    Source: as `exponential_wait_tail`, solved for t.
    """
    if not 0 <= quantile < 1:
        raise InputError(f"quantile {quantile}: give a number of at least 0 and below 1")
    waiting, surplus_per_s = _state(arrivals_per_s, mean_s, servers)
    if surplus_per_s <= 0:
        return math.inf
    return math.log(waiting / (1 - quantile)) / surplus_per_s if waiting > 1 - quantile else 0.0


def exponential_time_in_system_tail(arrivals_per_s: float, mean_s: float, servers: int, t_s: float) -> float:
    """Return the probability that wait and service together take longer than `t_s`; 1 if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second for all servers together, at least 0.
        mean_s: mean service seconds, above 0.
        servers: number of servers, at least 1.
        t_s: seconds.

    Raises:
        InputError: an argument is out of its range.

    Source: the wait of `exponential_wait_tail` and an independent exponential service, added up.
    """
    waiting, surplus_per_s = _state(arrivals_per_s, mean_s, servers)
    if t_s < 0 or surplus_per_s <= 0:
        return 1.0
    alone = math.exp(-t_s / mean_s)
    apart = (surplus_per_s - 1 / mean_s) * t_s
    # P(E₁ + E₂ > t) of exponentials; where the two rates are close, without their difference.
    fallen = -alone * math.expm1(-apart) if abs(apart) < 1 else alone - math.exp(-surplus_per_s * t_s)
    return alone + waiting * t_s / mean_s * (fallen / apart if apart else alone)


def _state(arrivals_per_s: float, mean_s: float, servers: int) -> tuple[float, float]:
    """Return the probability to wait, and the texts per second that the servers could do more."""
    if not (0 <= arrivals_per_s < math.inf and 0 < mean_s < math.inf):
        raise InputError(
            f"{arrivals_per_s} arrivals per second of {mean_s} s each: give at least 0, and seconds above 0"
        )
    return erlang_c(servers, arrivals_per_s * mean_s), servers / mean_s - arrivals_per_s
