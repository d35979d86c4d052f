"""Break-even: the least volume at which whole replicas cost no more than an API."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farthing.theory.lengths import fixed_length
from farthing.theory.planning.break_even import break_even_volume
from farthing.theory.planning.candidate import Candidate
from farthing.theory.planning.plan import PlanDemand
from farthing.theory.planning.rows import plan_rows
from farthing.theory.planning.station import Routing
from farthing.theory.planning.waiting import Waiting

MakeCandidate = Callable[..., Candidate]
MakeDemand = Callable[..., PlanDemand]


@pytest.fixture(scope="module")
def waiting(make_candidate: MakeCandidate, make_demand: MakeDemand) -> Waiting:
    return plan_rows([make_candidate()], make_demand(), fixed_length(300))[1]["d", False]


def costs_no_more(
    waiting: Waiting, tokens_per_day: float, api: float, routing: Routing, usd_per_hour: float = 1.0
) -> bool:
    """Whether self-hosting a volume costs no more than the API, by planning it from scratch."""
    texts_per_s = 2.0 * tokens_per_day / 300 / 86400
    count = waiting.fewest_replicas(texts_per_s, 0.2, routing)
    return count is not None and count * usd_per_hour * 24 <= tokens_per_day / 1e6 * api * (1 + 1e-9)


@pytest.mark.parametrize("routing", ["shared", "random"])
@pytest.mark.parametrize("api", [0.002, 0.004, 0.01, 0.05, 0.2])
def test_it_is_the_least_volume(waiting: Waiting, api: float, routing: Routing) -> None:
    """Checked against plans from scratch, over volumes up to eight replicas' worth and beyond the answer."""
    found = break_even_volume(
        waiting,
        usd_per_hour=1.0,
        api_usd_per_million_tokens=api,
        peak_to_mean=2.0,
        target_s=0.2,
        routing=routing,
    )
    one_pays = 24 / api * 1e6
    if found is None:
        grid = [one_pays * k / 4 for k in range(1, 81)]
        assert not any(costs_no_more(waiting, tokens, api, routing) for tokens in grid)
        return
    assert costs_no_more(waiting, found.tokens_per_day, api, routing)
    assert found.tokens_per_day == pytest.approx(found.replicas * one_pays)
    below = [found.tokens_per_day * k / 200 for k in range(1, 200)]
    assert not any(costs_no_more(waiting, tokens, api, routing) for tokens in below)
    if found.always_from_tokens_per_day is not None:
        start = found.always_from_tokens_per_day
        above = [start * (1 + k / 40) for k in range(41)]
        assert all(costs_no_more(waiting, tokens, api, routing) for tokens in above)


def test_both_kinds_of_answer_occur(waiting: Waiting) -> None:
    answers = [
        break_even_volume(
            waiting, usd_per_hour=1.0, api_usd_per_million_tokens=api, peak_to_mean=2.0, target_s=0.2
        )
        for api in (1e-5, 0.2)
    ]
    assert answers[0] is None
    assert answers[1] is not None
    assert answers[1].replicas == 1


def test_dearer_hours_need_more_volume(waiting: Waiting) -> None:
    volumes = []
    for usd in (0.5, 1.0, 2.0):
        found = break_even_volume(
            waiting, usd_per_hour=usd, api_usd_per_million_tokens=0.1, peak_to_mean=2.0, target_s=0.2
        )
        assert found is not None
        volumes.append(found.tokens_per_day)
    assert volumes == sorted(volumes)
    assert volumes[2] == pytest.approx(4 * volumes[0])


def test_a_target_that_cannot_be_kept_never_breaks_even(waiting: Waiting) -> None:
    assert (
        break_even_volume(
            waiting, usd_per_hour=1.0, api_usd_per_million_tokens=10.0, peak_to_mean=2.0, target_s=0.001
        )
        is None
    )
