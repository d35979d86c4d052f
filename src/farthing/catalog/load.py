"""Reads and checks the catalog's files: a row without value, unit, source or date is refused.

Knows which fields each kind of row has, and the package's own data files, which are read when asked for and
never at import. The user's files and live prices are merged in `facts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from farthing.catalog.fields import (
    Origin,
    Where,
    at_most,
    csv_date,
    csv_number,
    csv_rows,
    known_keys,
    tables,
    toml_date,
    toml_fact,
    toml_origin,
    toml_text,
)
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

RENTAL_COLUMNS = ("device", "provider", "kind", "usd_per_hour", "date", "source", "note")
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
        where = (source, device)
        known_keys(row, _DEVICE_KEYS, where)
        origin = toml_origin(row, where)
        peak = _facts(row, "peak", where, origin)
        if not peak:
            raise RowError(source, device, "peak is missing: give a figure for at least one dtype")
        devices.append(
            CatalogDevice(
                device=device.strip().lower(),
                name=toml_text(row, "name", where),
                peak=peak,
                achievable=_facts(row, "achievable", where, origin),
                memory=toml_fact(row.get("memory"), "memory", "B", where, origin),
                bandwidth=toml_fact(row.get("bandwidth"), "bandwidth", "B/s", where, origin),
                power=toml_fact(row["power"], "power", "W", where, origin) if "power" in row else None,
            )
        )
    return tuple(devices)


def parse_models(text: str, source: str) -> tuple[CatalogModel, ...]:
    """Read models from TOML. Arguments and errors are as in `parse_devices`."""
    models = []
    for name, row in tables(text, source):
        where = (source, name)
        known_keys(row, _MODEL_KEYS, where)
        config, aliases = row.get("config"), row.get("aliases", [])
        if not isinstance(config, dict):
            raise RowError(source, name, "config is missing: give the figures of its config.json")
        if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
            raise RowError(source, name, f"aliases is {aliases!r}: expected a list of names")
        models.append(
            CatalogModel(
                name=name,
                aliases=tuple(aliases),
                config=config,
                max_seq_length=_text_limit(row, where),
                source=toml_text(row, "source", where),
                date=toml_date(row, "date", where),
            )
        )
    return tuple(models)


def parse_rental_quotes(text: str, source: str) -> tuple[RentalQuote, ...]:
    """Read rental quotes from CSV. Arguments and errors are as in `parse_devices`."""
    kinds = get_args(RentalKind)
    quotes = []
    for where, row in csv_rows(text, source, RENTAL_COLUMNS):
        if row["kind"] not in kinds:
            raise RowError(*where, f"kind is {row['kind']!r}: use one of {', '.join(kinds)}")
        quotes.append(
            RentalQuote(
                device=row["device"],
                provider=row["provider"],
                kind=cast(RentalKind, row["kind"]),
                usd_per_hour=csv_number(row, "usd_per_hour", where),
                date=csv_date(row, where),
                source=row["source"],
                note=row["note"],
            )
        )
    return tuple(quotes)


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
    batch = "usd_per_million_tokens_batch"
    prices = []
    for where, row in csv_rows(text, source, API_COLUMNS, ("note", batch), since=(batch,)):
        if row["tokenizer"] not in known:
            raise RowError(*where, f"tokenizer is {row['tokenizer']!r}: use one of {', '.join(known)}")
        listed, date = csv_number(row, "usd_per_million_tokens", where), csv_date(row, where)
        at_batch = None
        if row[batch].strip():
            usd = at_most(csv_number(row, batch, where), batch, listed, "usd_per_million_tokens", where)
            at_batch = BatchPrice(usd_per_million_tokens=usd, date=date, source=row["source"])
        prices.append(
            ApiPrice(
                provider=row["provider"],
                model=row["model"],
                usd_per_million_tokens=listed,
                tokens_per_character=known[row["tokenizer"]],
                date=date,
                source=row["source"],
                note=row["note"],
                batch=at_batch,
            )
        )
    return tuple(prices)


def parse_tokenizers(text: str, source: str) -> tuple[TokensPerCharacter, ...]:
    """Read tokens per character from CSV. Arguments and errors are as in `parse_devices`."""
    rows = []
    for where, row in csv_rows(text, source, _TOKENIZER_COLUMNS, ("vocabularies", "note")):
        mid, low, high = (csv_number(row, key, where) for key in ("tokens_per_character", "low", "high"))
        if not low <= mid <= high:
            raise RowError(*where, f"tokens_per_character is {mid}: expected {low} ≤ it ≤ {high}")
        vocabularies = row["vocabularies"].split()
        if not all(size.isdecimal() for size in vocabularies):
            raise RowError(*where, f"vocabularies is {row['vocabularies']!r}: expected sizes, spaced")
        rows.append(
            TokensPerCharacter(
                tokenizer=row["tokenizer"],
                vocabularies=tuple(map(int, vocabularies)),
                mid=mid,
                low=low,
                high=high,
                source=row["source"],
                date=csv_date(row, where),
            )
        )
    return tuple(rows)


def _text(name: str) -> str:
    # Not importlib.resources, which takes longer to import than all of the files take to read.
    return (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")


def _text_limit(row: Mapping[str, Any], where: Where) -> Fact | None:
    """Read the most tokens of a text; a figure without a source of its own has that of the row."""
    if "max_seq_length" not in row:
        return None
    limit = toml_fact(row["max_seq_length"], "max_seq_length", "tokens", where, toml_origin(row, where))
    if limit.value != int(limit.value):
        raise RowError(*where, f"max_seq_length.value is {limit.value}: expected a whole number")
    return limit


def _facts(row: Mapping[str, Any], key: str, where: Where, origin: Origin | None) -> dict[str, Fact]:
    """Read a table of rates per dtype, all in FLOP/s."""
    table = row.get(key, {})
    if not isinstance(table, dict):
        raise RowError(*where, f"{key} is {table!r}: expected a figure per dtype")
    for dtype in table:
        if dtype not in DTYPE_BYTES:
            raise RowError(*where, f"{key}.{dtype}: unknown dtype: use one of {', '.join(DTYPE_BYTES)}")
    return {
        dtype: toml_fact(entry, f"{key}.{dtype}", "FLOP/s", where, origin) for dtype, entry in table.items()
    }
