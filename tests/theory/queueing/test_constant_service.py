"""M/D/c: against Crommelin's own equations, solved apart, and against the simulator."""

from __future__ import annotations

import math
import random
from itertools import pairwise, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_arrivals import poisson_times
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.queueing.constant_service import MOST_SERVERS, constant_wait_tail
from farthing.theory.queueing.service_times import constant
from farthing.theory.queueing.single_server import wait_tail


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


@pytest.mark.parametrize("servers", [2, 3, 4, 8, 33])
@pytest.mark.parametrize("rho", [0.1, 0.5, 0.8, 0.9])
def test_the_wait_is_crommelins(servers: int, rho: float) -> None:
    times_s = [0.0, 0.05, 0.4, 0.9, 1.0, 1.6, 2.5]
    tail = constant_wait_tail(servers * rho, 1.0, servers)
    expected = crommelin_wait_tails(servers, rho, times_s)
    assert [tail(t) for t in times_s] == pytest.approx(expected, rel=2e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("servers", "multiple", "rho"),
    [(1, 3, 0.320), (2, 2, 0.362), (4, 5, 0.870), (8, 3, 0.873)],
)
def test_the_simulator_agrees_with_the_table(servers: int, multiple: float, rho: float) -> None:
    # At the utilization of the table (design/theory.md), the 99th percentile is that many service times.
    rng = random.Random(11)
    texts = 1_000_000
    arrivals = Arrivals(poisson_times(servers * rho, texts, rng), list(repeat(1.0, texts)))
    simulated = simulate(arrivals, Policy(servers=servers), rng)
    assert simulated.quantile_s(0.99) == pytest.approx(multiple, rel=0.02)


def test_one_server_is_m_g_1() -> None:
    tail = constant_wait_tail(0.35, 2.0, 1)
    for t_s in (0.0, 1.3, 4.0):
        assert tail(t_s) == wait_tail(0.35, constant(2.0), t_s)


@given(st.integers(2, 80), st.floats(0.01, 0.999), st.floats(0, 5), st.floats(0, 5))
def test_tails_are_probabilities_that_fall(servers: int, rho: float, one: float, other: float) -> None:
    tail = constant_wait_tail(servers * rho, 1.0, servers)
    low, high = sorted((one, other))
    assert 0 <= tail(high) <= tail(low) + 1e-6 <= 1 + 1e-6
    assert tail(-1e-9) == 1


@given(st.integers(2, 40), st.floats(0.05, 0.99), st.floats(1e-4, 1e4), st.floats(0.01, 4))
def test_units_of_time_do_not_matter(servers: int, rho: float, factor: float, t_s: float) -> None:
    one, other = (
        constant_wait_tail(servers * rho, 1.0, servers)(t_s),
        constant_wait_tail(servers * rho / factor, factor, servers)(factor * t_s),
    )
    assert one == pytest.approx(other, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("servers", [2, 3, 64, 199, MOST_SERVERS])
@pytest.mark.parametrize("rho", [0.0, 1e-12, 1e-6, 0.3, 0.9, 0.9996, 1 - 1e-9])
def test_no_extreme_overflows(servers: int, rho: float) -> None:
    tail = constant_wait_tail(servers * rho, 1.0, servers)
    values = [tail(t) for t in (0.0, 1e-9, 1e-3, 0.5, 1.0, 30.0)]
    assert all(0 <= value <= 1 for value in values)
    assert all(a >= b - 1e-6 for a, b in pairwise(values))


@pytest.mark.parametrize("servers", [2, 8, 100])
def test_nearly_full_servers_follow_the_same_law(servers: int) -> None:
    # c(1−ρ)·W of those who wait is exponential of mean 1/2 in the limit.
    for empty in (1e-3, 4e-4, 1e-6, 1e-9):
        tail = constant_wait_tail(servers * (1 - empty), 1.0, servers)
        late = tail(math.log(100) / 2 / servers / empty)
        assert late / tail(0.0) == pytest.approx(0.01, rel=0.01)


def test_overload_never_settles() -> None:
    assert constant_wait_tail(2.0, 1.0, 2)(1e9) == 1


def test_bad_arguments_are_named() -> None:
    for servers in (0, MOST_SERVERS + 1):
        with pytest.raises(InputError, match=f"{servers} servers"):
            constant_wait_tail(0.5, 1.0, servers)
    with pytest.raises(InputError, match="arrivals per second: -1"):
        constant_wait_tail(-1, 1.0, 2)
    with pytest.raises(InputError, match="seconds above 0"):
        constant_wait_tail(0.5, 0.0, 2)
