"""Prices: the article's own figures, and what always holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.pricing import flops_per_usd, tokens_per_day, usd_per_million_tokens

prices = st.floats(0.01, 100)
rates = st.floats(1, 1e8)
shares = st.floats(1e-3, 1)


def test_the_articles_figures() -> None:
    assert usd_per_million_tokens(2, 33_488) == pytest.approx(0.0166, abs=5e-5)
    assert usd_per_million_tokens(2, 33_488, 0.1) == pytest.approx(0.166, abs=5e-4)
    assert usd_per_million_tokens(0.37, 9_672) == pytest.approx(0.0106, abs=5e-5)
    assert tokens_per_day(11_024) == pytest.approx(952e6, rel=1e-3)
    assert flops_per_usd(165e12, 0.37) / 3600 == pytest.approx(445.9e12, rel=1e-3)


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
