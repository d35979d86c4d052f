"""Servers of batches on one queue: beside the simulator, and at the ends that are known."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn_arrivals import poisson_times, sampled_sizes
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.queueing.decay import local_decay
from farthing.theory.queueing.service_times import ServiceTimes, constant
from farthing.theory.queueing.shared_batches import SharedBatches

TEXTS = 60_000
EQUAL = constant(1.0)
LIKE = ServiceTimes(tuple(0.5 + 0.1 * k for k in range(11)), (1 / 11,) * 11)
UNLIKE = ServiceTimes((0.3, 0.6, 1.0, 2.0, 4.3), (0.25, 0.35, 0.2, 0.15, 0.05))


def step_s(cap: int, flat: float, size: float) -> float:
    """Overhead of a nineteenth of a full step; time that grows with the sizes, but not below `flat` of them."""
    return (cap / 19 + max(flat, size)) / (20 / 19)


def of_sizes(cap: int, flat: float, sizes: ServiceTimes) -> SharedBatches:
    shares: dict[float, float] = {}
    for size, share in zip(sizes.seconds, sizes.probabilities, strict=True):
        seconds = step_s(cap, flat, size)
        shares[seconds] = shares.get(seconds, 0.0) + share
    alone = ServiceTimes(tuple(shares), tuple(shares.values()))
    return SharedBatches(lambda texts: step_s(cap, flat, texts), cap, alone, sizes)


@pytest.mark.parametrize("rho", [0.35, 0.7, 0.85])
@pytest.mark.parametrize("servers", [2, 4, 12])
@pytest.mark.parametrize(
    ("cap", "flat", "sizes"),
    [(4, 0.0, EQUAL), (8, 0.0, LIKE), (32, 0.0, UNLIKE), (16, 10.0, LIKE), (32, 20.0, UNLIKE)],
    ids=["few", "some", "many of any size", "some at no cost", "many at no cost"],
)
def test_quantiles_are_near_the_simulators(
    cap: int, flat: float, sizes: ServiceTimes, servers: int, rho: float
) -> None:
    """Nine in ten of 900 cells are within −17 to +13 %, and all of these within 20 %."""
    rng = random.Random(7)
    arrivals = Arrivals(poisson_times(rho * servers, TEXTS, rng), sampled_sizes(sizes, TEXTS, rng))
    policy = Policy(servers=servers, max_batch_texts=cap, max_batch_size=cap, takes="share")
    done = simulate(arrivals, policy, rng, lambda batch: step_s(cap, flat, sum(batch)))
    queue = of_sizes(cap, flat, sizes)
    for quantile, low, high in ((0.99, 0.8, 1.2), (0.5, 0.8, 1.2)):
        assert low < queue.quantile_s(rho * servers, servers, quantile) / done.quantile_s(quantile) < high


def test_a_text_that_meets_idle_servers_takes_its_own_step() -> None:
    queue = of_sizes(8, 0.0, UNLIKE)
    alone = sorted(step_s(8, 0.0, size) for size in UNLIKE.seconds)
    assert queue.quantile_s(1e-6, 4, 0.99) == pytest.approx(alone[-1], rel=1e-3)
    assert queue.quantile_s(1e-6, 4, 0.2) == pytest.approx(alone[0], rel=1e-3)


def test_more_than_full_steps_can_do_takes_for_ever() -> None:
    queue = of_sizes(8, 0.0, EQUAL)
    assert queue.quantile_s(4.001, 4) == inf
    assert queue.quantile_s(3.9, 4) < inf
    assert queue.utilization(2.0, 4) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(cap=st.integers(1, 300), flat=st.floats(0, 0.9), servers=st.integers(2, 40), rho=st.floats(0.05, 0.9))
def test_more_texts_take_no_less(cap: int, flat: float, servers: int, rho: float) -> None:
    """But for 2.2 % at worst, of 2,500 cells: where a step begins to grow with its texts, the starts spread less."""
    queue = of_sizes(cap, flat * cap, EQUAL)
    fewer, more = (queue.quantile_s(load * servers, servers, 0.99) for load in (rho, 1.08 * rho))
    assert more >= fewer * 0.96


@given(st.floats(1e-3, 50))
def test_the_local_decay_solves_its_equation(rho: float) -> None:
    from math import expm1, log

    x = local_decay(log(rho))
    assert (x > 0) == (rho < 1) or abs(rho - 1) < 1e-4
    assert rho * expm1(x) == pytest.approx(x, rel=5e-3, abs=1e-4)


def test_arguments_that_mean_nothing_are_refused() -> None:
    queue = of_sizes(4, 0.0, EQUAL)
    for rate, servers, quantile in ((0.0, 2, 0.9), (1.0, 1, 0.9), (1.0, 2, 1.0)):
        with pytest.raises(InputError, match="give at least two servers"):
            queue.quantile_s(rate, servers, quantile)
    with pytest.raises(InputError, match="largest batch of 0"):
        SharedBatches(lambda _: 1.0, 0, EQUAL, EQUAL)
    with pytest.raises(InputError, match="a step takes 0"):
        SharedBatches(lambda _: 0.0, 3, EQUAL, EQUAL)
