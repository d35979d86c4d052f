"""Finding devices, models and prices among rows."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.load import load_devices, load_models, load_rental_quotes
from farthing.catalog.lookups import device_price, find_device, find_model
from farthing.catalog.rows import RentalKind, RentalQuote
from farthing.errors import InputError

TODAY = datetime.date(2026, 11, 21)


def quote(usd: float, days_old: int, kind: RentalKind = "on-demand", source: str = "s") -> RentalQuote:
    date = TODAY - datetime.timedelta(days=days_old)
    return RentalQuote(
        device="d", provider="p", kind=kind, usd_per_hour=usd, date=date, source=source, note=""
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
        quote(4, 0, source="a"),
        quote(1, 90, source="b"),
        quote(3, 5),
        quote(99, 91),
        quote(0.1, 1, "spot"),
    ]
    price = device_price(quotes, "d", TODAY)
    assert price is not None
    assert (price.value, price.min, price.max, price.quotes, price.stale) == (3, 1, 4, 3, False)
    assert price.as_of == "2026-11-21"
    assert price.sources == ("a", "b", "s")


def test_else_the_newest_quote_flagged() -> None:
    price = device_price([quote(2, 300), quote(5, 200), quote(1, 95, "spot")], "d", TODAY)
    assert price is not None
    assert (price.value, price.min, price.max, price.quotes, price.stale) == (5, 5, 5, 1, True)


def test_a_spot_quote_only_where_there_is_no_other() -> None:
    price = device_price([quote(1, 2, "spot")], "d", TODAY)
    assert price is not None
    assert (price.value, price.stale) == (1, True)


def test_no_quote_and_quotes_of_the_future() -> None:
    assert device_price([], "d", TODAY) is None
    assert device_price([quote(1, 1)], "other", TODAY) is None
    assert device_price([quote(1, -1)], "d", TODAY) is None


@given(st.lists(st.tuples(st.floats(0.1, 20), st.integers(0, 400)), min_size=1))
def test_a_price_lies_between_its_bounds(rows: list[tuple[float, int]]) -> None:
    price = device_price([quote(usd, age) for usd, age in rows], "d", TODAY)
    assert price is not None
    assert price.min <= price.value <= price.max
    assert price.stale == all(age > 90 for _, age in rows)


def test_the_prices_that_come_along() -> None:
    prices = {d.device: device_price(load_rental_quotes(), d.device, TODAY) for d in load_devices()}
    h100, ada = prices["h100-sxm"], prices["rtx-4090"]
    assert h100 is not None
    assert (h100.value, h100.min, h100.max, h100.as_of) == (3.99, 2.40, 12.29, "2026-11-09")
    assert ada is not None
    assert ada.value == pytest.approx(0.365)
    assert prices["l4"] is None  # no quote of it has a date
