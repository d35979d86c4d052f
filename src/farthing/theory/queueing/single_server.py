"""Waiting at one server: Poisson arrivals, first come first served, one text at a time.

Knows exact means and the exact distribution for any service times, and the usual approximations for bursts.
Knows no batches (batch_service.py), no second server (replicas.py), no other class of work (sharing.py).

Times are infinite and tails 1 where the work offered is at least what the server can do: no queue settles
there, and infinity compares as it should with any target.
"""

from __future__ import annotations

import cmath
import math
from operator import mul

from farthing.errors import InputError
from farthing.theory.queueing.laplace import EULER_DAMPING, EULER_TERMS, euler_weights
from farthing.theory.queueing.quantiles import tail_quantile
from farthing.theory.queueing.service_times import ServiceTimes

EXPONENTIALS = 240
"""With few service times there are more terms instead, up to this many products per inversion, because the
fewer the times, the sharper the kinks of the distribution at their sums."""

FEW_TIMES = 3
"""Fewer service times than this do not have yet more terms."""

AT_ONCE = 1e-9
"""A wait of this share of the mean service time is none: the tail has fallen by less than that."""

NEARLY_FULL = 0.9995
"""Above this utilization the wait is its exponential asymptote: nothing else is left of it, and an inversion
would lose itself in rounding, since 1 − ρ is the difference of numbers near 1."""

MOST_STEPS = 200
"""Newton's steps to the decay of the tail at most; there are about ten."""

CONVERGED = 1e-14
"""Relative step at which they end."""

LARGEST_EXPONENT = 500.0
"""More is this much: its exponential is finite, and far beyond any root."""

HEAVIEST = 1 - 1e-9
"""Above this utilization even the equation for the exponential's rate is, and its limit is taken."""


def utilization(arrivals_per_s: float, service: ServiceTimes) -> float:
    """Return ρ: work offered per second over the work that one server can do.

    Args:
        arrivals_per_s: texts per second, at least 0.
        service: service times.

    Raises:
        InputError: the rate is negative or not finite.
    """
    if not 0 <= arrivals_per_s < math.inf:
        raise InputError(f"arrivals per second: {arrivals_per_s}: give a number of at least 0")
    return arrivals_per_s * service.mean_s


def mean_wait_s(arrivals_per_s: float, service: ServiceTimes) -> float:
    """Return the mean seconds that a text waits before its service; infinite if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second, at least 0.
        service: service times.

    Raises:
        InputError: the rate is negative or not finite.

    Source: Pollaczek–Khinchine, Kleinrock 1975 (5.70): E[W] = λE[D²] / (2(1−ρ)).
    """
    rho = utilization(arrivals_per_s, service)
    return arrivals_per_s * service.second_moment_s2 / (2 * (1 - rho)) if rho < 1 else math.inf


def kingman_wait_s(arrivals_per_s: float, service: ServiceTimes, arrivals_cv2: float) -> float:
    """Return the mean wait in seconds under bursts, an approximation that is good when ρ is high.

    Args:
        arrivals_per_s: texts per second, at least 0.
        service: service times.
        arrivals_cv2: CV² of the seconds between arrivals, at least 0; 1 is Poisson.

    Raises:
        InputError: an argument is out of its range.

    Source: Kingman 1961: W ≈ ρ/(1−ρ) · (c_a²+c_s²)/2 · E[D].
    """
    if not 0 <= arrivals_cv2 < math.inf:
        raise InputError(f"CV² of the arrivals: {arrivals_cv2}: give a number of at least 0")
    rho = utilization(arrivals_per_s, service)
    return rho / (1 - rho) * (arrivals_cv2 + service.cv2) / 2 * service.mean_s if rho < 1 else math.inf


def wait_tail(arrivals_per_s: float, service: ServiceTimes, t_s: float) -> float:
    """Return the probability that a text waits longer than `t_s` before its service; 1 if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second, at least 0.
        service: service times.
        t_s: seconds.

    Raises:
        InputError: the rate is negative or not finite.

    Source: the Pollaczek–Khinchine transform, inverted as in `_inverted`.
    """
    rho = utilization(arrivals_per_s, service)
    if rho >= 1 or t_s < 0:
        return 1.0
    if t_s <= AT_ONCE * service.mean_s or rho == 0:
        return rho
    if rho > NEARLY_FULL:
        eta, constant = exponential_tail(arrivals_per_s, service)
        return _share(constant * math.exp(-eta * t_s))
    once = sum(p * (d - t_s) for d, p in zip(service.seconds, service.probabilities, strict=True) if d > t_s)
    return _share((1 - rho) * arrivals_per_s * once + _inverted(arrivals_per_s, service, t_s, 0.0))


