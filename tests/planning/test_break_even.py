"""Break-even: the least volume at which whole replicas cost no more than an API."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest

from farthing.catalog.load import load_tokenizers
from farthing.catalog.rows import ApiPrice
from farthing.planning.answer import ApiOffer, BreakEven, PlanDemand
from farthing.planning.apis import api_offers, break_evens
from farthing.planning.devices.candidate import Candidate
from farthing.planning.rows import Served, fewest_replicas, plan_rows
from farthing.theory.lengths import fixed_length

MakeCandidate = Callable[..., Candidate]
MakeDemand = Callable[..., PlanDemand]

TOKENIZER = load_tokenizers()[0]
DAY = datetime.date(2026, 11, 21)


def offer(usd: float) -> ApiOffer:
    """Return an API's offer by the model's own tokenizer."""
    price = ApiPrice(
        provider="P",
        model="m",
        usd_per_million_tokens=usd,
        tokens_per_character=TOKENIZER,
        date=DAY,
        source="s",
        note="",
    )
    return api_offers([price], TOKENIZER, DAY)[0]


@pytest.fixture(scope="module")
def best(make_candidate: MakeCandidate, make_demand: MakeDemand) -> Served:
    return plan_rows([make_candidate()], make_demand(), fixed_length(300))[0]


def found(best: Served, usd: float, demand: PlanDemand) -> BreakEven:
    (one,) = break_evens(best, [offer(usd)], demand)
    return one


def costs_no_more(best: Served, tokens_per_day: float, api: float) -> bool:
    """Whether a fleet of its own costs no more than the API at a volume, by counting its replicas from scratch."""
    count = fewest_replicas(best.station, 2.0 * tokens_per_day / 300 / 86400, 0.2)
    return count is not None and count * 24 <= tokens_per_day / 1e6 * api * (1 + 1e-9)


@pytest.mark.parametrize("api", [0.002, 0.004, 0.01, 0.05, 0.2])
def test_it_is_the_least_volume(best: Served, make_demand: MakeDemand, api: float) -> None:
    """Against fleets counted from scratch, over volumes up to twenty replicas' worth."""
    even = found(best, api, make_demand())
    pays = 24 / api * 1e6
    if even.tokens_per_day is None:
        assert not any(costs_no_more(best, pays * k / 4, api) for k in range(1, 81))
        return
    assert even.replicas is not None
    assert costs_no_more(best, even.tokens_per_day, api)
    assert even.tokens_per_day == pytest.approx(even.replicas * pays)
    assert not any(costs_no_more(best, even.tokens_per_day * k / 200, api) for k in range(1, 200))


def test_both_kinds_of_answer_occur(best: Served, make_demand: MakeDemand) -> None:
    assert found(best, 1e-5, make_demand()).tokens_per_day is None
    assert found(best, 0.2, make_demand()).replicas == 1


def test_a_dearer_api_is_beaten_at_less(best: Served, make_demand: MakeDemand) -> None:
    volumes = [found(best, usd, make_demand()).tokens_per_day for usd in (0.1, 0.2, 0.4)]
    assert volumes[0] is not None
    assert volumes == pytest.approx([volumes[0], volumes[0] / 2, volumes[0] / 4])


def test_a_target_that_cannot_be_kept_never_breaks_even(best: Served, make_demand: MakeDemand) -> None:
    assert found(best, 10.0, make_demand(p99_s=0.001)).tokens_per_day is None
