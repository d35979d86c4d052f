"""M/G/1: against closed forms, against long simulations, and the properties that any queue has.

The simulations draw from the lognormal itself; the formulas see it in a few values. So what they are found to
be off contains what those values lose.
"""

from __future__ import annotations

import math
import random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drawn_arrivals import poisson_times, sampled_sizes
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.queueing import single_server
from farthing.theory.queueing.service_times import (
    ServiceTimes,
    constant,
    from_weights,
    truncated_lognormal,
)
from farthing.theory.queueing.single_server import (
    exponential_tail,
    exponential_tail_quantile_s,
    kingman_wait_s,
    mean_wait_s,
    tail_decay_per_s,
    time_in_system_quantile_s,
    time_in_system_tail,
    utilization,
    wait_tail,
)

Floats = npt.NDArray[np.float64]

TWO = from_weights({0.5: 0.9, 5.5: 0.1})
"""Many short texts and a few long ones: CV² 2.25."""

CHUNK = 2_000_000

lognormals = st.builds(
    truncated_lognormal,
    st.floats(1e-3, 1e2),
    st.floats(0.05, 4),
    st.floats(2, 32),
    st.integers(8, 24),
)
loads = st.floats(0.01, 0.98)


def lognormal_draws(rng: np.random.Generator, cv2: float, cut: float, texts: int) -> Floats:
    """Return lognormal service times of mean 1 before they are cut at `cut`."""
    sigma = math.sqrt(math.log1p(cv2))
    return np.minimum(np.exp(sigma * rng.standard_normal(texts) - sigma**2 / 2), cut)


def lindley(gaps_s: Floats, service_s: Floats) -> Floats:
    """Return the times in system: each text waits for what the walk of work minus gaps has above its lowest."""
    walk = np.concatenate([[0.0], np.cumsum(service_s[:-1] - gaps_s)])
    waits: Floats = walk - np.minimum.accumulate(walk)
    return waits + service_s


def wait_share_m_d_1(rho: float, t_s: float) -> float:
    """Return P(W ≤ t) at a service time of 1, as Erlang 1909 gave it: an alternating sum."""
    return (1 - rho) * math.fsum(
        (-rho * (t_s - k)) ** k / math.factorial(k) * math.exp(rho * (t_s - k))
        for k in range(math.floor(t_s) + 1)
    )


@pytest.mark.parametrize("rho", [0.05, 0.3, 0.7, 0.95])
def test_constant_service_is_erlangs_sum(rho: float) -> None:
    for t_s in (0.0, 0.3, 0.999, 1.001, 2.5, 6.2, 11.0):
        late = 1 - wait_share_m_d_1(rho, t_s)
        assert wait_tail(rho, constant(1.0), t_s) == pytest.approx(late, rel=1e-3, abs=2e-6)
        assert time_in_system_tail(rho, constant(1.0), t_s + 1) == pytest.approx(late, rel=2e-3, abs=5e-5)


@pytest.mark.parametrize("service", [TWO, constant(1.0), truncated_lognormal(1.0, 0.9, 8, 24)])
@pytest.mark.parametrize("rho", [0.1, 0.6, 0.9])
def test_tails_integrate_to_the_mean(service: ServiceTimes, rho: float) -> None:
    rate = rho / service.mean_s
    # The midpoint rule is off by up to half a step at the jumps.
    end, steps = 25 / tail_decay_per_s(rate, service), 1500
    middles = [end * (k + 0.5) / steps for k in range(steps)]
    wait_s = math.fsum(wait_tail(rate, service, t) for t in middles) * end / steps
    total_s = math.fsum(time_in_system_tail(rate, service, t) for t in middles) * end / steps
    assert wait_s == pytest.approx(mean_wait_s(rate, service), rel=2e-3)
    assert total_s == pytest.approx(wait_s + service.mean_s, rel=1e-3, abs=end / steps / 2)


def test_time_in_system_is_wait_plus_service() -> None:
    rate = 0.7 / TWO.mean_s
    for t_s in (0.7, 3.1, 5.8, 12.0):
        mixed = sum(
            p * (wait_tail(rate, TWO, t_s - d) if t_s >= d else 1)
            for d, p in zip(TWO.seconds, TWO.probabilities, strict=True)
        )
        assert time_in_system_tail(rate, TWO, t_s) == pytest.approx(mixed, rel=1e-3)


