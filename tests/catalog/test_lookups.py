"""Finding devices, models and prices among rows."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.load import load_devices, load_models, load_rental_quotes, load_tokenizers
from farthing.catalog.lookups import (
    FRESH_DAYS,
    age_days,
    default_dtype,
    device_price,
    find_device,
    find_model,
    is_old,
    tokens_per_character_of,
)
from farthing.catalog.rows import RentalKind, RentalQuote
from farthing.errors import InputError

TODAY = datetime.date(2026, 11, 21)


def quote(
    usd: float, days_old: int, kind: RentalKind = "on-demand", provider: str | None = None
) -> RentalQuote:
    """Return a quote; each of another provider unless one is named."""
    date = TODAY - datetime.timedelta(days=days_old)
    return RentalQuote(
        device="d",
        provider=provider or f"p{usd}",
        kind=kind,
        usd_per_hour=usd,
        date=date,
        source=f"s{usd}",
        note="",
    )


def test_find_device() -> None:
    assert find_device(load_devices(), " L40S ").device == "l40s"
    with pytest.raises(InputError, match=r"unknown device 'h1000'.*h100-sxm.*rtx-4090.*local"):
        find_device(load_devices(), "h1000")


@pytest.mark.parametrize(
    "name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "ALL-minilm-l6-v2"]
)
def test_find_model_by_name_or_alias(name: str) -> None:
    found = find_model(load_models(), name)
    assert found is not None
    assert found.name == "sentence-transformers/all-MiniLM-L6-v2"


def test_find_model_that_is_not_there() -> None:
    assert find_model(load_models(), "org/other") is None


def test_median_of_fresh_on_demand_quotes() -> None:
    quotes = [
        quote(4, 0),
        quote(1, 90),
        quote(3, 5),
        quote(99, 91),
        quote(0.1, 1, "spot"),
    ]
    price = device_price(quotes, "d", TODAY)
    assert price is not None
    assert (price.value, price.min, price.max, price.offers, price.stale) == (3, 1, 4, 3, False)
    assert (price.provider, price.as_of, price.source) == ("p3", "2026-11-16", "s3")


def test_an_even_number_of_offers_has_the_lower_of_the_middle_two() -> None:
    """It is an offer that someone made, not a mean that nobody would sell at."""
    price = device_price([quote(1, 0), quote(2, 0), quote(3, 0), quote(9, 0)], "d", TODAY)
    assert price is not None
    assert (price.value, price.provider) == (2, "p2")


def test_a_provider_counts_once_with_its_newest_quote() -> None:
    quotes = [
        quote(5, 9, provider="Lambda 1x"),
        quote(1, 2, provider="Lambda"),
        quote(2, 2, provider="Lambda 8x"),
    ]
    price = device_price([*quotes, quote(3, 1), quote(4, 1)], "d", TODAY)
    assert price is not None
    assert (price.value, price.offers, price.min) == (3, 3, 1)


def test_marketplaces_count_where_nobody_else_sells() -> None:
    market, listed = quote(0.2, 1, provider="Vast"), quote(1.5, 1, provider="RunPod secure")
    price, alone, asked = (
        device_price([market, listed], "d", TODAY),
        device_price([market], "d", TODAY),
        device_price([market, listed], "d", TODAY, market=True),
    )
    assert price is not None
    assert alone is not None
    assert asked is not None
    assert (price.value, price.market) == (1.5, False)
    assert (alone.value, alone.market) == (asked.value, asked.market) == (0.2, True)
    fresh = device_price([market, quote(1.5, 200)], "d", TODAY)
    assert fresh is not None
    assert (fresh.value, fresh.market) == (0.2, True)


def test_a_lone_offer_has_no_range() -> None:
    price = device_price([quote(2, 1)], "d", TODAY)
    assert price is not None
    assert (price.min, price.max, price.offers) == (None, None, 1)


def test_else_the_newest_quote_flagged() -> None:
    price = device_price([quote(2, 300), quote(5, 200), quote(1, 95, "spot")], "d", TODAY)
    assert price is not None
    assert (price.value, price.min, price.max, price.offers, price.stale) == (5, None, None, 1, True)


def test_spot_and_on_demand_never_stand_in_for_each_other() -> None:
    quotes = [quote(1, 2, "spot"), quote(3, 400, "spot")]
    assert device_price(quotes, "d", TODAY) is None
    price = device_price(quotes, "d", TODAY, "spot")
    assert price is not None
    assert (price.value, price.offers, price.stale) == (1, 1, False)
    assert device_price([quote(3, 2)], "d", TODAY, "spot") is None
    old = device_price([quote(3, 2), quote(2, 91, "spot")], "d", TODAY, "spot")
    assert old is not None
    assert (old.value, old.stale) == (2, True)


def test_no_quote_and_quotes_of_the_future() -> None:
    assert device_price([], "d", TODAY) is None
    assert device_price([quote(1, 1)], "other", TODAY) is None
    assert device_price([quote(1, -1)], "d", TODAY) is None


@given(st.lists(st.tuples(st.floats(0.1, 20), st.integers(0, 400)), min_size=1))
def test_a_price_lies_between_its_bounds(rows: list[tuple[float, int]]) -> None:
    price = device_price([quote(usd, age) for usd, age in rows], "d", TODAY)
    assert price is not None
    assert price.value in {usd for usd, _ in rows}
    if price.min is not None and price.max is not None:
        assert price.min <= price.value <= price.max
    assert price.stale == all(age > 90 for _, age in rows)


def test_the_prices_that_come_along() -> None:
    quotes = load_rental_quotes()
    prices = {d.device: device_price(quotes, d.device, TODAY) for d in load_devices()}
    h100, ada = prices["h100-sxm"], prices["rtx-4090"]
    assert h100 is not None
    assert (h100.value, h100.provider, h100.min, h100.max) == (4.08, "Lambda", 2.96, 12.29)
    assert not h100.market
    assert ada is not None
    assert (ada.value, ada.provider, ada.market) == (0.34, "RunPod", True)
    fresh = [name for name, price in prices.items() if price is not None and not price.stale]
    assert len(fresh) >= 12
    assert prices["m3-max"] is None  # no one rents it out by the hour


def test_all_of_them_are_old_one_day() -> None:
    later = TODAY + datetime.timedelta(days=100)
    prices = [device_price(load_rental_quotes(), d.device, later) for d in load_devices()]
    assert all(price.stale and price.offers == 1 for price in prices if price is not None)


@pytest.mark.parametrize(("age", "old"), [(0, False), (FRESH_DAYS, False), (FRESH_DAYS + 1, True)])
def test_a_price_is_old_after_ninety_days(age: int, old: bool) -> None:
    date = TODAY - datetime.timedelta(days=age)
    assert (age_days(date, TODAY), is_old(date, TODAY)) == (age, old)


@pytest.mark.parametrize(
    ("vocabulary", "tokenizer"),
    [
        (30522, "wordpiece"),
        (151936, "qwen"),
        (151669, "qwen"),
        (250002, "xlm-r"),
        (50265, "gpt2"),
        (7, "unknown"),
    ],
)
def test_a_tokenizer_is_told_by_its_vocabulary(vocabulary: int, tokenizer: str) -> None:
    assert tokens_per_character_of(load_tokenizers(), vocabulary).tokenizer == tokenizer


def test_the_default_dtype_is_one_that_the_device_has() -> None:
    assert default_dtype(find_device(load_devices(), "h100-sxm")) == "bf16"
    assert default_dtype(find_device(load_devices(), "t4")) == "fp16"
    assert all(default_dtype(device) in device.peak for device in load_devices())
