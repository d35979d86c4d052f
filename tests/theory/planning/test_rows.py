"""Rows of a plan: the fewest replicas that keep the target, priced and ranked; and their idle time filled."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drawn_arrivals import poisson_times
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.lengths import LengthDistribution, fixed_length, profile_lengths
from farthing.theory.planning.candidate import Candidate
from farthing.theory.planning.filling import fill, filled
from farthing.theory.planning.plan import PlanDemand, PlanRow
from farthing.theory.planning.rows import plan_rows
from farthing.theory.planning.sensitivity import QuoteSpread, sensitivity
from farthing.theory.planning.waiting import SHARED_ERROR
from farthing.theory.pricing import DAYS_PER_MONTH, SPOT_TERMS

MakeCandidate = Callable[..., Candidate]
MakeDemand = Callable[..., PlanDemand]

TEXTS = fixed_length(300)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def one(rows: tuple[PlanRow, ...], device: str = "d", routing: str = "shared") -> PlanRow:
    return next(row for row in rows if (row.device, row.routing) == (device, routing))


@pytest.mark.parametrize("routing", ["shared", "random"])
@pytest.mark.parametrize("rate", [5.0, 100.0, 400.0, 3000.0])
@pytest.mark.parametrize("lengths", [fixed_length(60), fixed_length(2000), profile_lengths("abstracts")])
def test_one_replica_less_would_miss_the_target(
    make_candidate: MakeCandidate,
    make_demand: MakeDemand,
    routing: str,
    rate: float,
    lengths: LengthDistribution,
) -> None:
    demand = make_demand(rate, mean=lengths.mean, p99_s=0.15)
    rows, queues = plan_rows([make_candidate()], demand, lengths)
    row = one(rows, routing=routing)
    assert row.feasible, row.reason
    assert row.replicas is not None
    assert row.p99_s is not None
    replica = queues["d", False]
    assert row.p99_s <= demand.p99_s
    assert (
        row.p99_s == replica.time_in_system(demand.peak_texts_per_s, row.replicas, row.routing, 0.99).seconds
    )
    if row.replicas > 1:
        fewer = replica.time_in_system(demand.peak_texts_per_s, row.replicas - 1, row.routing, 0.99)
        doubt_s = (
            SHARED_ERROR * (fewer.seconds - replica.station.lone_s(0.99)) if routing == "shared" else 0.0
        )
        assert fewer.seconds + doubt_s > demand.p99_s


def test_price_follows_from_replicas(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    demand = make_demand(300.0)
    row = one(plan_rows([make_candidate(usd=1.5)], demand, TEXTS)[0])
    assert row.replicas is not None
    assert row.usd_per_million_tokens is not None
    tokens_per_hour = 300.0 * 300 * 3600
    assert row.usd_per_million_tokens.mid == pytest.approx(row.replicas * 1.5 / tokens_per_hour * 1e6)
    assert row.usd_per_month == pytest.approx(row.replicas * 1.5 * 24 * DAYS_PER_MONTH)
    assert row.utilization == pytest.approx(300.0 * 300 / (row.replicas * row.tokens_per_s))
    assert row.utilization is not None
    assert row.peak_utilization == pytest.approx(2 * row.utilization)


def test_shared_queue_never_takes_more_replicas(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    for rate in (10.0, 150.0, 900.0):
        rows, _ = plan_rows([make_candidate()], make_demand(rate), TEXTS)
        shared, alone = one(rows), one(rows, routing="random")
        assert shared.replicas is not None
        assert alone.replicas is not None
        assert shared.replicas <= alone.replicas


@FEW
@given(st.floats(1, 2000), st.floats(1, 1.5), st.sampled_from(["shared", "random"]))
def test_p99_rises_with_load(
    make_candidate: MakeCandidate, make_demand: MakeDemand, rate: float, more: float, routing: str
) -> None:
    _, queues = plan_rows([make_candidate()], make_demand(rate), TEXTS)
    count = 8
    light, heavy = (
        queues["d", False].time_in_system(r, count, "shared" if routing == "shared" else "random", 0.99)
        for r in (rate, rate * more)
    )
    assert light.seconds <= heavy.seconds * (1 + 1e-4)


@FEW
@given(st.floats(1, 3000), st.floats(1, 3))
def test_more_tokens_never_cost_less(
    make_candidate: MakeCandidate, make_demand: MakeDemand, rate: float, more: float
) -> None:
    for routing in ("shared", "random"):
        bills = [
            one(plan_rows([make_candidate()], make_demand(r), TEXTS)[0], routing=routing).usd_per_month
            for r in (rate, rate * more)
        ]
        assert bills[0] is not None
        assert bills[1] is not None
        assert bills[0] <= bills[1]


@FEW
@given(
    rate=st.floats(1, 2000),
    peak=st.floats(50e12, 2000e12),
    share=st.floats(0.4, 0.8),
    bandwidth=st.floats(0.3e12, 5e12),
    faster=st.tuples(st.floats(1, 4), st.floats(1, 1.25), st.floats(1, 4)),
    length=st.sampled_from([30, 300, 1500]),
)
def test_a_device_with_more_of_everything_is_never_ranked_worse(
    make_candidate: MakeCandidate,
    make_demand: MakeDemand,
    rate: float,
    peak: float,
    share: float,
    bandwidth: float,
    faster: tuple[float, float, float],
    length: int,
) -> None:
    slow = make_candidate("slow", peak=peak, share=share, bandwidth=bandwidth)
    fast = make_candidate(
        "fast", peak=peak * faster[0], share=share * faster[1], bandwidth=bandwidth * faster[2]
    )
    demand = make_demand(rate, mean=length)
    rows, _ = plan_rows([slow, fast], demand, fixed_length(length))
    for routing in ("shared", "random"):
        worse, better = one(rows, "slow", routing), one(rows, "fast", routing)
        if worse.feasible:
            assert better.feasible, better.reason
            assert better.usd_per_month is not None
            assert worse.usd_per_month is not None
            assert better.usd_per_month <= worse.usd_per_month
            assert better.usd_per_million_tokens is not None
            assert worse.usd_per_million_tokens is not None
            assert better.usd_per_million_tokens.mid <= worse.usd_per_million_tokens.mid


def test_rows_are_in_order_of_cost_and_infeasible_ones_last(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidates = [
        make_candidate("dear", usd=9.0),
        make_candidate("small", memory=1e9),
        make_candidate("cheap", usd=0.3),
    ]
    rows, _ = plan_rows(candidates, make_demand(), TEXTS)
    assert [row.device for row in rows] == ["cheap", "cheap", "dear", "dear", "small", "small"]
    assert rows[-1].reason is not None
    assert "does not fit" in rows[-1].reason
    assert rows[-1].usd_per_million_tokens is None


def test_a_target_below_a_lone_text_cannot_be_kept(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    row = one(plan_rows([make_candidate()], make_demand(p99_s=0.002), TEXTS)[0])
    assert not row.feasible
    assert row.reason is not None
    assert "meets an idle device" in row.reason
    assert (row.replicas, row.p99_s, row.usd_per_month) == (None, None, None)


def test_a_budget_makes_a_row_infeasible_and_says_the_price(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    row = one(plan_rows([make_candidate(usd=2.0)], make_demand(3000.0), TEXTS, max_usd_per_hour=2.0)[0])
    assert not row.feasible
    assert row.replicas is not None
    assert row.reason is not None
    assert f"{row.replicas} replicas" in row.reason
    assert "$2.00" in row.reason


def test_spot_pays_for_interruptions(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    demand = make_demand()
    plain = one(plan_rows([make_candidate()], demand, TEXTS)[0])
    spot = one(plan_rows([make_candidate(spot=True)], demand, TEXTS)[0])
    assert plain.usd_per_month is not None
    assert spot.usd_per_month == pytest.approx(plain.usd_per_month / SPOT_TERMS.useful_share)


def test_texts_that_can_wait_do_not_count_at_the_peak(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    all_now = one(plan_rows([make_candidate()], make_demand(2000.0, peak=4.0), TEXTS)[0])
    half = one(plan_rows([make_candidate()], make_demand(2000.0, peak=4.0, batch_share=0.5), TEXTS)[0])
    assert all_now.replicas is not None
    assert half.replicas is not None
    assert half.replicas < all_now.replicas
    assert half.utilization is not None
    assert half.utilization < 1


def test_a_row_with_work_that_can_wait_has_room_for_its_steps(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    demand = make_demand(400.0, batch_share=0.4, p99_s=0.1)
    rows, queues = plan_rows([make_candidate()], demand, TEXTS)
    row = one(rows)
    assert row.replicas is not None
    step = fill(queues["d", False], demand, row.replicas, "shared")
    assert step is not None
    assert row.p99_s == step.p99_s <= demand.p99_s * (1 + 1e-9)
    assert step.batch_tokens_per_s == pytest.approx(0.4 * 400 * 300)
    assert fill(queues["d", False], demand, row.replicas - 1, "shared") is None
    result = filled(row, queues["d", False], make_candidate(), demand)
    assert result is not None
    assert result.replicas == row.replicas
    assert row.usd_per_million_tokens is not None
    assert result.usd_per_million_tokens == pytest.approx(row.usd_per_million_tokens.mid)
    all_online = one(plan_rows([make_candidate()], make_demand(400.0, p99_s=0.1), TEXTS)[0])
    assert result.replicas_before == all_online.replicas


def test_work_that_finds_no_step_makes_a_row_infeasible(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidate = make_candidate()
    lone = plan_rows([candidate], make_demand(), TEXTS)[1]["d", False].station.lone_s(0.99)
    row = one(plan_rows([candidate], make_demand(1.0, p99_s=1.01 * lone, batch_share=0.5), TEXTS)[0])
    assert not row.feasible
    assert "no step of the batch work" in (row.reason or "")


def test_slower_steps_take_no_second_replica_where_one_has_room(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    row = one(plan_rows([make_candidate(spread=1.2)], make_demand(1.0), TEXTS)[0])
    assert row.replicas == 1
    assert row.usd_per_million_tokens is not None
    assert row.usd_per_million_tokens.high == pytest.approx(1.2 * row.usd_per_million_tokens.mid)


@pytest.mark.parametrize("rate", [60.0, 400.0])
@pytest.mark.parametrize("length", [60, 1000])
def test_batched_p99_on_random_replicas_is_that_of_the_simulator(
    make_candidate: MakeCandidate, make_demand: MakeDemand, rate: float, length: int
) -> None:
    """And on a shared queue within the error of the approximation."""
    lengths = fixed_length(length)
    rows, queues = plan_rows([make_candidate()], make_demand(rate, mean=length, p99_s=0.25), lengths)
    replica = queues["d", False].station
    texts = 200_000
    for routing in ("shared", "random"):
        row = one(rows, routing=routing)
        assert row.replicas is not None
        assert row.p99_s is not None
        policy = Policy(
            servers=row.replicas,
            routing="shared" if routing == "shared" else "random",
            max_batch_texts=replica.largest_batch,
            takes="share",
        )
        rng = random.Random(1)
        arrivals = Arrivals(poisson_times(2 * rate, texts, rng), [float(length)] * texts)
        done = simulate(arrivals, policy, rng, lambda sizes: replica.batch_s(len(sizes)))
        simulated = done.quantile_s(0.99) + replica.host.lone_s(length)
        if routing == "random":
            assert row.p99_s == pytest.approx(simulated, rel=0.05)
        else:
            assert simulated * 0.85 <= row.p99_s <= simulated * 1.25


def test_filling_idle_time_cuts_the_price_and_keeps_the_target(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidate, demand = make_candidate(), make_demand(100.0)
    rows, queues = plan_rows([candidate], demand, TEXTS)
    result = filled(one(rows), queues["d", False], candidate, demand)
    assert result is not None
    assert result.p99_before_s < result.p99_s <= demand.p99_s * (1 + 1e-9)
    assert result.usd_per_million_tokens < result.usd_per_million_tokens_before
    assert 0 < result.efficiency <= 1
    assert result.utilization <= 1
    assert result.batch_tokens_per_day > 0


@pytest.mark.parametrize(("routing", "rate"), [("random", 60.0), ("shared", 400.0), ("shared", 250.0)])
def test_the_p99_beside_batch_work_is_an_upper_bound_for_the_simulator(
    make_candidate: MakeCandidate,
    make_demand: MakeDemand,
    routing: Literal["shared", "random"],
    rate: float,
) -> None:
    """On a shared queue too, whose percentile is only approximated."""
    candidate, demand = make_candidate(), make_demand(rate)
    rows, queues = plan_rows([candidate], demand, TEXTS)
    replica = queues["d", False].station
    result = filled(one(rows, routing=routing), queues["d", False], candidate, demand)
    assert result is not None
    assert routing == "random" or result.replicas > 1
    texts, rng = 100_000, random.Random(2)
    policy = Policy(
        servers=result.replicas,
        routing=routing,
        takes="share" if routing == "shared" else "all",
        max_batch_texts=replica.largest_batch,
        filler_step_s=result.filler_step_s,
    )
    arrivals = Arrivals(poisson_times(demand.peak_texts_per_s, texts, rng), [300.0] * texts)
    done = simulate(arrivals, policy, rng, lambda sizes: replica.batch_s(len(sizes)))
    assert done.quantile_s(0.99) + replica.host.lone_s(300) <= result.p99_s
    assert done.filler_share > 0.1


def test_no_room_for_a_batch_step_is_said(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    """A target that a lone text just keeps leaves none, whatever the replicas."""
    candidate = make_candidate()
    lone = plan_rows([candidate], make_demand(), TEXTS)[1]["d", False].station.lone_s(0.99)
    demand = make_demand(0.01, p99_s=1.001 * lone)
    rows, queues = plan_rows([candidate], demand, TEXTS)
    assert one(rows).feasible
    assert filled(one(rows), queues["d", False], candidate, demand) is None


def test_an_order_flips_when_the_spreads_overlap(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidates = [
        make_candidate("h100-sxm", usd=1.0, spread=1.3),
        make_candidate("rtx-4090", usd=1.2, spread=1.3),
        make_candidate("far", usd=9.0, spread=1.1),
    ]
    pairs = {
        (pair.device, pair.against): pair
        for pair in sensitivity(
            plan_rows(candidates, make_demand(), TEXTS)[0],
            {"far": QuoteSpread(low=1.2, high=9.9, since="2026-02-01")},
        )
    }
    near, far = pairs["h100-sxm", "rtx-4090"], pairs["h100-sxm", "far"]
    assert near.ratio == pytest.approx(1.2)
    assert near.fresh.low == pytest.approx(1.2 / 1.3**2)
    assert near.fresh.high == pytest.approx(1.2 * 1.3**2)
    assert near.fresh.flips
    assert near.newest == near.fresh  # no others are known
    assert near.newest_since == "2026-11-21"
    assert not far.fresh.flips
    assert far.newest.flips  # $1.20 once, against $1.30
    assert far.newest.low == pytest.approx(1.2 / 1.3)
    assert far.newest_since == "2026-02-01"


def test_the_articles_pair_is_compared_wherever_it_ranks(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    names = ["a", "b", "c", "e", "f", "g", "rtx-4090", "h100-sxm"]
    candidates = [make_candidate(name, usd=1.0 + place) for place, name in enumerate(names)]
    pairs = [
        (pair.device, pair.against)
        for pair in sensitivity(plan_rows(candidates, make_demand(), TEXTS)[0], {}, most=2)
    ]
    assert pairs == [("a", "b"), ("a", "c"), ("rtx-4090", "h100-sxm")]


def test_infeasible_rows_are_not_compared(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    rows, _ = plan_rows([make_candidate(memory=1e9), make_candidate("e")], make_demand(), TEXTS)
    assert sensitivity(rows, {}) == ()
    assert sensitivity([replace(row, feasible=False) for row in rows], {}) == ()