def test_pollaczek_khinchine_and_kingman() -> None:
    # M/M/1 waits ρ/(1−ρ); M/D/1 half of it; Kingman is both where arrivals are Poisson.
    assert mean_wait_s(0.5, constant(1.0)) == pytest.approx(0.5)
    assert kingman_wait_s(0.5, constant(1.0), 1.0) == pytest.approx(0.5)
    assert kingman_wait_s(0.3, TWO, 1.0) == pytest.approx(mean_wait_s(0.3, TWO))
    assert kingman_wait_s(0.3, TWO, 5.0) == pytest.approx(mean_wait_s(0.3, TWO) * (5 + 2.25) / (1 + 2.25))
    assert mean_wait_s(1.0, constant(1.0)) == kingman_wait_s(1.0, constant(1.0), 1.0) == math.inf


CELLS = [
    pytest.param(cv2, cut, rho, id=f"cut at {cut}x, realised CV2 {realised}, rho {rho}")
    for cv2, cut, realised in ((0.9, 8, "0.84"), (0.9, 32, "0.90"), (4.0, 8, "2.11"), (4.0, 32, "3.42"))
    for rho in (0.3, 0.5, 0.7, 0.85)
]


@pytest.mark.parametrize(("cv2", "cut", "rho"), CELLS)
def test_p99_is_that_of_long_simulations(
    cv2: float, cut: float, rho: float, request: pytest.FixtureRequest
) -> None:
    rng = np.random.default_rng(7)
    service = truncated_lognormal(1.0, cv2, cut)
    assert f"CV2 {service.cv2:.2f}," in request.node.name
    # Sampling noise of the 99th percentile at ρ = .85 is about 1 % over 8M texts.
    runs = 1 if rho <= 0.5 else 4
    latencies = []
    for _ in range(runs):
        draws = lognormal_draws(rng, cv2, cut, CHUNK)
        assert draws.var() / draws.mean() ** 2 == pytest.approx(service.cv2, rel=0.02)
        latencies.append(lindley(rng.exponential(service.mean_s / rho, CHUNK - 1), draws))
    pooled = np.concatenate(latencies)
    simulated = np.partition(pooled, int(0.99 * len(pooled)))[int(0.99 * len(pooled))]
    assert time_in_system_quantile_s(rho / service.mean_s, service) == pytest.approx(simulated, rel=0.03)


def test_p99_is_that_of_the_simulator_and_the_simulator_is_lindleys_recursion() -> None:
    rng = random.Random(3)
    service = truncated_lognormal(1.0, 0.9, 8)
    rate = 0.7 / service.mean_s
    arrivals = Arrivals(poisson_times(rate, CHUNK, rng), sampled_sizes(service, CHUNK, rng))
    simulated = simulate(arrivals, Policy(), rng)
    expected = lindley(np.diff(np.array(arrivals.times_s)), np.array(arrivals.sizes))
    assert np.allclose(simulated.latencies_s, expected, rtol=0, atol=1e-6)
    assert time_in_system_quantile_s(rate, service) == pytest.approx(simulated.quantile_s(0.99), rel=0.03)
    assert mean_wait_s(rate, service) == pytest.approx(simulated.mean_s() - service.mean_s, rel=0.03)


@pytest.mark.parametrize(
    ("cv2", "cut", "rho", "low", "high"),
    [
        # From ρ = .7 on the shortcut is within 1 %.
        (0.9, 8, 0.7, -0.01, 0.01),
        (0.9, 32, 0.7, -0.01, 0.01),
        (0.9, 32, 0.85, -0.001, 0.001),
        (4.0, 32, 0.7, -0.01, 0.01),
        # Below, a long tail of service times makes it useless.
        (0.9, 32, 0.5, 0.05, 0.11),
        (0.9, 32, 0.3, 0.2, 0.3),
    ],
)
def test_exponential_tail_is_a_shortcut_for_high_load_only(
    cv2: float, cut: float, rho: float, low: float, high: float
) -> None:
    service = truncated_lognormal(1.0, cv2, cut)
    rate = rho / service.mean_s
    off = exponential_tail_quantile_s(rate, service) / time_in_system_quantile_s(rate, service) - 1
    assert low < off < high


def test_exponential_tail_is_the_limit() -> None:
    rate = 0.8 / TWO.mean_s
    eta, constant_share = exponential_tail(rate, TWO)
    assert wait_tail(rate, TWO, 60.0) == pytest.approx(constant_share * math.exp(-eta * 60), rel=1e-3)
    moment = sum(p * math.exp(eta * d) for d, p in zip(TWO.seconds, TWO.probabilities, strict=True))
    assert rate * (moment - 1) == pytest.approx(eta, rel=1e-10)


