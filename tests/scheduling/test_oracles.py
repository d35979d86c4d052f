"""The simulator against what is known exactly: M/M/c, M/D/c, and the bound of steps that take all who wait."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import numpy as np
import pytest

from drawn_arrivals import poisson_times
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, Simulated, simulate

TEXTS = 400_000


def simulated(
    rate: float,
    service_s: Callable[[random.Random], float],
    policy: Policy,
    texts: int = TEXTS,
    seed: int = 1,
) -> Simulated:
    """Simulate texts that come at random and are served one at a time."""
    rng = random.Random(seed)
    sizes = [service_s(rng) for _ in range(texts)]
    return simulate(Arrivals(poisson_times(rate, texts, rng), sizes), policy)


def crommelin_wait_tails(servers: int, rho: float, times_s: list[float]) -> list[float]:
    """Return P(W > t) at a service time of 1, with no transform: from the texts present, service by service.

    Whoever is in service now is gone one service time later, and nobody else: the number present moves by
    Poisson arrivals minus at most c, which gives its distribution. The wait follows from it (Franx 2001): for
    t = k − u with 0 < u ≤ 1, P(W ≤ t) = Σ P(at most c + kc − 1 − j present) · Poisson(j; λu), j < kc.
    """
    rate = servers * rho
    size = 40 * servers + 400
    arrivals = np.exp([k * math.log(rate) - rate - math.lgamma(k + 1) for k in range(size)])
    step = np.zeros((size, size))
    for present in range(size):
        left = max(0, present - servers)
        step[present, left:] = arrivals[: size - left]
    system = step.T - np.eye(size)
    system[-1] = 1.0
    present_share = np.linalg.solve(system, np.eye(size)[-1])
    below = np.cumsum(present_share)
    tails = []
    for t_s in times_s:
        k = math.floor(t_s) + 1
        u = k - t_s
        poisson = [
            math.exp(j * math.log(rate * u) - rate * u - math.lgamma(j + 1)) for j in range(k * servers)
        ]
        tails.append(1 - sum(q * below[servers + k * servers - 1 - j] for j, q in enumerate(poisson)))
    return tails


@pytest.mark.parametrize("servers", [1, 2, 8])
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.9])
def test_exponential_service_waits_as_erlang_says(servers: int, rho: float) -> None:
    """P(wait) = C, and the mean wait C / (c − λ). Source: Kleinrock 1975, section 3.5."""
    load, blocked = servers * rho, 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    erlang_c = blocked / (1 - rho * (1 - blocked))
    found = simulated(load, lambda rng: rng.expovariate(1.0), Policy(servers=servers))
    assert fmean(found.latencies_s) - 1 == pytest.approx(erlang_c / (servers - load), rel=0.08, abs=0.005)


LARGEST = {1: (0.135, 0.320, 0.561, 0.774), 2: (0.362, 0.577, 0.755, 0.881), 4: (0.600, 0.763, 0.870, 0.939)}
LARGEST[8] = (0.773, 0.873, 0.932, 0.969)
"""Servers → largest utilization at which 99 % are through within 2, 3, 5 and 10 service times: M/D/c, exact."""


@pytest.mark.parametrize("servers", [1, 2, 4, 8])
@pytest.mark.parametrize("place", range(4))
def test_constant_service_at_the_largest_utilization(servers: int, place: int) -> None:
    """By Crommelin's equations the table is exact; so is the simulator, but for what it draws."""
    rho, target = LARGEST[servers][place], (2, 3, 5, 10)[place]
    assert crommelin_wait_tails(servers, rho, [target - 1.0]) == pytest.approx([0.01], rel=0.05)
    found = simulated(servers * rho, lambda _: 1.0, Policy(servers=servers))
    assert found.quantile_s(0.99) == pytest.approx(target, rel=0.06)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("overhead", [0.3, 1.0, 5.0])
def test_steps_that_take_all_who_wait_stay_below_inoues_bound(load: float, overhead: float) -> None:
    """Steps of τ₀ + α·n seconds, one text a second: E[T] ≤ min(φ₀, φ₁), and not far below. Source: arXiv 1912.06322."""
    low = (load + overhead) / (2 * (1 - load)) * (1 + 2 * overhead + (1 - overhead) / (1 + load))
    high = 3 * overhead / (2 * (1 - load)) + load / 2 * (load + 2) / (1 - load**2)
    rng = random.Random(2)
    arrivals = Arrivals(poisson_times(1.0, TEXTS, rng), [1.0] * TEXTS)
    policy = Policy(max_batch_texts=10**9)
    found = simulate(arrivals, policy, lambda sizes: overhead + load * len(sizes))
    assert 0.9 * min(low, high) <= fmean(found.latencies_s) <= 1.02 * min(low, high)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_two_classes_wait_as_cobham_says(rho: float) -> None:
    """Half of the texts go first: W₁ = R/(1−ρ₁), W₂ = R/((1−ρ₁)(1−ρ)), R = λE[D²]/2."""
    rng = random.Random(3)
    classes = [rng.randrange(2) for _ in range(TEXTS)]
    arrivals = Arrivals(poisson_times(rho, TEXTS, rng), [1.0] * TEXTS, classes)
    found = simulate(arrivals, Policy())
    residual, first = rho / 2, rho / 2
    assert fmean(found.latencies_of(0)) - 1 == pytest.approx(residual / (1 - first), rel=0.04)
    assert fmean(found.latencies_of(1)) - 1 == pytest.approx(residual / ((1 - first) * (1 - rho)), rel=0.06)
