"""Prices: the article's own figures, and what always holds."""

from __future__ import annotations

import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.pricing import (
    SPOT_TERMS,
    SpotTerms,
    check_positive,
    flops_per_usd,
    given_price,
    spot_usd_per_hour,
    tokens_per_day,
    usd_per_million_tokens,
)

prices = st.floats(0.01, 100)
rates = st.floats(1, 1e8)
shares = st.floats(1e-3, 1)


def test_the_articles_figures() -> None:
    """Source: docs/theory.md, "Price": what the article prints, and what its formula gives."""
    h100 = usd_per_million_tokens(2, 33_488)
    assert h100 == pytest.approx(0.0166, abs=5e-5)  # 1.66 cents
    assert usd_per_million_tokens(2, 33_488, 0.1) == pytest.approx(0.166, abs=5e-4)
    rtx_4090 = usd_per_million_tokens(0.37, 9_672)
    assert rtx_4090 == pytest.approx(0.0106, abs=5e-5)
    assert 1 - rtx_4090 / h100 == pytest.approx(0.36, abs=0.005)  # "36 % cheaper"
    assert tokens_per_day(11_024) == pytest.approx(952e6, rel=1e-3)
    assert usd_per_million_tokens(0.37, 11_024) * 952 == pytest.approx(24 * 0.37, rel=1e-3)  # "less than $9"
    # "TFLOPS per dollar" is a rate over the price of an hour.
    for flops_per_s, usd_per_hour, printed in (
        (165e12, 0.37, 445.9),
        (989e12, 2, 494.5),
        (750e12, 2, 375),
    ):
        assert flops_per_usd(flops_per_s, usd_per_hour) / 3600 / 1e12 == pytest.approx(printed, abs=0.05)


def test_the_articles_figures_at_true_token_counts() -> None:
    """862 tokens where the article says 1040. Source: docs/theory.md, "Price"."""
    true = 33_488 * 862 / 1040
    assert true == pytest.approx(27.8e3, rel=2e-3)
    assert usd_per_million_tokens(2, true) == pytest.approx(0.020, abs=5e-4)
    assert tokens_per_day(11_024 * 862 / 1040) == pytest.approx(790e6, rel=2e-3)


@given(prices, rates, shares, shares)
def test_price_falls_with_utilization(price: float, rate: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert usd_per_million_tokens(price, rate, high) <= usd_per_million_tokens(price, rate, low)


@given(prices, rates, shares)
def test_the_tokens_of_a_day_cost_what_the_day_costs(price: float, rate: float, share: float) -> None:
    per_token = usd_per_million_tokens(price, rate, share) / 1e6
    assert per_token * tokens_per_day(rate, share) == pytest.approx(24 * price)


@pytest.mark.parametrize(
    ("usd_per_hour", "tokens_per_s", "utilization"),
    [
        (1, 1, 0),
        (1, 1, 1.1),
        (1, 1, -1),
        (1, 1, math.nan),
        (-1, 1, 1),
        (math.inf, 1, 1),
        (1, 0, 1),
        (1, -2, 1),
    ],
)
def test_out_of_range(usd_per_hour: float, tokens_per_s: float, utilization: float) -> None:
    with pytest.raises(InputError):
        usd_per_million_tokens(usd_per_hour, tokens_per_s, utilization)


@given(prices, rates, shares, st.floats(0, 1e12), st.floats(0, 1e12))
def test_more_tokens_never_cost_less(
    price: float, rate: float, share: float, one: float, other: float
) -> None:
    per_token = usd_per_million_tokens(price, rate, share) / 1e6
    few, many = sorted((one, other))
    assert per_token * few <= per_token * many


@given(prices, prices, rates, shares)
def test_a_dearer_device_costs_more(one: float, other: float, rate: float, share: float) -> None:
    low, high = sorted((one, other))
    assert usd_per_million_tokens(low, rate, share) <= usd_per_million_tokens(high, rate, share)


@given(prices, rates, rates, shares)
def test_a_faster_device_costs_less(price: float, one: float, other: float, share: float) -> None:
    low, high = sorted((one, other))
    assert usd_per_million_tokens(price, high, share) <= usd_per_million_tokens(price, low, share)


def test_a_given_price_has_no_interval_and_is_never_old() -> None:
    price = given_price(1.25, datetime.date(2026, 11, 21))
    assert (price.min, price.value, price.max) == (None, 1.25, None)
    assert price.as_of == "2026-11-21"
    assert not price.stale
    assert (price.provider, price.source) == ("as given", "as given")


# Spot


def test_spot_terms_by_hand() -> None:
    terms = SpotTerms(mean_time_between_s=1000, lost_s=80, drain_s=20)
    assert terms.useful_share == pytest.approx(0.9)
    assert spot_usd_per_hour(1.8, terms) == pytest.approx(2)


def test_the_assumed_terms_cost_about_a_hundredth() -> None:
    assert spot_usd_per_hour(1, SPOT_TERMS) == pytest.approx(1 / (1 - 210 / 21600))


def test_without_interruptions_an_hour_is_an_hour() -> None:
    assert spot_usd_per_hour(2.5, SpotTerms(mean_time_between_s=1e9, lost_s=0, drain_s=0)) == 2.5


lost = st.floats(0, 400)


@given(prices, st.floats(900, 1e6), st.floats(900, 1e6), lost, lost)
def test_rarer_interruptions_never_cost_more(
    price: float, one: float, other: float, lost_s: float, drain_s: float
) -> None:
    often, rare = (
        SpotTerms(mean_time_between_s=t, lost_s=lost_s, drain_s=drain_s) for t in sorted((one, other))
    )
    assert price <= spot_usd_per_hour(price, rare) <= spot_usd_per_hour(price, often)


@pytest.mark.parametrize("lost_s", [80.0, 5000.0])
def test_interruptions_that_leave_no_time_are_an_error(lost_s: float) -> None:
    terms = SpotTerms(mean_time_between_s=100, lost_s=lost_s, drain_s=20)
    assert terms.useful_share == 0
    with pytest.raises(InputError, match="no useful time"):
        spot_usd_per_hour(1, terms)


@pytest.mark.parametrize(
    ("between", "lost_s", "drain_s"),
    [
        (0, 1, 1),
        (-5, 1, 1),
        (math.inf, 1, 1),
        (math.nan, 1, 1),
        (9, -1, 1),
        (9, 1, -1),
        (9, math.nan, 1),
        (9, 1, math.inf),
    ],
)
def test_spot_terms_out_of_range(between: float, lost_s: float, drain_s: float) -> None:
    with pytest.raises(InputError, match="spot"):
        SpotTerms(mean_time_between_s=between, lost_s=lost_s, drain_s=drain_s)


# Numbers that must be above 0


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_a_positive_number_comes_back(value: float) -> None:
    assert check_positive("it", value) == value


@pytest.mark.parametrize("value", [0, -1, -0.0, math.nan, math.inf, -math.inf])
def test_what_is_not_positive_is_named(value: float) -> None:
    with pytest.raises(InputError, match=f"the rate is {value}: give a number above 0"):
        check_positive("the rate", value)
