"""Elsewhere: two GPUs and two providers, for the same tokens, each with its source and date."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.load import load_api_prices, load_devices, load_rental_quotes
from farthing.metering.elsewhere import APIS, DEVICES, prices_elsewhere
from farthing.metering.receipt import Elsewhere
from makers import MINILM

TODAY = datetime.date(2026, 11, 25)

ROWS = {"devices": load_devices(), "quotes": load_rental_quotes(), "apis": load_api_prices()}


def elsewhere(**arguments: Any) -> tuple[Elsewhere, ...]:
    return prices_elsewhere(MINILM, "m", **(ROWS | arguments))


def test_two_devices_and_two_providers() -> None:
    rows = elsewhere(input_tokens=5_000_000, texts=50_000, today=TODAY)
    assert [row.device for row in rows if row.device is not None] == ["h100-sxm", "rtx-4090"]
    assert [(row.provider, row.model) for row in rows if row.provider is not None] == list(APIS)
    assert (len(DEVICES), len(APIS), len(rows)) == (2, 2, 4)
    assert len({provider for provider, _ in APIS}) == 2
    for row in rows:
        assert (row.device is None) != (row.provider is None)
        assert row.source
        assert row.note
        assert datetime.date.fromisoformat(row.as_of) <= TODAY
        if row.device is not None:
            assert row.model == "m"


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_totals_are_the_price_times_the_tokens(tokens: int, texts: int) -> None:
    for row in elsewhere(input_tokens=tokens, texts=texts, today=TODAY):
        assert row.usd_total == pytest.approx(row.usd_per_million_tokens * tokens / 1e6)
        assert row.usd_per_million_tokens > 0


def test_providers_are_quoted_at_list_price() -> None:
    listed = {(row.provider, row.model): row for row in load_api_prices()}
    for row in elsewhere(input_tokens=1000, texts=10, today=TODAY):
        if row.provider is not None:
            price = listed[row.provider, row.model]
            assert row.usd_per_million_tokens == price.usd_per_million_tokens
            assert (row.as_of, row.source) == (price.date.isoformat(), price.source)


def test_what_the_user_pays_is_what_counts() -> None:
    (quote, *_) = (row for row in load_rental_quotes() if row.device == "h100-sxm")
    own = {"quotes": [replace(quote, usd_per_hour=1.0, date=TODAY, source="yours")]}
    (listed,) = (row for row in load_api_prices() if (row.provider, row.model) == APIS[0])
    rows = elsewhere(
        input_tokens=10**6,
        texts=1000,
        today=TODAY,
        apis=[replace(listed, usd_per_million_tokens=0.007)],
        **own,
    )
    gpu, api = rows
    assert gpu.device == "h100-sxm"
    assert "median of 1 quotes" not in gpu.source
    assert "1.00 USD/h" in gpu.source
    assert "yours" in gpu.source
    assert api.usd_total == pytest.approx(0.007)


def test_longer_texts_cost_a_gpu_more_per_token_and_a_provider_no_more() -> None:
    short, long = (elsewhere(input_tokens=10**6, texts=10**6 // length, today=TODAY) for length in (64, 500))
    for less, more in zip(short, long, strict=True):
        if less.device is not None:
            assert more.usd_per_million_tokens > less.usd_per_million_tokens
        else:
            assert more.usd_per_million_tokens == less.usd_per_million_tokens


def test_a_price_that_is_old_says_so() -> None:
    later = TODAY + datetime.timedelta(days=1000)
    rows = elsewhere(input_tokens=1000, texts=10, today=later)
    assert all("which is old" in row.source for row in rows)


def test_a_gpu_without_a_quote_yet_is_left_out() -> None:
    rows = elsewhere(input_tokens=1000, texts=10, today=datetime.date(2000, 1, 1))
    assert [row.device for row in rows if row.device is not None] == []


def test_a_gpu_whose_row_has_no_bf16_is_left_out() -> None:
    devices = [replace(row, peak={"fp16": row.peak["fp16"]}) for row in load_devices() if "fp16" in row.peak]
    rows = elsewhere(input_tokens=1000, texts=10, today=TODAY, devices=devices)
    assert [row.device for row in rows if row.device is not None] == []


def test_nothing_costs_nothing() -> None:
    assert elsewhere(input_tokens=0, texts=0, today=TODAY) == ()
