"""Two kinds of work on one server: texts before others by priority, and batch work that fills the idle time.

Knows Poisson arrivals and one server that finishes what it has begun. Batch work is always at hand, in steps of
one length, and a step begins only when no text waits: to the texts the server is on vacation meanwhile. Knows no
prices.

Times are infinite where the work offered is at least what the server can do.
"""

from __future__ import annotations

import math

from farthing.errors import InputError
from farthing.theory.queueing.batch_service import StepLine
from farthing.theory.queueing.quantiles import tail_quantile
from farthing.theory.queueing.service_times import ServiceTimes
from farthing.theory.queueing.single_server import mean_wait_s, utilization, wait_tail

INTERVALS = 32
"""Intervals of Simpson's rule over one vacation; even."""

NO_LOAD = 1e-9
"""Utilization at which nobody waits for another text: below it the difference of two tails has no digits left."""


def priority_waits_s(
    arrivals_high_per_s: float,
    service_high: ServiceTimes,
    arrivals_low_per_s: float,
    service_low: ServiceTimes,
) -> tuple[float, float]:
    """Return the mean seconds that a text of the high and one of the low class waits before its service.

    A waiting text of the high class always goes first; a service is never interrupted. Where both classes
    together are too much, the low one waits without end, and the high one as if low ones were always at hand.

    Args:
        arrivals_high_per_s: texts of the high class per second, at least 0.
        service_high: their service times.
        arrivals_low_per_s: texts of the low class per second, at least 0.
        service_low: their service times.

    Raises:
        InputError: a rate is negative or not finite.

    Source: Cobham 1954: W₁ = R/(1−ρ₁), W₂ = R/((1−ρ₁)(1−ρ₁−ρ₂)), R = Σ λᵢE[Dᵢ²]/2.
    """
    rho_high = utilization(arrivals_high_per_s, service_high)
    rho_low = utilization(arrivals_low_per_s, service_low)
    if rho_high >= 1:
        return math.inf, math.inf
    served_low_per_s = min(arrivals_low_per_s, (1 - rho_high) / service_low.mean_s)
    residual_s = (
        arrivals_high_per_s * service_high.second_moment_s2 + served_low_per_s * service_low.second_moment_s2
    ) / 2
    high_s = residual_s / (1 - rho_high)
    return high_s, high_s / (1 - rho_high - rho_low) if rho_high + rho_low < 1 else math.inf


def filled_mean_time_in_system_s(arrivals_per_s: float, service: ServiceTimes, filler_step_s: float) -> float:
    """Return the mean seconds from arrival to the end of the service when batch work fills all idle time.

    Args:
        arrivals_per_s: texts per second, at least 0; they are served one at a time.
        service: their service times.
        filler_step_s: V, seconds of a step of batch work, above 0.

    Raises:
        InputError: an argument is out of its range.

    Source: M/G/1 with multiple vacations, Fuhrmann & Cooper 1985: the wait is that of M/G/1 plus what is left of
    a vacation at a random time, V/2 on average.
    """
    _check_step(filler_step_s)
    return mean_wait_s(arrivals_per_s, service) + filler_step_s / 2 + service.mean_s


