"""A trace played through planned replicas, and a fleet that follows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farthing.planning.answer import Following, PlanDemand
from farthing.planning.asked.trace import Trace
from farthing.planning.devices.candidate import Candidate
from farthing.planning.filling import filled
from farthing.planning.replay import followed, replayed
from farthing.planning.rows import Served, fewest_replicas, plan_rows
from farthing.theory.lengths import fixed_length

MakeCandidate = Callable[..., Candidate]
MakeDemand = Callable[..., PlanDemand]


def trace_of(rates: list[int], tokens: int = 300) -> Trace:
    """Return evenly spaced arrivals, so many a second in each minute."""
    times = [60.0 * minute + k / rate for minute, rate in enumerate(rates) for k in range(60 * rate)]
    return Trace(tuple(times), (tokens,) * len(times), "here")


@pytest.fixture
def best(make_candidate: MakeCandidate, make_demand: MakeDemand) -> Served:
    return plan_rows([make_candidate()], make_demand(5.0), fixed_length(300))[0]


def test_even_arrivals_keep_the_target_and_a_burst_does_not(best: Served, make_demand: MakeDemand) -> None:
    demand = make_demand(5.0)
    calm = replayed(best, trace_of([5, 5]), demand, None)
    assert calm is not None
    assert calm.keeps_target
    assert calm.replicas_needed == calm.replicas == 1
    at_once = Trace((*(0.1 * k for k in range(200)), *[21.0] * 400), (300,) * 600, "here")
    burst = replayed(best, at_once, demand, None)
    assert burst is not None
    assert not burst.keeps_target
    assert burst.replicas_needed is not None
    assert burst.replicas_needed > 1


def test_lengths_that_the_plan_did_not_know_are_played(best: Served, make_demand: MakeDemand) -> None:
    longer = replayed(best, trace_of([2], 3000), make_demand(5.0), None)
    usual = replayed(best, trace_of([2]), make_demand(5.0), None)
    assert longer is not None
    assert usual is not None
    assert longer.p99_s > 3 * usual.p99_s


def test_texts_that_can_wait_are_left_out(best: Served, make_demand: MakeDemand) -> None:
    demand = make_demand(5.0, batch_share=0.5)
    idle, served = filled(best, demand)
    half = replayed(served, trace_of([20, 20]), demand, idle)
    assert half is not None
    assert half.texts == pytest.approx(1200, rel=0.1)


def fleet(best: Served, rates: list[int], demand: PlanDemand) -> Following:
    found = followed(best, trace_of(rates), demand)
    assert found is not None
    return found


def test_a_fleet_follows_the_load_a_cold_start_ahead(best: Served, make_demand: MakeDemand) -> None:
    """Three minutes ahead: the three before a busy one are as dear as it is. The last minute is not a whole one."""
    demand = make_demand(5.0)
    busy = fewest_replicas(best.station, 1500, demand.p99_s)
    assert busy is not None
    assert busy > 1
    found = fleet(best, [1, 1, 1, 1, 1, 1, 1500, 1, 1, 1], demand)
    assert (found.replicas_least, found.replicas_most) == (1, busy)
    assert found.replicas_mean == pytest.approx((5 + 4 * busy) / 9)


def test_a_steady_load_takes_a_steady_fleet(best: Served, make_demand: MakeDemand) -> None:
    found = fleet(best, [5, 5, 5], make_demand(5.0))
    assert found.replicas_least == found.replicas_mean == found.replicas_most == 1
    assert found.utilization == pytest.approx(5 * best.station.text_s, rel=0.01)


def test_a_target_that_no_fleet_keeps_has_no_fleet(best: Served, make_demand: MakeDemand) -> None:
    assert followed(best, trace_of([5]), make_demand(5.0, p99_s=1e-4)) is None


def test_a_single_text_that_cannot_wait_is_no_trace(best: Served, make_demand: MakeDemand) -> None:
    assert replayed(best, Trace((0.0,), (300,), "here"), make_demand(5.0), None) is None
