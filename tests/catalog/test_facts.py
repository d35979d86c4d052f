"""What counts: packaged facts, overridden by live prices, overridden by what the user says."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from farthing.catalog import facts
from farthing.catalog.facts import Folders
from farthing.catalog.load import (
    API_COLUMNS,
    RENTAL_COLUMNS,
    load_api_prices,
    load_devices,
    load_models,
    load_rental_quotes,
)
from farthing.catalog.lookups import device_price, find_device, find_model
from farthing.errors import InputError

NOW = datetime.date.today().isoformat()

TODAY = datetime.date(2026, 11, 21)
DEVICE = """
[{name}]
name = "Mine"
source = "its maker"
date = 2026-11-01
peak.bf16 = {{ value = 100, unit = "TFLOP/s" }}
memory = {{ value = 10, unit = "GB" }}
bandwidth = {{ value = 1, unit = "TB/s" }}
"""


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Return folders that are there and empty."""
    made = Folders(tmp_path / "configuration", tmp_path / "live")
    made.configuration.mkdir()
    made.live.mkdir()
    return made


def live_quotes(folders: Folders, *rows: str) -> None:
    (folders.live / "rental_prices.csv").write_text("\n".join([",".join(RENTAL_COLUMNS), *rows]) + "\n")


def live_apis(folders: Folders, *rows: str) -> None:
    (folders.live / "api_prices.csv").write_text("\n".join([",".join(API_COLUMNS), *rows]) + "\n")


def own(folders: Folders, name: str, text: str) -> Path:
    path = folders.configuration / name
    path.write_text(text)
    return path


def test_without_any_file_the_packaged_facts_count(tmp_path: Path) -> None:
    nothing = Folders(tmp_path / "absent", tmp_path / "absent too")
    assert facts.devices(nothing) == load_devices()
    assert facts.models(nothing) == load_models()
    assert facts.rental_quotes(nothing) == load_rental_quotes()
    assert facts.api_prices(nothing) == load_api_prices()


def test_the_folders_are_those_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert facts.user_folders() == Folders(
        tmp_path / "c" / "farthing", tmp_path / "d" / "farthing" / "live-prices"
    )
    path = tmp_path / "c" / "farthing" / "devices.toml"
    path.parent.mkdir(parents=True)
    path.write_text(DEVICE.format(name="mine"))
    assert find_device(facts.devices(), "mine").name == "Mine"


# --- Devices and models.


def test_a_device_of_the_user_is_one_more(folders: Folders) -> None:
    own(folders, "devices.toml", DEVICE.format(name="Mine"))
    assert len(facts.devices(folders)) == len(load_devices()) + 1
    assert find_device(facts.devices(folders), "MINE").memory.value == 10e9


def test_a_device_of_the_user_replaces_one_of_the_same_name(folders: Folders) -> None:
    own(folders, "devices.toml", DEVICE.format(name="H100-SXM"))
    assert len(facts.devices(folders)) == len(load_devices())
    h100 = find_device(facts.devices(folders), "h100-sxm")
    assert h100.peak["bf16"].value == 100e12
    assert "fp8" not in h100.peak
    assert h100.peak["bf16"].origin == "its maker (2026-11-01)"


def test_a_wrong_device_of_the_user_names_file_row_and_key(folders: Folders) -> None:
    path = own(folders, "devices.toml", DEVICE.format(name="mine").replace("value = 10,", ""))
    with pytest.raises(InputError) as caught:
        facts.devices(folders)
    assert str(caught.value).startswith(f"{path}: mine: memory.value is missing")


def test_a_model_of_the_user_comes_first(folders: Folders) -> None:
    known = load_models()[0]
    own(
        folders,
        "models.toml",
        f'["{known.name}"]\nsource = "s"\ndate = 2026-11-20\n["{known.name}".config]\nmodel_type = "mine"\n',
    )
    found = find_model(facts.models(folders), known.name)
    assert found is not None
    assert found.config == {"model_type": "mine"}
    assert len(facts.models(folders)) == len(load_models())


