"""The user's prices.toml: what it may say, and one line that names file, row and key for anything else."""

from __future__ import annotations

import datetime

import pytest

from farthing.catalog.user_prices import YOURS, parse_user_prices
from farthing.errors import InputError

DATE = datetime.date(2026, 11, 21)
RENTAL = "[rental.h100-sxm]\nusd_per_hour = 2.1\nspot_usd_per_hour = 1.2\ndate = 2026-11-21\n"
API = '[api.OpenAI.text-embedding-3-small]\nusd_per_million_tokens = 0.015\ntokenizer = "cl100k"\ndate = 2026-11-21\n'


def test_an_empty_file_sets_nothing() -> None:
    prices = parse_user_prices("# nothing yet\n", "prices.toml")
    assert (prices.rentals, prices.apis) == ((), ())


def test_rental_prices() -> None:
    on_demand, spot = parse_user_prices(RENTAL, "prices.toml").rentals
    assert (on_demand.device, on_demand.kind, on_demand.usd_per_hour) == ("h100-sxm", "on-demand", 2.1)
    assert (spot.device, spot.kind, spot.usd_per_hour) == ("h100-sxm", "spot", 1.2)
    assert (on_demand.source, on_demand.provider, on_demand.date) == (YOURS, YOURS, DATE)


def test_a_rental_price_without_spot_says_nothing_of_spot() -> None:
    (row,) = parse_user_prices("[rental.L4]\nusd_per_hour = 1\ndate = 2026-11-21\n", "prices.toml").rentals
    assert (row.device, row.kind) == ("l4", "on-demand")


def test_api_prices() -> None:
    (row,) = parse_user_prices(API, "prices.toml").apis
    assert (row.provider, row.model, row.tokenizer) == ("OpenAI", "text-embedding-3-small", "cl100k")
    assert (row.usd_per_million_tokens, row.date, row.source) == (0.015, DATE, YOURS)
    assert row.usd_per_million_tokens_batch is None


def test_a_batch_price_beside_the_list_price() -> None:
    (row,) = parse_user_prices(API + "usd_per_million_tokens_batch = 0.01\n", "prices.toml").apis
    assert (row.usd_per_million_tokens, row.usd_per_million_tokens_batch) == (0.015, 0.01)


@pytest.mark.parametrize("line", [line for line in RENTAL.splitlines()[1:] if "spot" not in line])
def test_no_rental_price_goes_without_value_and_date(line: str) -> None:
    key = line.split(maxsplit=1)[0]
    with pytest.raises(InputError, match=rf"^prices\.toml: rental\.h100-sxm: {key} "):
        parse_user_prices(RENTAL.replace(f"\n{line}\n", "\n"), "prices.toml")


@pytest.mark.parametrize("line", [line for line in API.splitlines()[1:] if "tokenizer" not in line])
def test_no_api_price_goes_without_value_and_date(line: str) -> None:
    key = line.split(maxsplit=1)[0]
    with pytest.raises(InputError, match=rf"^prices\.toml: api\.OpenAI\.text-embedding-3-small: {key} "):
        parse_user_prices(API.replace(f"\n{line}\n", "\n"), "prices.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RENTAL.replace("2.1", "0"), "rental.h100-sxm: usd_per_hour is 0"),
        (RENTAL.replace("2.1", '"2.1"'), "rental.h100-sxm: usd_per_hour is '2.1'"),
        (RENTAL.replace("1.2", "-1"), "rental.h100-sxm: spot_usd_per_hour is -1"),
        (RENTAL.replace("usd_per_hour = 2.1", "usd = 2.1"), "rental.h100-sxm: usd is not a key here"),
        (RENTAL.replace("2026-11-21", '"May"'), "rental.h100-sxm: date is 'May'"),
        (RENTAL.replace("2026-11-21", "2026-11-21T10:00:00"), "rental.h100-sxm: date is "),
        (
            API + "usd_per_million_tokens_batch = 0.016\n",
            "api.OpenAI.text-embedding-3-small: usd_per_million_tokens_batch is 0.016: expected at most "
            "usd_per_million_tokens, which is 0.015",
        ),
        (
            API + "usd_per_million_tokens_batch = 0\n",
            "api.OpenAI.text-embedding-3-small: usd_per_million_tokens_batch is 0: expected a number above 0",
        ),
        (API.replace('"cl100k"', "3"), "api.OpenAI.text-embedding-3-small: tokenizer is missing"),
        (API.replace("tokenizer", "tokeniser"), "api.OpenAI.text-embedding-3-small: tokeniser is not a key"),
        ("[api.OpenAI]\nusd_per_million_tokens = 1\n", "api.OpenAI.usd_per_million_tokens: is 1: expected"),
        ("[rental]\nh100-sxm = 2.1\n", "rental.h100-sxm: is 2.1: expected a table"),
        ("[rentals.x]\nusd_per_hour = 1\n", "rentals: unknown table"),
        ("rental = 3\n", "rental: is 3: expected a table"),
        ("[rental\n", "not TOML"),
    ],
)
def test_anything_else_is_one_line_that_names_file_row_and_key(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_user_prices(text, "prices.toml")
    assert str(caught.value).startswith(f"prices.toml: {said}")
    assert "\n" not in str(caught.value)
