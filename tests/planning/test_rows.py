"""Rows: the fewest replicas by the simulator, their price, and what sets their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.planning.answer import PlanDemand, PlanRow
from farthing.planning.devices.candidate import Candidate
from farthing.planning.filling import fill, filled
from farthing.planning.replicas.station import station
from farthing.planning.replicas.waiting import simulated
from farthing.planning.rows import SIMULATED_ROWS, Served, fewest_replicas, plan_rows
from farthing.planning.verdict import order_of
from farthing.theory.host import SERVERS
from farthing.theory.lengths import LengthDistribution, fixed_length, profile_lengths
from farthing.theory.pricing import DAYS_PER_MONTH, SPOT_TERMS

MakeCandidate = Callable[..., Candidate]
MakeDemand = Callable[..., PlanDemand]

TEXTS = fixed_length(300)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def only(served: list[Served]) -> PlanRow:
    (one,) = served
    return one.row


@pytest.mark.parametrize("rate", [5.0, 100.0, 400.0])
@pytest.mark.parametrize("lengths", [fixed_length(60), fixed_length(2000), profile_lengths("abstracts")])
def test_one_replica_less_would_miss_the_target(
    make_candidate: MakeCandidate, make_demand: MakeDemand, rate: float, lengths: LengthDistribution
) -> None:
    demand = make_demand(rate, mean=lengths.mean, p99_s=0.15)
    (one,) = plan_rows([make_candidate()], demand, lengths)
    row = one.row
    assert row.feasible, row.reason
    assert row.verified == "simulated"
    assert row.replicas is not None
    again = simulated(one.station, demand.peak_texts_per_s, row.replicas, target_s=demand.p99_s)
    assert row.p99_s == again.p99_s <= demand.p99_s
    if row.replicas > 1:
        fewer = simulated(one.station, demand.peak_texts_per_s, row.replicas - 1, target_s=demand.p99_s)
        assert fewer.p99_s > demand.p99_s


def test_the_cheapest_rows_are_simulated_and_the_others_are_not(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidates = [make_candidate(f"d{usd}", usd=usd) for usd in (5.0, 1.0, 3.0, 2.0, 4.0)]
    told: list[str] = []
    rows = [one.row for one in plan_rows(candidates, make_demand(), TEXTS, notify=told.append)]
    assert [row.usd_per_hour for row in rows] == [1, 2, 3, 4, 5]
    assert [row.verified for row in rows] == ["simulated"] * 3 + ["approximate"] * 2
    assert len(told) == SIMULATED_ROWS
    assert all(line.startswith("simulating 1 × d") for line in told)


def test_a_device_that_is_named_is_simulated(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    named = [replace(make_candidate(f"d{usd}", usd=usd), named=True) for usd in (5.0, 1.0, 3.0, 2.0)]
    assert {one.row.verified for one in plan_rows(named, make_demand(), TEXTS)} == {"simulated"}


def test_price_follows_from_replicas(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    demand = make_demand(300.0)
    row = only(plan_rows([make_candidate(usd=1.5)], demand, TEXTS))
    assert row.replicas is not None
    assert row.usd_per_million_tokens is not None
    assert row.utilization is not None
    tokens_per_hour = 300.0 * 300 * 3600
    assert row.usd_per_million_tokens.mid == pytest.approx(row.replicas * 1.5 / tokens_per_hour * 1e6)
    assert row.usd_per_month == pytest.approx(row.replicas * 1.5 * 24 * DAYS_PER_MONTH)
    assert row.utilization == pytest.approx(300.0 * 300 / (row.replicas * row.tokens_per_s))
    assert row.peak_utilization == pytest.approx(2 * row.utilization)


@pytest.mark.parametrize(("sold_by", "spare"), [(1, 0), (8, 0), (1, 1), (8, 2)])
def test_spare_replicas_and_whole_nodes_are_paid_for(
    make_candidate: MakeCandidate, make_demand: MakeDemand, sold_by: int, spare: int
) -> None:
    row = only(plan_rows([make_candidate(sold_by=sold_by)], make_demand(300.0, spare=spare), TEXTS))
    assert row.replicas is not None
    assert row.devices is not None
    assert row.devices % sold_by == 0
    assert row.replicas + spare <= row.devices < row.replicas + spare + sold_by
    assert row.usd_per_month == pytest.approx(row.devices * 24 * DAYS_PER_MONTH)


def test_the_price_interval_holds_slower_steps_and_dearer_quotes(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    (one,) = plan_rows([make_candidate(spread=1.25)], make_demand(700.0), TEXTS)
    row, usd = one.row, one.row.usd_per_million_tokens
    assert usd is not None
    assert usd.high is not None
    assert row.replicas_low is not None
    assert row.replicas is not None
    assert row.replicas_high is not None
    assert row.certain
    assert row.replicas_low < row.replicas < row.replicas_high
    assert usd.low == pytest.approx(usd.mid / 1.25 * row.replicas_low / row.replicas)
    assert usd.high == pytest.approx(usd.mid * 1.25 * row.replicas_high / row.replicas)


def test_a_target_that_slow_steps_would_miss_is_not_certain(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidate = make_candidate()
    replica = station(candidate.steps, candidate.host, TEXTS)
    lone_s = [
        replica.times(s / replica.device_s.mid).lone_s(0.99)
        for s in (replica.device_s.mid, replica.device_s.high)
    ]
    row = only(plan_rows([candidate], make_demand(5.0, p99_s=sum(lone_s) / 2), TEXTS))
    assert row.feasible
    assert not row.certain
    assert row.replicas_high is None
    assert row.usd_per_million_tokens is not None
    assert row.usd_per_million_tokens.high is None


def test_a_shared_queue_takes_no_more_replicas(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    for rate in (10.0, 150.0, 900.0):
        candidate = make_candidate()
        replica = station(candidate.steps, candidate.host, TEXTS)
        shared, alone = (
            fewest_replicas(replica, rate, 0.2, "shared"),
            fewest_replicas(replica, rate, 0.2, "random"),
        )
        assert shared is not None
        assert alone is not None
        assert shared <= alone


@FEW
@given(st.floats(1, 3000), st.floats(1, 3))
def test_more_tokens_never_cost_less(make_candidate: MakeCandidate, rate: float, more: float) -> None:
    candidate = make_candidate()
    replica = station(candidate.steps, candidate.host, TEXTS)
    fewer, many = fewest_replicas(replica, rate, 0.2), fewest_replicas(replica, rate * more, 0.2)
    assert fewer is not None
    assert many is not None
    assert fewer <= many


@FEW
@given(
    rate=st.floats(1, 2000),
    peak=st.floats(50e12, 2000e12),
    share=st.floats(0.4, 0.8),
    bandwidth=st.floats(0.3e12, 5e12),
    faster=st.tuples(st.floats(1, 4), st.floats(1, 1.25), st.floats(1, 4)),
    length=st.sampled_from([30, 300, 1500]),
)
def test_a_device_with_more_of_everything_never_takes_more(
    make_candidate: MakeCandidate,
    rate: float,
    peak: float,
    share: float,
    bandwidth: float,
    faster: tuple[float, float, float],
    length: int,
) -> None:
    slow = make_candidate(peak=peak, share=share, bandwidth=bandwidth)
    fast = make_candidate(peak=peak * faster[0], share=share * faster[1], bandwidth=bandwidth * faster[2])
    worse, better = (
        fewest_replicas(station(one.steps, one.host, fixed_length(length)), rate, 0.2) for one in (slow, fast)
    )
    if worse is not None:
        assert better is not None
        assert better <= worse


def test_rows_are_in_order_of_cost_and_infeasible_ones_last(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidates = [
        make_candidate("dear", usd=9.0),
        make_candidate("small", memory=1e9),
        make_candidate("cheap", usd=0.3),
    ]
    rows = [one.row for one in plan_rows(candidates, make_demand(), TEXTS)]
    assert [row.device for row in rows] == ["cheap", "dear", "small"]
    assert "does not fit" in (rows[-1].reason or "")
    assert rows[-1].bound_by == "memory"
    assert rows[-1].usd_per_million_tokens is None


def test_memory_that_real_runners_might_not_leave_is_in_doubt(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    """The least that a step needs is no verdict: real runs took up to 2.4 times its activations."""
    demand = make_demand(p99_s=5.0)
    roomy = only(plan_rows([make_candidate()], demand, TEXTS))
    assert roomy.doubt is None
    rows = [
        only(plan_rows([make_candidate(memory=gb * 1e9)], demand, TEXTS))
        for gb in (1.34, 1.36, 1.38, 1.4, 1.45)
    ]
    doubtful = [row for row in rows if row.doubt is not None]
    assert doubtful
    for row in doubtful:
        assert row.feasible
        assert not row.certain
        assert "with all that real runners keep it does not fit" in (row.doubt or "")


def test_a_target_below_a_lone_text_cannot_be_kept(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    row = only(plan_rows([make_candidate()], make_demand(p99_s=0.002), TEXTS))
    assert not row.feasible
    assert "meets an idle device" in (row.reason or "")
    assert (row.replicas, row.p99_s, row.usd_per_month, row.bound_by) == (None, None, None, "latency")


def test_a_budget_makes_a_row_infeasible_and_says_the_price(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    row = only(plan_rows([make_candidate(usd=2.0)], make_demand(3000.0), TEXTS, max_usd_per_hour=2.0))
    assert not row.feasible
    assert f"{row.devices} devices" in (row.reason or "")
    assert "$2.00" in (row.reason or "")


def test_spot_pays_for_interruptions(make_candidate: MakeCandidate, make_demand: MakeDemand) -> None:
    plain = only(plan_rows([make_candidate()], make_demand(), TEXTS))
    spot = only(plan_rows([make_candidate(spot=True)], make_demand(), TEXTS))
    assert plain.usd_per_month is not None
    assert spot.usd_per_month == pytest.approx(plain.usd_per_month / SPOT_TERMS.useful_share)


def test_the_host_is_named_where_it_sets_the_fleet(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    """As many requests as one thread of a server cannot take, on a device that could."""
    texts = fixed_length(20)
    demand = make_demand(900.0, mean=20.0)
    fast = {"peak": 1000e12, "bandwidth": 4e12}
    row = only(plan_rows([make_candidate(**fast)], demand, texts))
    assert row.bound_by == "host"
    assert row.replicas is not None
    assert row.replicas > 2
    threads = replace(SERVERS["vllm"], threads=64)
    relieved = only(plan_rows([make_candidate(**fast, host=threads)], demand, texts))
    assert relieved.bound_by != "host"
    assert relieved.replicas == 1
    together = replace(SERVERS["vllm"], texts_per_request=64)
    relieved = only(plan_rows([make_candidate(**fast, host=together)], demand, texts))
    assert relieved.replicas == 1


def test_a_target_that_takes_more_than_the_work_does_is_named(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidate = make_candidate()
    lone_s = station(candidate.steps, candidate.host, TEXTS).lone_s(0.99)
    assert only(plan_rows([candidate], make_demand(200.0, p99_s=1.3 * lone_s), TEXTS)).bound_by == "latency"
    assert only(plan_rows([candidate], make_demand(200.0, p99_s=5.0), TEXTS)).bound_by == "device"


# What can wait


def test_texts_that_can_wait_fill_idle_time_and_the_target_still_holds(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    demand = make_demand(400.0, peak=4.0, batch_share=0.5)
    (best,) = plan_rows([make_candidate()], demand, TEXTS)
    saved, served = filled(best, demand)
    assert saved.replicas_apart == 0
    assert saved.replicas < saved.replicas_before
    assert saved.usd_per_million_tokens < saved.usd_per_million_tokens_before
    assert saved.p99_s <= demand.p99_s
    assert served.row.replicas == saved.replicas
    assert served.row.p99_s == saved.p99_s
    assert served.row.utilization is not None
    assert served.row.utilization <= 0.95
    beside = simulated(
        served.station, demand.online_peak_texts_per_s, saved.replicas, filler_step_s=saved.filler_step_s
    )
    assert beside.p99_s == saved.p99_s


def test_devices_for_what_can_wait_count_towards_the_budget(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    demand = make_demand(400.0, peak=4.0, batch_share=0.5)
    (best,) = plan_rows([make_candidate()], demand, TEXTS)
    for budget, feasible in ((1e3, True), (0.5, False)):
        assert filled(best, demand, budget)[1].row.feasible == feasible


def test_what_finds_no_room_beside_the_others_gets_replicas_of_its_own(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidate = make_candidate()
    lone_s = station(candidate.steps, candidate.host, TEXTS).lone_s(0.99)
    demand = make_demand(1.0, p99_s=1.01 * lone_s, batch_share=0.5)
    (best,) = plan_rows([candidate], demand, TEXTS)
    saved, served = filled(best, demand)
    assert (saved.replicas, saved.replicas_apart) == (served.row.replicas, 1) == (2, 1)
    assert saved.p99_s == served.row.p99_s
    assert saved.p99_s <= demand.p99_s


def test_the_cheapest_is_the_one_that_does_what_can_wait_as_well(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    """The quick device has room in its idle time, the slow and cheap one needs a second replica."""
    slow = make_candidate("slow", usd=0.9)
    lone_s = station(slow.steps, slow.host, TEXTS).lone_s(0.99)
    demand = make_demand(1.0, p99_s=1.01 * lone_s, batch_share=0.5)
    served = plan_rows([slow, make_candidate("quick", peak=800e12, bandwidth=4e12, usd=1.0)], demand, TEXTS)
    assert [one.row.device for one in served] == ["slow", "quick"]
    idle, rows = fill(served, demand)
    assert [one.row.device for one in rows] == ["quick", "slow"]
    assert idle is not None
    assert (idle.device, idle.replicas, idle.replicas_apart) == ("quick", 1, 0)
    assert [one.row.replicas for one in rows] == [1, 2]


# Whether the order stays


@pytest.mark.parametrize(
    ("spread", "dearer", "stays"), [(1.0, 4.0, True), (1.0, 1.1, False), (3.0, 4.0, False)]
)
def test_an_order_stays_only_where_intervals_are_apart(
    make_candidate: MakeCandidate, make_demand: MakeDemand, spread: float, dearer: float, stays: bool
) -> None:
    """Prices and step times both count: 1.1 times is less than step times are known to."""
    candidates = [make_candidate("a", spread=spread), make_candidate("b", usd=dearer, spread=spread)]
    rows = [one.row for one in plan_rows(candidates, make_demand(700.0), TEXTS)]
    (order,) = order_of(rows)
    assert (order.device, order.against, order.stays) == ("a", "b", stays)
    assert order.ratio == pytest.approx(dearer)
    assert order.low is not None
    assert order.high is not None
    assert order.low < order.ratio < order.high


def test_each_feasible_device_is_compared_once_at_its_cheapest(
    make_candidate: MakeCandidate, make_demand: MakeDemand
) -> None:
    candidates = [
        make_candidate("a"),
        make_candidate("b", memory=1e9),
        make_candidate("c", spot=True, usd=0.5),
        make_candidate("c"),
    ]
    (only,) = order_of([one.row for one in plan_rows(candidates, make_demand(), TEXTS)])
    assert (only.device, only.against) == ("c spot", "a")