def test_a_model_of_the_user_has_a_short_name_too(folders: Folders) -> None:
    entry = 'source = "s"\ndate = 2026-11-20\n[{0}.config]\nmodel_type = "mine"\n'
    own(
        folders,
        "models.toml",
        "".join(f"[{n}]\n" + entry.format(n) for n in ('"me/Some-Model"', '"me/bge-m3"')),
    )
    found = {
        name: find_model(facts.models(folders), name) for name in ("some-model", "BGE-M3", "BAAI/bge-m3")
    }
    assert [model and model.name for model in found.values()] == ["me/Some-Model", "me/bge-m3", "BAAI/bge-m3"]


def test_a_wrong_model_of_the_user_names_file_row_and_key(folders: Folders) -> None:
    path = own(folders, "models.toml", '["org/m"]\nsource = "s"\n["org/m".config]\nmodel_type = "bert"\n')
    with pytest.raises(InputError) as caught:
        facts.models(folders)
    assert str(caught.value).startswith(f"{path}: org/m: date is None")


# --- Rental prices.


def test_live_quotes_replace_those_that_are_no_newer_of_the_same_device_and_kind(folders: Folders) -> None:
    live_quotes(folders, "h100-sxm,RunPod,on-demand,2.5,2026-11-20,gpuhunt 1: runpod,1,")
    quotes = facts.rental_quotes(folders)
    price = device_price(quotes, "h100-sxm", TODAY)
    assert price is not None
    assert (price.value, price.offers, price.source) == (2.5, 1, "gpuhunt 1: runpod")
    packaged = load_rental_quotes()
    assert [row for row in quotes if row.device != "h100-sxm"] == [
        row for row in packaged if row.device != "h100-sxm"
    ]
    spot = [row for row in packaged if row.device == "h100-sxm" and row.kind == "spot"]
    assert spot
    assert [row for row in quotes if row.device == "h100-sxm" and row.kind == "spot"] == spot


def test_packaged_quotes_that_are_newer_than_the_live_ones_still_count(folders: Folders) -> None:
    live_quotes(
        folders,
        "h100-sxm,RunPod,on-demand,2.5,2026-10-24,gpuhunt 1: runpod,1,",
        "h100-sxm,Lambda,on-demand,2.6,2026-08-01,gpuhunt 1: lambdalabs,1,kept from an earlier day",
    )
    counted = [
        row for row in facts.rental_quotes(folders) if (row.device, row.kind) == ("h100-sxm", "on-demand")
    ]
    day = datetime.date(2026, 10, 24)
    packaged = [row for row in load_rental_quotes() if (row.device, row.kind) == ("h100-sxm", "on-demand")]
    assert day in {row.date for row in packaged}
    newer = [row for row in packaged if row.date > day]
    assert newer
    assert counted[: len(newer)] == newer
    assert [row.usd_per_hour for row in counted[len(newer) :]] == [2.5, 2.6]


def test_what_the_user_pays_is_the_price(folders: Folders) -> None:
    live_quotes(folders, "h100-sxm,RunPod,on-demand,2.5,2026-11-20,gpuhunt,1,")
    own(folders, "prices.toml", "[rental.H100-SXM]\nusd_per_hour = 1.9\ndate = 2026-11-19\n")
    price = device_price(facts.rental_quotes(folders), "h100-sxm", TODAY)
    assert price is not None
    assert (price.value, price.min, price.stale, price.source) == (1.9, None, False, "yours")
    spot = device_price(facts.rental_quotes(folders), "h100-sxm", TODAY, "spot")
    assert spot is not None
    assert spot.source != "yours"


def test_a_price_of_the_user_gets_old_too(folders: Folders) -> None:
    own(folders, "prices.toml", "[rental.gb200]\nusd_per_hour = 9\ndate = 2026-08-01\n")
    assert device_price(load_rental_quotes(), "gb200", TODAY) is None
    price = device_price(facts.rental_quotes(folders), "gb200", TODAY)
    assert price is not None
    assert (price.value, price.stale) == (9, True)


def test_a_spot_price_of_the_user_replaces_the_spot_quotes(folders: Folders) -> None:
    text = "[rental.l40s]\nusd_per_hour = 1\nspot_usd_per_hour = 0.3\ndate = 2026-11-20\n"
    own(folders, "prices.toml", text)
    price = device_price(facts.rental_quotes(folders), "l40s", TODAY, "spot")
    assert price is not None
    assert (price.value, price.offers) == (0.3, 1)


