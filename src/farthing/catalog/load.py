"""Reads and checks the catalog's files: a row without value, unit, source or date is refused.

Knows which fields each kind of row has, and the package's own data files, which are read when asked for and
never at import. The user's files and live prices are merged in `facts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from farthing.catalog.fields import Fields, Origin, csv_rows, tables
from farthing.catalog.rows import (
    ApiPrice,
    BatchPrice,
    CatalogDevice,
    CatalogModel,
    Fact,
    RentalKind,
    RentalQuote,
    TokensPerCharacter,
)
from farthing.errors import RowError
from farthing.theory.dtypes import DTYPE_BYTES

RENTAL_COLUMNS = ("device", "provider", "kind", "usd_per_hour", "date", "source", "sold_by", "note")
API_COLUMNS = (
    *("provider", "model", "usd_per_million_tokens", "usd_per_million_tokens_batch", "tokenizer"),
    *("date", "source", "note"),
)
_TOKENIZER_COLUMNS = (
    *("tokenizer", "vocabularies", "tokens_per_character", "low", "high"),
    *("date", "source", "note"),
)
_MODEL_KEYS = ("aliases", "config", "max_seq_length", "source", "date")
_DEVICE_KEYS = ("name", "source", "date", "peak", "achievable", "memory", "bandwidth", "power")


def load_devices() -> tuple[CatalogDevice, ...]:
    """Return the devices that come with Farthing."""
    return parse_devices(_text("devices.toml"), "devices.toml")


def load_rental_quotes() -> tuple[RentalQuote, ...]:
    """Return the rental quotes that come with Farthing."""
    return parse_rental_quotes(_text("rental_prices.csv"), "rental_prices.csv")


def load_api_prices() -> tuple[ApiPrice, ...]:
    """Return the API list prices that come with Farthing."""
    return parse_api_prices(_text("api_prices.csv"), "api_prices.csv", load_tokenizers())


def load_models() -> tuple[CatalogModel, ...]:
    """Return the models that come with Farthing."""
    return parse_models(_text("models.toml"), "models.toml")


def load_tokenizers() -> tuple[TokensPerCharacter, ...]:
    """Return how many tokens known tokenizers make of a character of English."""
    return parse_tokenizers(_text("tokens_per_character.csv"), "tokens_per_character.csv")


def parse_devices(text: str, source: str) -> tuple[CatalogDevice, ...]:
    """Read devices from TOML.

    Each figure has its source and date; those of the device stand for figures that name neither.

    Args:
        text: the TOML: a table per device.
        source: name of the file, for errors.

    Raises:
        InputError: the text is not TOML, or a row lacks something; file, row and key are named.
    """
    devices = []
    for device, row in tables(text, source):
        row.known(*_DEVICE_KEYS)
        origin = row.origin()
        peak = _facts(row, "peak", origin)
        if not peak:
            raise row.wrong("peak", "is missing: give a figure for at least one dtype")
        devices.append(
            CatalogDevice(
                device=device.strip().lower(),
                name=row.text("name"),
                peak=peak,
                achievable=_facts(row, "achievable", origin),
                memory=row.fact("memory", "B", origin),
                bandwidth=row.fact("bandwidth", "B/s", origin),
                power=row.fact("power", "W", origin) if "power" in row.values else None,
            )
        )
    return tuple(devices)


def parse_models(text: str, source: str) -> tuple[CatalogModel, ...]:
    """Read models from TOML. Arguments and errors are as in `parse_devices`."""
    models = []
    for name, row in tables(text, source):
        row.known(*_MODEL_KEYS)
        config, aliases = row.values.get("config"), row.values.get("aliases", [])
        if not isinstance(config, dict):
            raise row.wrong("config", "is missing: give the figures of its config.json")
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise row.wrong("aliases", f"is {aliases!r}: expected a list of names")
        models.append(
            CatalogModel(
                name=name,
                aliases=tuple(aliases),
                config=config,
                max_seq_length=_text_limit(row),
                source=row.text("source"),
                date=row.date(),
            )
        )
    return tuple(models)


def parse_rental_quotes(text: str, source: str) -> tuple[RentalQuote, ...]:
    """Read rental quotes from CSV. Arguments and errors are as in `parse_devices`."""
    return tuple(
        RentalQuote(
            device=row.values["device"],
            provider=row.values["provider"],
            kind=cast(RentalKind, row.choice("kind", get_args(RentalKind))),
            usd_per_hour=row.number("usd_per_hour"),
            date=row.date(),
            source=row.values["source"],
            note=row.values["note"],
            sold_by=row.count("sold_by") if row.values["sold_by"].strip() else 1,
        )
        for row in csv_rows(text, source, RENTAL_COLUMNS, ("note", "sold_by"), since=("sold_by",))
    )


def parse_api_prices(
    text: str, source: str, tokenizers: tuple[TokensPerCharacter, ...]
) -> tuple[ApiPrice, ...]:
    """Read API list prices from CSV. Arguments and errors are as in `parse_devices`.

    Args:
        text: the CSV.
        source: name of the file, for errors.
        tokenizers: those that the rows name.
    """
    known = {row.tokenizer: row for row in tokenizers}
    listed, batch = "usd_per_million_tokens", "usd_per_million_tokens_batch"
    prices = []
    for row in csv_rows(text, source, API_COLUMNS, ("note", batch), since=(batch,)):
        date, origin = row.date(), row.values["source"]
        at_batch = None
        if row.values[batch].strip():
            usd = row.number(batch, most=listed)
            at_batch = BatchPrice(usd_per_million_tokens=usd, date=date, source=origin)
        prices.append(
            ApiPrice(
                provider=row.values["provider"],
                model=row.values["model"],
                usd_per_million_tokens=row.number(listed),
                tokens_per_character=known[row.choice("tokenizer", tuple(known))],
                date=date,
                source=origin,
                note=row.values["note"],
                batch=at_batch,
            )
        )
    return tuple(prices)


def parse_tokenizers(text: str, source: str) -> tuple[TokensPerCharacter, ...]:
    """Read tokens per character from CSV. Arguments and errors are as in `parse_devices`."""
    rows = []
    for row in csv_rows(text, source, _TOKENIZER_COLUMNS, ("vocabularies", "note")):
        mid, low, high = (row.number(key) for key in ("tokens_per_character", "low", "high"))
        if not low <= mid <= high:
            raise row.wrong("tokens_per_character", f"is {mid}: expected {low} ≤ it ≤ {high}")
        vocabularies = row.values["vocabularies"].split()
        if not all(size.isdecimal() for size in vocabularies):
            raise row.unlike("vocabularies", "sizes, spaced")
        rows.append(
            TokensPerCharacter(
                tokenizer=row.values["tokenizer"],
                vocabularies=tuple(map(int, vocabularies)),
                mid=mid,
                low=low,
                high=high,
                source=row.values["source"],
                date=row.date(),
            )
        )
    return tuple(rows)


def _text(name: str) -> str:
    # Not importlib.resources, which takes longer to import than all of the files take to read.
    return (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")


def _text_limit(row: Fields) -> Fact | None:
    """Read the most tokens of a text; a figure without a source of its own has that of the row."""
    if "max_seq_length" not in row.values:
        return None
    limit = row.fact("max_seq_length", "tokens", row.origin())
    if limit.value != int(limit.value):
        raise row.wrong("max_seq_length.value", f"is {limit.value}: expected a whole number")
    return limit


def _facts(row: Fields, key: str, origin: Origin | None) -> dict[str, Fact]:
    """Read a table of rates per dtype, all in FLOP/s."""
    if key not in row.values:
        return {}
    rates = row.table(key, "a figure per dtype")
    for dtype in rates.values:
        if dtype not in DTYPE_BYTES:
            raise RowError(
                row.file, row.row, f"{key}.{dtype}: unknown dtype: use one of {', '.join(DTYPE_BYTES)}"
            )
    return {dtype: rates.fact(dtype, "FLOP/s", origin) for dtype in rates.values}