def time_in_system_tail(arrivals_per_s: float, service: ServiceTimes, t_s: float) -> float:
    """Return the probability that wait and service together take longer than `t_s`; 1 if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second, at least 0.
        service: service times.
        t_s: seconds.

    Raises:
        InputError: the rate is negative or not finite.

    Source: P(T > t) = Σ pᵢ·P(W > t − dᵢ). The sum need not be taken: by level crossing the density of the
    wait is w(t) = λ·(P(W ≤ t) − P(T ≤ t)), so P(T > t) = P(W > t) + w(t)/λ, one inversion for all dᵢ
    (Takács 1962; Brill 2008).
    """
    rho = utilization(arrivals_per_s, service)
    if rho >= 1 or t_s < service.seconds[0]:
        return 1.0
    if len(service.seconds) == 1:
        # The sum has one term, and the wait is smoother than the time in system: no kinks but in its density.
        return wait_tail(arrivals_per_s, service, t_s - service.mean_s)
    if rho > NEARLY_FULL:
        eta, constant = exponential_tail(arrivals_per_s, service)
        waits = [constant * math.exp(-eta * max(0.0, t_s - d)) if t_s >= d else 1.0 for d in service.seconds]
        return _share(sum(map(mul, service.probabilities, waits)))
    longer = [(d, p) for d, p in zip(service.seconds, service.probabilities, strict=True) if d > t_s]
    tail = sum([p * (1 + arrivals_per_s * (d - t_s)) for d, p in longer])
    if rho == 0:
        return tail
    return _share((1 - rho) * tail + _inverted(arrivals_per_s, service, t_s, 1 / arrivals_per_s))


def time_in_system_quantile_s(arrivals_per_s: float, service: ServiceTimes, quantile: float = 0.99) -> float:
    """Return the quantile of the seconds from arrival to the end of the service; infinite if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second, at least 0.
        service: service times.
        quantile: a probability, 0 to 0.999999, or 1, whose quantile is infinite.

    Raises:
        InputError: an argument is out of its range.

    Source: as `time_in_system_tail`.
    """
    shortest = service.quantile_s(quantile)
    rho = utilization(arrivals_per_s, service)
    if rho >= 1 or quantile >= 1:
        return math.inf
    return tail_quantile(
        lambda t_s: time_in_system_tail(arrivals_per_s, service, t_s),
        1 - quantile,
        shortest,
        service.mean_s + mean_wait_s(arrivals_per_s, service),
        [(d, (1 - rho) * p) for d, p in zip(service.seconds, service.probabilities, strict=True)],
    )


def tail_decay_per_s(arrivals_per_s: float, service: ServiceTimes) -> float:
    """Return η, the rate at which the tail of the wait falls in the end, per second; 0 if ρ ≥ 1.

    Args:
        arrivals_per_s: texts per second, above 0.
        service: service times.

    Raises:
        InputError: the rate is not above 0.

    Source: Cramér–Lundberg: the η > 0 with λ(E[exp(ηD)] − 1) = η.
    """
    rho = utilization(arrivals_per_s, service)
    if rho == 0:
        raise InputError("decay of the tail: give arrivals per second above 0: without any, nothing waits")
    if rho >= 1:
        return 0.0

    # The heavy-traffic value is above η. Halving brings it within twice η; from there Newton's steps on a
    # convex function fall to η without passing it.
    eta = 2 * (1 - rho) / (arrivals_per_s * service.second_moment_s2)
    if rho > HEAVIEST:
        return eta
    while _excess(arrivals_per_s, service, eta / 2)[0] >= 0:
        eta /= 2
    for _ in range(MOST_STEPS):
        value, slope = _excess(arrivals_per_s, service, eta)
        eta -= value / slope
        if value <= CONVERGED * slope * eta:
            break
    return eta