def test_a_price_of_a_device_of_the_users_own(folders: Folders) -> None:
    own(folders, "devices.toml", DEVICE.format(name="mine"))
    own(folders, "prices.toml", "[rental.mine]\nusd_per_hour = 0.5\ndate = 2026-11-20\n")
    price = device_price(facts.rental_quotes(folders), "mine", TODAY)
    assert price is not None
    assert price.value == 0.5


def test_a_price_of_a_device_that_does_not_exist_is_refused(folders: Folders) -> None:
    path = own(folders, "prices.toml", "[rental.h1000]\nusd_per_hour = 1\ndate = 2026-11-20\n")
    with pytest.raises(InputError) as caught:
        facts.rental_quotes(folders)
    assert str(caught.value).startswith(f"{path}: rental.h1000: no such device: use one of ")


@pytest.mark.parametrize("file", ["rental_prices.csv", "api_prices.csv"])
def test_a_wrong_live_file_names_itself(folders: Folders, file: str) -> None:
    path = folders.live / file
    path.write_text("price\n1\n")
    read = facts.rental_quotes if file.startswith("rental") else facts.api_prices
    with pytest.raises(InputError) as caught:
        read(folders)
    assert str(caught.value).startswith(f"{path}: columns are ")


# --- API prices.


def price_of(folders: Folders, provider: str, model: str) -> tuple[float, str, str]:
    (row,) = (row for row in facts.api_prices(folders) if (row.provider, row.model) == (provider, model))
    return row.usd_per_million_tokens, row.tokens_per_character.tokenizer, row.source


SMALL = ("OpenAI", "text-embedding-3-small")


@pytest.mark.parametrize(("date", "counts"), [(NOW, True), ("2020-01-01", False)])
def test_the_newer_of_live_and_packaged_counts(folders: Folders, date: str, counts: bool) -> None:
    live_apis(folders, f"openai,TEXT-embedding-3-small,0.5,,cl100k,{date},live,")
    assert len(facts.api_prices(folders)) == len(load_api_prices())
    prices = {
        row.usd_per_million_tokens
        for row in facts.api_prices(folders)
        if (row.provider.lower(), row.model.lower()) == ("openai", SMALL[1])
    }
    assert prices == ({0.5} if counts else {0.02})


def test_what_the_user_pays_an_api_is_the_price_at_the_known_tokenizer(folders: Folders) -> None:
    live_apis(folders, f"OpenAI,text-embedding-3-small,0.5,,cl100k,{NOW},live,")
    own(
        folders,
        "prices.toml",
        "[api.openai.text-embedding-3-small]\nusd_per_million_tokens = 0.01\ndate = 2026-11-20\n",
    )
    assert price_of(folders, *SMALL) == (0.01, "cl100k", "yours")


def batch_of(folders: Folders) -> tuple[float, str, str] | None:
    """Return the batch price of OpenAI's small model, its date and its source."""
    (row,) = (row for row in facts.api_prices(folders) if (row.provider, row.model) == SMALL)
    if row.batch is None:
        return None
    return row.batch.usd_per_million_tokens, row.batch.date.isoformat(), row.batch.source


PACKAGED = next(row for row in load_api_prices() if (row.provider, row.model) == SMALL)
KNOWN = (0.01, PACKAGED.date.isoformat(), PACKAGED.source)


@pytest.mark.parametrize(
    ("listed", "batch", "counts"),
    [
        ("0.02", "", KNOWN),  # genai-prices says of few models what their batch endpoint costs
        ("0.02", "0.008", (0.008, NOW, "live")),
        ("0.012", "", KNOWN),
        ("0.009", "", None),  # the list price is below it now: it is of another day
    ],
)
def test_a_refresh_that_says_nothing_of_batches_does_not_hide_their_price(
    folders: Folders, listed: str, batch: str, counts: tuple[float, str, str] | None
) -> None:
    live_apis(folders, f"{','.join(SMALL)},{listed},{batch},cl100k,{NOW},live,")
    assert batch_of(folders) == counts
    assert price_of(folders, *SMALL) == (float(listed), "cl100k", "live")


