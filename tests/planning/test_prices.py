"""The price list: all devices and APIs, the cheapest first, each price with its age."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from farthing.catalog.facts import Folders
from farthing.catalog.load import load_api_prices, load_devices, load_rental_quotes
from farthing.errors import InputError
from farthing.planning.prices import price_list

TODAY = datetime.date(2026, 11, 21)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Return empty folders."""
    return Folders(tmp_path, tmp_path)


def test_every_device_and_api_is_listed_the_cheapest_first(folders: Folders) -> None:
    listed = price_list(TODAY, folders=folders)
    assert listed.devices is not None
    assert listed.apis is not None
    assert {row.device.device for row in listed.devices} == {row.device for row in load_devices()}
    assert set(listed.apis) == set(load_api_prices())
    prices = [row.price for row in listed.devices]
    known = [price.value for price in prices if price is not None]
    assert known == sorted(known)
    assert prices[len(known) :] == [None] * (len(prices) - len(known))
    assert len(known) >= 12
    per_character = [row.usd_per_million_characters[0] for row in listed.apis]
    assert per_character == sorted(per_character)


def test_only_what_is_asked_for(folders: Folders) -> None:
    assert price_list(TODAY, apis=False, folders=folders).apis is None
    assert price_list(TODAY, devices=False, folders=folders).devices is None
    one = price_list(TODAY, device=" L4 ", folders=folders)
    assert one.devices is not None
    assert [row.device.device for row in one.devices] == ["l4"]
    assert one.as_dict().keys() == {"as_of", "kind", "old_after_days", "devices"}


def test_a_device_comes_with_its_quotes_of_the_kind_the_newest_first(folders: Folders) -> None:
    (row,) = price_list(TODAY, device="h100-sxm", kind="spot", folders=folders).devices or ()
    wanted = [quote for quote in load_rental_quotes() if (quote.device, quote.kind) == ("h100-sxm", "spot")]
    assert list(row.quotes) == wanted
    (row,) = price_list(TODAY, device="h100-sxm", folders=folders).devices or ()
    dates = [quote.date for quote in row.quotes]
    assert dates == sorted(dates, reverse=True)


def test_the_list_as_json(folders: Folders) -> None:
    document = json.loads(json.dumps(price_list(TODAY, folders=folders).as_dict(), allow_nan=False))
    assert (document["as_of"], document["kind"], document["old_after_days"]) == (
        "2026-11-21",
        "on-demand",
        90,
    )
    rows = {row["device"]: row for row in document["devices"]}
    h100 = rows["h100-sxm"]
    assert h100["usd_per_hour"] == {
        "value": 4.08,
        "min": 2.96,
        "max": 12.29,
        "provider": "Lambda",
        "marketplace": False,
        "quotes": 10,
        "as_of": "2026-10-24",
        "age_days": 28,
        "old": False,
        "sources": ["compute-screener"],
    }
    old = [quote for quote in h100["quotes"] if quote["old"]]
    assert [(quote["provider"], quote["age_days"], quote["as_of"]) for quote in old] == [
        ("Nebius", 385, "2025-11-01")
    ]
    named = {quote["provider"] for quote in h100["quotes"] if quote["source"] is None}
    assert named == {"Nebius", "Lambda 1x", "Lambda 8x"}  # copied from a survey that names no source
    assert rows["gb200"]["usd_per_hour"] is None
    assert rows["gb200"]["quotes"] == []
    apis = {(row["provider"], row["model"]): row for row in document["apis"]}
    small = apis["OpenAI", "text-embedding-3-small"]
    assert small["tokens_per_character"]["tokenizer"] == "cl100k"
    assert small["usd_per_million_characters"]["mid"] == pytest.approx(
        small["usd_per_million_tokens"] * small["tokens_per_character"]["mid"]
    )
    assert apis["OpenRouter", "multilingual-e5-large"]["old"] is True
    batch = ("usd_per_million_tokens_batch", "batch_as_of", "batch_source")
    assert [small[key] for key in batch] == [0.01, small["as_of"], small["source"]]
    assert [apis["Cohere", "embed-v4.0"][key] for key in batch] == [None, None, None]


def test_all_prices_are_old_after_a_while(folders: Folders) -> None:
    document = price_list(TODAY + datetime.timedelta(days=365), folders=folders).as_dict()
    priced = [row["usd_per_hour"] for row in document["devices"] if row["usd_per_hour"] is not None]
    assert priced
    assert all(price["old"] and price["quotes"] == 1 for price in priced)
    assert all(row["old"] for row in document["apis"])


def test_a_device_of_the_user_is_listed_as_without_a_price_until_they_give_one(folders: Folders) -> None:
    figure = '{ value = 1, unit = "%s" }'
    (folders.configuration / "devices.toml").write_text(
        f'[mine]\nname = "Mine"\nsource = "s"\ndate = 2026-11-20\npeak.bf16 = {figure % "TFLOP/s"}\n'
        f"memory = {figure % 'GB'}\nbandwidth = {figure % 'TB/s'}\n"
    )
    (row,) = price_list(TODAY, device="mine", folders=folders).devices or ()
    assert row.price is None
    (folders.configuration / "prices.toml").write_text("[rental.mine]\nusd_per_hour = 2\ndate = 2026-11-20\n")
    (row,) = price_list(TODAY, device="mine", folders=folders).devices or ()
    assert row.price is not None
    assert (row.price.value, row.price.source) == (2, "yours")


@pytest.mark.parametrize(
    ("name", "said"), [("h1000", "unknown device 'h1000'"), ("Local", "farthing doctor")]
)
def test_a_device_that_is_not_in_the_catalog_is_refused(folders: Folders, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        price_list(TODAY, device=name, folders=folders)
