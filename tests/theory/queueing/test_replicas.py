"""M/G/c: the table of design/theory.md, long simulations, exact limits, and the properties of any queue.

The simulations draw from the lognormal itself; the formulas see it in 64 values.
"""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drawn_arrivals import poisson_times, sampled_sizes
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.queueing import replicas, single_server
from farthing.theory.queueing.exponential_service import (
    erlang_c,
    exponential_time_in_system_tail,
)
from farthing.theory.queueing.replicas import (
    interpolated_wait_quantile_s,
    largest_utilization,
    mean_wait_s,
    time_in_system_quantile_s,
    time_in_system_tail,
)
from farthing.theory.queueing.service_times import (
    ServiceTimes,
    constant,
    from_weights,
    truncated_lognormal,
)

TWO = from_weights({0.5: 0.9, 5.5: 0.1})

lognormals = st.builds(
    truncated_lognormal,
    st.floats(1e-3, 1e2),
    st.floats(0.05, 4),
    st.floats(2, 32),
    st.integers(8, 24),
)
loads = st.floats(0.01, 0.98)
counts = st.integers(1, 40)


def simulated(
    cv2: float, cut: float, rho: float, servers: int, runs: int = 3000, before: int = 1200, texts: int = 800
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return waits and times in system of many runs side by side: each text takes the server with least work.

    Source: Kiefer & Wolfowitz 1955, the recursion on the work that each server has before it.
    """
    rng = np.random.default_rng(5)
    sigma = math.sqrt(math.log1p(cv2))
    rate = servers * rho / truncated_lognormal(1.0, cv2, cut).mean_s
    work = np.zeros((runs, servers))
    rows = np.arange(runs)
    waits, latencies = np.empty((texts, runs)), np.empty((texts, runs))
    for text in range(-before, texts):
        service = np.minimum(np.exp(sigma * rng.standard_normal(runs) - sigma**2 / 2), cut)
        least = work.argmin(axis=1)
        if text >= 0:
            waits[text] = work[rows, least]
        work[rows, least] += service
        if text >= 0:
            latencies[text] = work[rows, least]
        work -= rng.exponential(1 / rate, (runs, 1))
        np.maximum(work, 0, out=work)
    return waits.ravel(), latencies.ravel()


def quantile_of(values: npt.NDArray[np.float64], quantile: float) -> float:
    return float(np.partition(values, int(quantile * len(values)))[int(quantile * len(values))])


@pytest.mark.parametrize(
    ("servers", "multiple", "rho"),
    [
        *((1, x, rho) for x, rho in zip((2, 3, 5, 10), (0.135, 0.320, 0.561, 0.774), strict=True)),
        *((2, x, rho) for x, rho in zip((2, 3, 5, 10), (0.362, 0.577, 0.755, 0.881), strict=True)),
        *((4, x, rho) for x, rho in zip((2, 3, 5, 10), (0.600, 0.763, 0.870, 0.939), strict=True)),
        *((8, x, rho) for x, rho in zip((2, 3, 5, 10), (0.773, 0.873, 0.932, 0.969), strict=True)),
    ],
)
def test_the_table_of_the_design(servers: int, multiple: float, rho: float) -> None:
    # The bar is .005; the table is given to .001.
    assert largest_utilization(servers, multiple) == pytest.approx(rho, abs=0.001)


@pytest.mark.parametrize("rho", [0.5, 0.7, 0.85])
@pytest.mark.parametrize("servers", [2, 4, 8])
@pytest.mark.parametrize(
    ("cv2", "cut"),
    [
        pytest.param(0.25, 8, id="cut at 8x, realised CV2 0.25"),
        pytest.param(1.0, 8, id="cut at 8x, realised CV2 0.92"),
        pytest.param(2.0, 8, id="cut at 8x, realised CV2 1.48"),
        pytest.param(2.0, 32, id="cut at 32x, realised CV2 1.94"),
    ],
)
def test_p99_is_that_of_long_simulations(
    cv2: float, cut: float, servers: int, rho: float, request: pytest.FixtureRequest
) -> None:
    service = truncated_lognormal(1.0, cv2, cut)
    assert f"CV2 {service.cv2:.2f}-" in request.node.name
    _, latencies = simulated(cv2, cut, rho, servers)
    found = time_in_system_quantile_s(servers * rho / service.mean_s, service, servers)
    assert found == pytest.approx(quantile_of(latencies, 0.99), rel=0.08)


@pytest.mark.parametrize(("servers", "rho"), [(2, 0.7), (8, 0.85)])
def test_p99_is_that_of_the_simulator(servers: int, rho: float) -> None:
    rng = random.Random(2)
    texts = 1_000_000
    service = truncated_lognormal(1.0, 2.0, 8)
    rate = servers * rho / service.mean_s
    arrivals = Arrivals(poisson_times(rate, texts, rng), sampled_sizes(service, texts, rng))
    run = simulate(arrivals, Policy(servers=servers), rng)
    assert time_in_system_quantile_s(rate, service, servers) == pytest.approx(run.quantile_s(0.99), rel=0.08)
    assert mean_wait_s(rate, service, servers) == pytest.approx(run.mean_s() - service.mean_s, rel=0.08)


@pytest.mark.parametrize("servers", [2, 4, 8, 32])
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
def test_exponential_service_comes_out_exactly(servers: int, rho: float) -> None:
    # An exponential in many slices, each at its mean.
    edges = [-math.log1p(-k / 300) for k in range(300)]
    slices = [
        ((a + 1) * math.exp(-a) - (b + 1) * math.exp(-b)) / (math.exp(-a) - math.exp(-b))
        for a, b in pairwise(edges)
    ]
    service = from_weights(dict.fromkeys([*slices, edges[-1] + 1], 1.0))
    rate = servers * rho / service.mean_s
    tail = time_in_system_tail(rate, service, servers)
    for t_s in (0.5, 1.5, 3.5):
        exact = exponential_time_in_system_tail(rate, service.mean_s, servers, t_s)
        assert tail(t_s) == pytest.approx(exact, rel=0.015)
    assert mean_wait_s(rate, service, servers) == pytest.approx(
        erlang_c(servers, servers * rho) / (servers * (1 - rho)), rel=0.01
    )


@pytest.mark.parametrize("service", [constant(1.0), TWO, truncated_lognormal(1.0, 4.0, 32, 24)])
def test_one_server_is_exact(service: ServiceTimes) -> None:
    rate = 0.6 / service.mean_s
    assert time_in_system_quantile_s(rate, service, 1) == single_server.time_in_system_quantile_s(
        rate, service
    )
    assert mean_wait_s(rate, service, 1) == pytest.approx(single_server.mean_wait_s(rate, service))
    for t_s in (0.1, 2.0, 9.0):
        assert time_in_system_tail(rate, service, 1)(t_s) == single_server.time_in_system_tail(
            rate, service, t_s
        )


@pytest.mark.parametrize("servers", [replicas.MOST_EXACT, 64, 200])
@pytest.mark.parametrize("rho", [0.7, 0.9, 0.98])
def test_constant_service_beyond_the_exact_ones(
    servers: int, rho: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What stands in for the exact answer where that takes too long is within 2 % of it.
    monkeypatch.setattr(replicas, "MOST_EXACT", 500)
    exact = time_in_system_quantile_s(servers * rho, constant(1.0), servers)
    monkeypatch.setattr(replicas, "MOST_EXACT", 0)
    assert time_in_system_quantile_s(servers * rho, constant(1.0), servers) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(("servers", "rho"), [(2, 0.7), (4, 0.85), (8, 0.85)])
@pytest.mark.parametrize("cv2", [0.25, 1.0])
def test_the_interpolated_wait_is_good_where_service_varies_little(
    cv2: float, servers: int, rho: float
) -> None:
    service = truncated_lognormal(1.0, cv2, 8)
    waits, _ = simulated(cv2, 8, rho, servers)
    found = interpolated_wait_quantile_s(servers * rho / service.mean_s, service, servers)
    assert found == pytest.approx(quantile_of(waits, 0.99), rel=0.06)


def test_the_interpolated_wait_knows_no_long_tail() -> None:
    service = truncated_lognormal(1.0, 4.0, 32)
    rate = 2 * 0.7 / service.mean_s
    waits, latencies = simulated(4.0, 32, 0.7, 2)
    short = interpolated_wait_quantile_s(rate, service, 2) / quantile_of(waits, 0.99) - 1
    assert -0.15 < short < -0.05
    # The approximation that is used does.
    assert time_in_system_quantile_s(rate, service, 2) == pytest.approx(
        quantile_of(latencies, 0.99), rel=0.08
    )


@pytest.mark.parametrize("service", [constant(1.0), TWO, truncated_lognormal(1.0, 0.9, 8, 12)])
@pytest.mark.parametrize("servers", [2, 33, 1000, 100_000])
def test_no_extreme_blows_up(service: ServiceTimes, servers: int) -> None:
    found = [
        time_in_system_quantile_s(rho * servers / service.mean_s, service, servers)
        for rho in (0.0, 1e-12, 0.3, 0.9, 0.99, 0.9994, 0.9996, 1 - 1e-7, 1 - 1e-10)
    ]
    assert found[0] == service.quantile_s(0.99)
    assert all(math.isfinite(q) for q in found)
    # Where hardly anything waits, the switch to the asymptote may cost half a percent.
    assert all(b >= a * 0.995 for a, b in pairwise(found))
    limit = math.log(100) * (1 + service.cv2) / 2 * service.mean_s / servers
    assert found[-1] * 1e-10 == pytest.approx(limit, rel=0.01)


def test_overload_never_settles() -> None:
    for rate in (2.0, 3.0):
        assert time_in_system_quantile_s(rate, constant(1.0), 2) == math.inf
        assert mean_wait_s(rate, constant(1.0), 2) == math.inf
        assert interpolated_wait_quantile_s(rate, constant(1.0), 2) == math.inf
        assert time_in_system_tail(rate, constant(1.0), 2)(1e9) == 1
    assert time_in_system_quantile_s(0.5, constant(1.0), 2, 1.0) == math.inf


@given(lognormals, counts, loads, loads)
def test_p99_rises_with_load(service: ServiceTimes, servers: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(high - low > 0.05)
    quiet, busy = (
        time_in_system_quantile_s(rho * servers / service.mean_s, service, servers) for rho in (low, high)
    )
    assert service.quantile_s(0.99) <= quiet <= busy * 1.006


@given(lognormals, counts, st.integers(1, 10), st.floats(0.01, 0.98))
def test_more_servers_never_wait_longer(service: ServiceTimes, servers: int, more: int, rho: float) -> None:
    rate = servers * rho / service.mean_s
    few, many = (time_in_system_quantile_s(rate, service, count) for count in (servers, servers + more))
    assert many <= few * 1.006
    assert mean_wait_s(rate, service, servers + more) <= mean_wait_s(rate, service, servers)


@given(lognormals, counts, loads, st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_quantiles_rise(service: ServiceTimes, servers: int, rho: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    rate = servers * rho / service.mean_s
    quick, slow = (time_in_system_quantile_s(rate, service, servers, q) for q in (low, high))
    assert quick <= slow * 1.006
    assert quick >= service.quantile_s(low)


@given(lognormals, counts, loads, st.floats(1e-4, 1e4))
def test_units_of_time_do_not_matter(service: ServiceTimes, servers: int, rho: float, factor: float) -> None:
    rate = servers * rho / service.mean_s
    slower = time_in_system_quantile_s(rate / factor, service.scaled(factor), servers)
    assert slower == pytest.approx(factor * time_in_system_quantile_s(rate, service, servers), rel=1e-4)


@given(st.integers(1, 16), st.floats(1.1, 30), st.floats(1.1, 30), lognormals)
def test_a_looser_target_allows_more(servers: int, one: float, other: float, service: ServiceTimes) -> None:
    low, high = sorted((one, other))
    assume(high - low > 0.1)
    for chosen in (None, service):
        tight = largest_utilization(servers, low, service=chosen)
        assert 0 <= tight <= largest_utilization(servers, high, service=chosen) + 0.01 <= 1.01


def test_largest_utilization_meets_its_target() -> None:
    for service in (TWO, truncated_lognormal(2.0, 0.9, 8, 24)):
        for servers in (1, 3):
            rho = largest_utilization(servers, 9.0, service=service)
            rate = rho * servers / service.mean_s
            assert time_in_system_quantile_s(rate, service, servers) == pytest.approx(
                9 * service.mean_s, rel=1e-3
            )


def test_a_target_below_the_service_time_allows_nothing() -> None:
    assert largest_utilization(4, 0.9) == 0
    assert largest_utilization(4, 2.0, service=TWO) == 0


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="0 servers"):
        time_in_system_quantile_s(0.5, TWO, 0)
    with pytest.raises(InputError, match="arrivals per second: -1"):
        time_in_system_tail(-1.0, TWO, 2)
    with pytest.raises(InputError, match="quantile 2"):
        time_in_system_quantile_s(0.5, TWO, 2, 2.0)
    with pytest.raises(InputError, match="0 servers"):
        largest_utilization(0, 2.0)
    for multiple, quantile in ((0.0, 0.99), (math.inf, 0.99), (2.0, 1.0)):
        with pytest.raises(InputError, match="target of"):
            largest_utilization(2, multiple, quantile)