@pytest.mark.parametrize("service", [constant(1.0), TWO, truncated_lognormal(1.0, 4.0, 32, 24)])
def test_nearly_full_servers_follow_the_same_law(service: ServiceTimes) -> None:
    # (1−ρ)·p99 has a limit. An inversion would lose it: at ρ = 1 − 1e-6 it was 6 % off, at 1 − 1e-7, 28 %.
    scaled = [
        empty * time_in_system_quantile_s((1 - empty) / service.mean_s, service)
        for empty in (1e-3, 6e-4, 4e-4, 1e-5, 1e-7, 1e-9, 1e-11)
    ]
    limit = math.log(100) * (1 + service.cv2) / 2 * service.mean_s
    assert scaled == pytest.approx([limit] * len(scaled), rel=5e-3)
    switch = single_server.NEARLY_FULL
    tails = [
        time_in_system_tail(rho / service.mean_s, service, 4000.0) for rho in (switch - 1e-9, switch + 1e-9)
    ]
    assert tails[0] == pytest.approx(tails[1], rel=1e-4)


@pytest.mark.parametrize("service", [constant(1.0), TWO])
@pytest.mark.parametrize("rate", [0.0, 1e-300, 1e-160, 1e-12])
def test_without_load_there_is_only_service(service: ServiceTimes, rate: float) -> None:
    for quantile in (0.0, 0.5, 0.95, 0.99):
        assert time_in_system_quantile_s(rate, service, quantile) == service.quantile_s(quantile)
    assert wait_tail(rate, service, 0.1) <= rate * service.mean_s
    assert mean_wait_s(rate, service) <= 10 * rate


def test_a_quantile_at_a_jump_is_the_jump() -> None:
    # 1 % of the texts take 100 s. At ρ = 1e-4 slightly more than that are late before 100 s, and fewer after.
    service = from_weights({0.1: 0.99, 100.0: 0.01})
    assert time_in_system_quantile_s(1e-4 / service.mean_s, service) == 100.0


def test_overload_never_settles() -> None:
    for rate in (1.0, 1.5):
        assert time_in_system_quantile_s(rate, constant(1.0)) == math.inf
        assert wait_tail(rate, constant(1.0), 1e9) == time_in_system_tail(rate, constant(1.0), 1e9) == 1
        assert tail_decay_per_s(rate, constant(1.0)) == 0
        assert exponential_tail_quantile_s(rate, constant(1.0)) == math.inf
    assert time_in_system_quantile_s(0.5, constant(1.0), 1.0) == math.inf


@given(lognormals, loads, loads)
def test_p99_rises_with_load(service: ServiceTimes, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(high - low > 0.01)
    quiet, busy = (time_in_system_quantile_s(rho / service.mean_s, service) for rho in (low, high))
    assert service.quantile_s(0.99) <= quiet <= busy


@given(lognormals, loads, st.floats(0.5, 0.9999), st.floats(0.5, 0.9999))
def test_quantiles_rise(service: ServiceTimes, rho: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(high - low > 0.001 * (1 - low))
    rate = rho / service.mean_s
    assert time_in_system_quantile_s(rate, service, low) <= time_in_system_quantile_s(rate, service, high)


@given(lognormals, loads, st.floats(1e-4, 1e4))
def test_units_of_time_do_not_matter(service: ServiceTimes, rho: float, factor: float) -> None:
    rate = rho / service.mean_s
    slower = time_in_system_quantile_s(rate / factor, service.scaled(factor))
    assert slower == pytest.approx(factor * time_in_system_quantile_s(rate, service), rel=1e-4)


@given(lognormals, loads, st.floats(0.0, 20.0))
def test_tails_are_probabilities_in_order(service: ServiceTimes, rho: float, multiple: float) -> None:
    rate, t_s = rho / service.mean_s, multiple * service.mean_s
    assert utilization(rate, service) == pytest.approx(rho)
    assert 0 <= wait_tail(rate, service, t_s) <= time_in_system_tail(rate, service, t_s) + 1e-6 <= 1 + 1e-6


def test_bad_arguments_are_named() -> None:
    for rate in (-1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="arrivals per second"):
            utilization(rate, TWO)
    with pytest.raises(InputError, match="CV² of the arrivals"):
        kingman_wait_s(0.5, TWO, -1.0)
    with pytest.raises(InputError, match="above 0"):
        tail_decay_per_s(0.0, TWO)
    with pytest.raises(InputError, match="below 1"):
        exponential_tail(2.0, TWO)
    with pytest.raises(InputError, match="quantile 2"):
        time_in_system_quantile_s(0.1, TWO, 2.0)
    with pytest.raises(InputError, match="give at most"):
        time_in_system_quantile_s(0.1, TWO, 1 - 1e-9)
    with pytest.raises(InputError, match="quantile 1"):
        exponential_tail_quantile_s(0.1, TWO, 1.0)