def exponential_tail(arrivals_per_s: float, service: ServiceTimes) -> tuple[float, float]:
    """Return η per second and the factor K of the asymptote of the wait, P(W > t) ≈ K·exp(−ηt).

    Args:
        arrivals_per_s: texts per second, above 0 and with ρ < 1.
        service: service times.

    Raises:
        InputError: the rate is not above 0, or ρ is not below 1.

    Source: Cramér–Lundberg: K = (1−ρ) / (λE[D·exp(ηD)] − 1).
    """
    rho = utilization(arrivals_per_s, service)
    if rho >= 1:
        raise InputError(f"asymptote of the wait: utilization {rho}: give one below 1")
    eta = tail_decay_per_s(arrivals_per_s, service)
    if rho > HEAVIEST:
        return eta, 1.0
    return eta, (1 - rho) / _excess(arrivals_per_s, service, eta)[1]


def exponential_tail_quantile_s(
    arrivals_per_s: float, service: ServiceTimes, quantile: float = 0.99
) -> float:
    """Return the quantile of the time in system in seconds, by the tail's asymptote; infinite if ρ ≥ 1.

    A shortcut for ρ ≥ .7. Below it the asymptote has not been reached at the quantile: it is far too low for
    service times with a long tail. `time_in_system_quantile_s` is exact.

    Args:
        arrivals_per_s: texts per second, above 0.
        service: service times.
        quantile: a probability below 1.

    Raises:
        InputError: an argument is out of its range.

    Source: as `exponential_tail`; P(T > t) is E[exp(ηD)] = 1 + η/λ times P(W > t).
    """
    if not 0 <= quantile < 1:
        raise InputError(f"quantile {quantile}: give a number of at least 0 and below 1")
    if utilization(arrivals_per_s, service) >= 1:
        return math.inf
    eta, constant = exponential_tail(arrivals_per_s, service)
    return max(0.0, math.log(constant * (1 + eta / arrivals_per_s) / (1 - quantile)) / eta)


def _excess(arrivals_per_s: float, service: ServiceTimes, eta: float) -> tuple[float, float]:
    """Return λ(E[exp(ηD)] − 1) − η, whose root above 0 is the decay of the wait, and its derivative."""
    value = slope = 0.0
    for d, p in zip(service.seconds, service.probabilities, strict=True):
        grown = p * math.expm1(min(eta * d, LARGEST_EXPONENT))
        value += grown
        slope += d * (grown + p)
    return arrivals_per_s * value - eta, arrivals_per_s * slope - 1


def _inverted(arrivals_per_s: float, service: ServiceTimes, t_s: float, density_share_s: float) -> float:
    """Return, at `t_s`, the part of the tail of W + `density_share_s` · density of W that is not elementary.

    W is a geometric number of residual service times. None and one of them have closed forms with jumps and
    corners, which a Fourier series renders badly; they are the callers' part. Two and more are smoother, and
    are inverted here: with r(s) = λ(1 − B(s))/s their density is (1−ρ)·r²/(1−r).

    Source: as `laplace.euler_weights`.
    """
    rho = arrivals_per_s * service.mean_s
    terms = max(EULER_TERMS, EXPONENTIALS // max(FEW_TIMES, len(service.seconds)))
    s = complex(EULER_DAMPING / (2 * t_s), 0.0)
    step = complex(0.0, math.pi / t_s)
    values = [p * math.exp(-s.real * d) for d, p in zip(service.seconds, service.probabilities, strict=True)]
    turns = [cmath.exp(-step * d) for d in service.seconds]
    total = 0.0
    several = rho * rho / (1 - rho)
    products: list[complex] = [complex(v) for v in values]
    for weight in euler_weights(terms):
        residual = arrivals_per_s * (1 - sum(products)) / s
        density = residual * residual / (1 - residual)
        total += weight * ((several - density) / s + density * density_share_s).real
        products = list(map(mul, products, turns))
        s += step
    return (1 - rho) * math.exp(EULER_DAMPING / 2) / t_s * total


def _share(value: float) -> float:
    """Return `value` within 0 and 1, where rounding may have left it."""
    return min(1.0, max(0.0, value))