def filled_time_in_system_tail(
    arrivals_per_s: float, service: ServiceTimes, filler_step_s: float, t_s: float
) -> float:
    """Return the probability of more than `t_s` from arrival to the end of the service, idle time being filled.

    Args:
        arrivals_per_s: texts per second, at least 0; they are served one at a time.
        service: their service times.
        filler_step_s: V, seconds of a step of batch work, above 0.
        t_s: seconds.

    Raises:
        InputError: an argument is out of its range.

    Source: as `filled_mean_time_in_system_s`: the time in system T of M/G/1 plus a uniform part of V, so the mean
    of P(T > x) over x from t − V to t. By level crossing (see `single_server.time_in_system_tail`) its integral
    is that of P(W > x), which has no jumps, plus (P(W > t − V) − P(W > t))/λ.
    """
    _check_step(filler_step_s)
    rho = utilization(arrivals_per_s, service)
    if rho >= 1 or t_s <= 0:
        return 1.0
    if rho <= NO_LOAD:
        return sum(
            p * min(1.0, max(0.0, (d + filler_step_s - t_s) / filler_step_s))
            for d, p in zip(service.seconds, service.probabilities, strict=True)
        )
    start = max(0.0, t_s - filler_step_s)
    width = (t_s - start) / INTERVALS
    tails = [wait_tail(arrivals_per_s, service, start + k * width) for k in range(INTERVALS + 1)]
    simpson = tails[0] + 4 * sum(tails[1::2]) + 2 * sum(tails[2:-1:2]) + tails[-1]
    within = simpson * width / 3 + (tails[0] - tails[-1]) / arrivals_per_s
    return min(1.0, (within + max(0.0, filler_step_s - t_s)) / filler_step_s)


def filled_time_in_system_quantile_s(
    arrivals_per_s: float, service: ServiceTimes, filler_step_s: float, quantile: float = 0.99
) -> float:
    """Return a quantile of the seconds from arrival to the end of the service, idle time being filled.

    Args:
        arrivals_per_s: texts per second, at least 0; they are served one at a time.
        service: their service times.
        filler_step_s: V, seconds of a step of batch work, above 0.
        quantile: a probability of at least 0 and below 1.

    Raises:
        InputError: an argument is out of its range.

    Source: as `filled_time_in_system_tail`.
    """
    if not 0 <= quantile < 1:
        raise InputError(f"quantile {quantile}: give a number of at least 0 and below 1")
    mean_s = filled_mean_time_in_system_s(arrivals_per_s, service, filler_step_s)
    if math.isinf(mean_s):
        return math.inf
    return tail_quantile(
        lambda t_s: filled_time_in_system_tail(arrivals_per_s, service, filler_step_s, t_s),
        1 - quantile,
        service.seconds[0],
        mean_s,
    )


def filled_rise_bound_s(filler_step_s: float, rho: float) -> float:
    """Return by how much filling idle time raises the 99th percentile of texts served in batches, at most.

    Args:
        filler_step_s: V, seconds of a step of batch work, at least 0.
        rho: λα, texts offered over the texts per second of a saturated server, at least 0.

    Raises:
        InputError: an argument is out of its range.

    Source: V(1 + λα): a text waits at most V for the step to end, and its own step takes α longer for each text
    that came in the meantime, λV of them. Simulation confirms it.
    """
    if not (0 <= filler_step_s < math.inf and 0 <= rho < math.inf):
        raise InputError(f"filler step of {filler_step_s} s at a load of {rho}: give numbers of at least 0")
    return filler_step_s * (1 + rho)


def longest_filler_step_s(target_s: float, p99_without_s: float, rho: float) -> float:
    """Return the longest step of batch work with which the texts' 99th percentile keeps a target; 0 for none.

    Args:
        target_s: the target, in seconds.
        p99_without_s: the 99th percentile without batch work, in seconds; it may be infinite.
        rho: λα, texts offered over the texts per second of a saturated server, at least 0.

    Raises:
        InputError: the load is out of its range.

    Source: `filled_rise_bound_s` solved for V.
    """
    if not 0 <= rho < math.inf:
        raise InputError(f"load {rho}: give a number of at least 0")
    return max(0.0, (target_s - p99_without_s) / (1 + rho))


def filler_efficiency(line: StepLine, filler_step_s: float) -> float:
    """Return the share of the throughput of endless steps that steps of this length reach, 0 to 1.

    Args:
        line: how the step time grows.
        filler_step_s: seconds of a step; no longer than the overhead is 0.
    """
    return max(0.0, 1 - line.overhead_s / filler_step_s) if filler_step_s > 0 else 0.0


def _check_step(filler_step_s: float) -> None:
    if not 0 < filler_step_s < math.inf:
        raise InputError(f"filler step of {filler_step_s} s: give seconds above 0")
