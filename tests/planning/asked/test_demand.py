"""Demand: a rate, tokens per day, a trace or an API's bill, each as texts per second."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog import facts
from farthing.catalog.rows import ApiPrice, TokensPerCharacter
from farthing.errors import InputError
from farthing.planning.answer import PlanDemand
from farthing.planning.asked.demand import DEFAULT_PEAK_TO_MEAN, Wanted, demand_of, find_api
from farthing.planning.asked.trace import Trace
from farthing.theory.lengths import LengthDistribution, counted_lengths, fixed_length
from farthing.theory.pricing import DAYS_PER_MONTH, SECONDS_PER_DAY

DAY = datetime.date(2026, 11, 21)


def tokenizer(name: str, mid: float) -> TokensPerCharacter:
    return TokensPerCharacter(
        tokenizer=name, vocabularies=(1,), mid=mid, low=mid / 2, high=mid * 2, source="here", date=DAY
    )


def api(provider: str, model: str, usd: float, mid: float = 0.2) -> ApiPrice:
    return ApiPrice(
        provider=provider,
        model=model,
        usd_per_million_tokens=usd,
        tokens_per_character=tokenizer("theirs", mid),
        date=DAY,
        source="here",
        note="",
    )


OWN = tokenizer("own", 0.25)
APIS = [
    api("Maker", "embed-1", 0.02),
    api("Reseller", "embed-1", 0.022),
    api("A", "open", 0.01),
    api("B", "open", 0.1),
]
TRACE = Trace((0.0, 1.0, 2.0, 4.0), (10, 20, 30, 40), "4 arrivals in trace.csv")


def served(texts: LengthDistribution | None = None, **wanted: Any) -> PlanDemand:
    return demand_of(Wanted(**{"p99_s": 0.2, **wanted}), texts or fixed_length(300), OWN, APIS)


# Each of the four


def test_a_rate() -> None:
    demand = served(rate=50)
    assert demand.texts_per_s == 50
    assert demand.tokens_per_day == 50 * 300 * 86_400
    assert demand.peak_to_mean == DEFAULT_PEAK_TO_MEAN
    assert demand.peak_texts_per_s == 50 * DEFAULT_PEAK_TO_MEAN
    assert demand.p99_s == 0.2
    assert "rate" in demand.source


def test_tokens_per_day() -> None:
    demand = served(counted_lengths([100, 500], "here"), tokens_per_day=2e9)
    assert demand.tokens_per_day == pytest.approx(2e9)
    assert demand.texts_per_s == pytest.approx(2e9 / 86_400 / 300)


def test_a_trace_gives_its_own_rate_and_peak() -> None:
    minutes = Trace((*(float(n) for n in range(60)), 119.0), (5,) * 61, "here")
    demand = served(trace=minutes)
    assert demand.texts_per_s == pytest.approx(60 / 119)
    assert demand.peak_to_mean == pytest.approx(1 / (60 / 119))
    assert demand.source == "here"
    assert served(trace=minutes, peak_to_mean=5).peak_to_mean == 5
    assert served(trace=TRACE).peak_to_mean == 1


def test_an_api_bill_buys_its_tokens_which_are_ours_by_characters() -> None:
    """$100 at $0.01 are 10G of its tokens, 50G characters at .2, 12.5G of ours at .25."""
    demand = served(replace_api="A open", monthly_usd=100)
    assert demand.tokens_per_day * DAYS_PER_MONTH == pytest.approx(12.5e9)
    assert demand.texts_per_s * 300 * SECONDS_PER_DAY * DAYS_PER_MONTH == pytest.approx(12.5e9)
    assert demand.source == (
        "$100.00 a month buys 10B tokens of A open, about 12.5B tokens of this model's tokenizer"
    )


def test_the_issues_own_example() -> None:
    """`--replace-api text-embedding-3-small --monthly-usd 900` over the packaged prices: OpenAI's, not Azure's."""
    wanted = Wanted(p99_s=0.2, replace_api="text-embedding-3-small", monthly_usd=900)
    demand = demand_of(wanted, fixed_length(300), OWN, facts.api_prices())
    assert "45B tokens of OpenAI text-embedding-3-small" in demand.source


# Exactly one, and in range


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, r"nothing given: give exactly one of a rate, tokens per day, a trace, an API to replace"),
        ({"rate": 5, "tokens_per_day": 1e6}, "a rate and tokens per day given"),
        ({"rate": 5, "trace": TRACE}, "a rate and a trace given"),
        ({"rate": 0.0, "replace_api": "A open", "monthly_usd": 5}, "a rate and an API to replace given"),
        ({"replace_api": "A open"}, "belong together"),
        ({"rate": 5, "monthly_usd": 900}, "belong together"),
        ({"rate": 0}, "rate is 0"),
        ({"rate": -1}, "rate is -1"),
        ({"rate": math.nan}, "rate is nan"),
        ({"rate": math.inf}, "rate is inf"),
        ({"tokens_per_day": 0}, "tokens per day is 0"),
        ({"tokens_per_day": math.nan}, "tokens per day is nan"),
        ({"replace_api": "A open", "monthly_usd": 0.0}, "monthly USD is 0"),
        ({"replace_api": "A open", "monthly_usd": -3}, "monthly USD is -3"),
        ({"replace_api": "A open", "monthly_usd": math.inf}, "monthly USD is inf"),
        ({"rate": 5, "p99_s": 0}, "p99 target is 0"),
        ({"rate": 5, "p99_s": math.nan}, "p99 target is nan"),
        ({"rate": 5, "peak_to_mean": 0.9}, "peak to mean is 0.9"),
        ({"rate": 5, "peak_to_mean": math.nan}, "peak to mean is nan"),
        ({"rate": 5, "peak_to_mean": math.inf}, "peak to mean is inf"),
        ({"rate": 5, "batch_share": 1}, "batch share is 1"),
        ({"rate": 5, "batch_share": -0.1}, "batch share is -0.1"),
        ({"rate": 5, "batch_share": math.nan}, "batch share is nan"),
    ],
)
def test_what_cannot_be_served(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        served(**wanted)


def test_limits_of_what_can() -> None:
    demand = served(rate=5, peak_to_mean=1, batch_share=0)
    assert demand.peak_texts_per_s == demand.texts_per_s
    assert served(rate=5, batch_share=0.99).batch_share == 0.99


# Which API


@pytest.mark.parametrize("name", ["A open", "a OPEN", "  A   open "])
def test_a_provider_tells_apis_apart(name: str) -> None:
    assert find_api(APIS, name) is APIS[2]


def test_providers_of_nearly_one_price_need_not_be_told_apart() -> None:
    assert find_api(APIS, "embed-1") is APIS[0]
    assert find_api(APIS, "Reseller embed-1") is APIS[1]


def test_providers_of_other_prices_must_be() -> None:
    with pytest.raises(
        InputError, match=r"'open' is sold by several providers: say which: 'A open', 'B open'"
    ):
        find_api(APIS, "open")


def test_an_unknown_api_names_the_known_ones_once() -> None:
    with pytest.raises(InputError, match=r"unknown API model 'embed-2': use one of embed-1, open$"):
        find_api(APIS, "embed-2")


def test_every_api_of_the_catalog_can_be_named() -> None:
    apis = facts.api_prices()
    assert len(apis) >= 20
    for known in apis:
        assert find_api(apis, f"{known.provider} {known.model}") is known


# What always holds

amounts = st.floats(1e-3, 1e6)


@given(amounts, amounts, st.integers(1, 8000))
def test_a_larger_bill_is_a_larger_demand(one: float, other: float, length: int) -> None:
    small, large = (
        served(fixed_length(length), replace_api="A open", monthly_usd=usd).texts_per_s
        for usd in sorted((one, other))
    )
    assert small <= large


@given(amounts, st.integers(1, 8000), st.floats(1, 50))
def test_rate_and_tokens_per_day_are_two_names_of_one_demand(rate: float, length: int, peak: float) -> None:
    texts = fixed_length(length)
    by_rate = served(texts, rate=rate, peak_to_mean=peak)
    by_tokens = served(texts, tokens_per_day=by_rate.tokens_per_day, peak_to_mean=peak)
    assert by_tokens.texts_per_s == pytest.approx(rate)
    assert by_tokens.peak_texts_per_s == pytest.approx(by_rate.peak_texts_per_s)