def test_a_batch_price_of_an_older_refresh_still_counts_beside_a_newer_list_price(folders: Folders) -> None:
    assert not any(row.batch for row in load_api_prices() if row.provider == "Cohere")
    live_apis(folders, "Cohere,embed-v4.0,0.12,0.05,unknown,2020-01-01,live,")
    (row,) = (row for row in facts.api_prices(folders) if row.model == "embed-v4.0")
    assert row.source != "live"
    assert row.batch is not None
    assert (row.batch.usd_per_million_tokens, row.batch.source) == (0.05, "live")


@pytest.mark.parametrize(
    ("listed", "line", "counts"),
    [
        (0.015, "", KNOWN),
        (0.015, "usd_per_million_tokens_batch = 0.002\n", (0.002, "2026-11-20", "yours")),
        (0.005, "", None),
    ],
)
def test_the_users_batch_price_is_theirs_else_the_catalogs(
    folders: Folders, listed: float, line: str, counts: tuple[float, str, str] | None
) -> None:
    table = "[api.openai.text-embedding-3-small]"
    own(folders, "prices.toml", f"{table}\nusd_per_million_tokens = {listed}\ndate = 2026-11-20\n{line}")
    assert batch_of(folders) == counts


@pytest.mark.parametrize(("line", "tokenizer"), [("", "unknown"), ('tokenizer = "qwen"\n', "qwen")])
def test_an_api_of_the_users_own(folders: Folders, line: str, tokenizer: str) -> None:
    text = f"[api.Mine.model-1]\nusd_per_million_tokens = 0.01\ndate = 2026-11-20\n{line}"
    own(folders, "prices.toml", text)
    assert price_of(folders, "Mine", "model-1") == (0.01, tokenizer, "yours")


def test_a_tokenizer_that_no_one_knows_is_refused(folders: Folders) -> None:
    text = '[api.Mine.m]\nusd_per_million_tokens = 1\ndate = 2026-11-20\ntokenizer = "runes"\n'
    path = own(folders, "prices.toml", text)
    with pytest.raises(InputError) as caught:
        facts.api_prices(folders)
    assert str(caught.value).startswith(f"{path}: api.Mine.m: tokenizer is 'runes': use one of ")


@pytest.mark.parametrize("name", ["devices.toml", "prices.toml", "models.toml"])
def test_a_file_that_cannot_be_read_is_named(folders: Folders, name: str) -> None:
    path = folders.configuration / name
    path.write_bytes(b"\xff\xfe")
    read = {"devices.toml": facts.devices, "prices.toml": facts.api_prices, "models.toml": facts.models}[name]
    with pytest.raises(InputError) as caught:
        read(folders)
    assert str(caught.value).startswith(f"{path}: cannot be read: ")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("[rental.h100-sxm]\nusd_per_hour = 2.1\ndate = 2999-01-01\n", "rental.h100-sxm"),
        (
            "[api.OpenAI.text-embedding-3-small]\nusd_per_million_tokens = 0.01\ndate = 2999-01-01\n",
            "api.OpenAI.text-embedding-3-small",
        ),
    ],
)
def test_a_price_of_the_users_that_is_still_to_come_is_refused(folders: Folders, text: str, row: str) -> None:
    """It would count for nothing, and hide the catalog's."""
    path = own(folders, "prices.toml", text)
    read = facts.rental_quotes if row.startswith("rental") else facts.api_prices
    with pytest.raises(InputError) as caught:
        read(folders)
    assert str(caught.value).startswith(f"{path}: {row}: date is 2999-01-01")


def test_a_price_of_the_users_of_tomorrow_is_refused_too(folders: Folders) -> None:
    """Facts may be of tomorrow, since elsewhere a day begins earlier; what you pay is of where you are."""
    tomorrow = datetime.date.today() + datetime.timedelta(days=1)
    own(folders, "prices.toml", f"[rental.l4]\nusd_per_hour = 2.1\ndate = {tomorrow}\n")
    with pytest.raises(InputError, match=f"rental.l4: date is {tomorrow}: it is still to come"):
        facts.rental_quotes(folders)


@pytest.mark.parametrize("date", ["9999-12-31", "2099-01-01"])
def test_a_price_of_a_day_to_come_is_refused(folders: Folders, date: str) -> None:
    """It would never be old."""
    live_apis(folders, f"OpenAI,text-embedding-3-small,0.5,,cl100k,{date},live,")
    with pytest.raises(InputError, match="still to come"):
        facts.api_prices(folders)
