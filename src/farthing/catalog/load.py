"""Reads and checks the catalog's files: a row without value, unit, source or date is refused.

Knows TOML, CSV and the package's own data files, which are read when asked for and never at import.
"""

from __future__ import annotations

import csv
import datetime
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any, cast, get_args

from farthing.catalog.rows import ApiPrice, CatalogDevice, CatalogModel, Fact, RentalKind, RentalQuote
from farthing.errors import InputError, RowError
from farthing.theory.devices import Dtype
from farthing.units import to_base

_RENTAL_COLUMNS = ("device", "provider", "kind", "usd_per_hour", "date", "source", "note")
_API_COLUMNS = ("provider", "model", "usd_per_million_tokens", "date", "source", "note")


def load_devices() -> tuple[CatalogDevice, ...]:
    """Return the devices that come with Farthing."""
    return parse_devices(_text("devices.toml"), "devices.toml")


def load_rental_quotes() -> tuple[RentalQuote, ...]:
    """Return the rental quotes that come with Farthing."""
    return parse_rental_quotes(_text("rental_prices.csv"), "rental_prices.csv")


def load_api_prices() -> tuple[ApiPrice, ...]:
    """Return the API list prices that come with Farthing."""
    return parse_api_prices(_text("api_prices.csv"), "api_prices.csv")


def load_models() -> tuple[CatalogModel, ...]:
    """Return the models that come with Farthing."""
    return parse_models(_text("models.toml"), "models.toml")


def parse_devices(text: str, source: str) -> tuple[CatalogDevice, ...]:
    """Read devices from TOML.

    Args:
        text: the TOML: a table per device.
        source: name of the file, for errors.

    Raises:
        InputError: the text is not TOML, or a row lacks something; file, row and key are named.
    """
    devices = []
    for device, row in _tables(text, source):
        where = (source, device)
        peak = _facts(row, "peak", where)
        if not peak:
            raise RowError(source, device, "peak is missing: give a figure for at least one dtype")
        devices.append(
            CatalogDevice(
                device=device,
                name=_toml_text(row, "name", where),
                peak=peak,
                achievable=_facts(row, "achievable", where),
                memory=_fact(row.get("memory"), "memory", "B", where),
                bandwidth=_fact(row.get("bandwidth"), "bandwidth", "B/s", where),
                power=_fact(row.get("power"), "power", "W", where),
            )
        )
    return tuple(devices)


def parse_models(text: str, source: str) -> tuple[CatalogModel, ...]:
    """Read models from TOML. Arguments and errors are as in `parse_devices`."""
    models = []
    for name, row in _tables(text, source):
        where = (source, name)
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
                source=_toml_text(row, "source", where),
                date=_toml_date(row, "date", where),
            )
        )
    return tuple(models)


def parse_rental_quotes(text: str, source: str) -> tuple[RentalQuote, ...]:
    """Read rental quotes from CSV. Arguments and errors are as in `parse_devices`."""
    quotes = []
    for where, row in _csv_rows(text, source, _RENTAL_COLUMNS):
        if row["kind"] not in get_args(RentalKind):
            raise RowError(*where, f"kind is {row['kind']!r}: use one of {', '.join(get_args(RentalKind))}")
        quotes.append(
            RentalQuote(
                device=row["device"],
                provider=row["provider"],
                kind=cast(RentalKind, row["kind"]),
                usd_per_hour=_csv_price(row, "usd_per_hour", where),
                date=_csv_date(row, where),
                source=row["source"],
                note=row["note"],
            )
        )
    return tuple(quotes)


def parse_api_prices(text: str, source: str) -> tuple[ApiPrice, ...]:
    """Read API list prices from CSV. Arguments and errors are as in `parse_devices`."""
    return tuple(
        ApiPrice(
            provider=row["provider"],
            model=row["model"],
            usd_per_million_tokens=_csv_price(row, "usd_per_million_tokens", where),
            date=_csv_date(row, where),
            source=row["source"],
            note=row["note"],
        )
        for where, row in _csv_rows(text, source, _API_COLUMNS)
    )


def _text(name: str) -> str:
    return resources.files("farthing.catalog").joinpath(name).read_text(encoding="utf-8")


def _tables(text: str, source: str) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not TOML: {error}") from error
    for name, row in document.items():
        if not isinstance(row, dict):
            raise RowError(source, name, f"is {row!r}: expected a table")
    return list(document.items())


def _facts(row: Mapping[str, Any], key: str, where: tuple[str, str]) -> dict[str, Fact]:
    """Read a table of rates per dtype, all in FLOP/s."""
    table = row.get(key, {})
    if not isinstance(table, dict):
        raise RowError(*where, f"{key} is {table!r}: expected a figure per dtype")
    for dtype in table:
        if dtype not in get_args(Dtype):
            raise RowError(*where, f"{key}.{dtype}: unknown dtype: use one of {', '.join(get_args(Dtype))}")
    return {dtype: _fact(entry, f"{key}.{dtype}", "FLOP/s", where) for dtype, entry in table.items()}


def _fact(entry: Any, key: str, base_unit: str, where: tuple[str, str]) -> Fact:
    """Read one figure; its unit must be `base_unit`, with or without a prefix."""
    if not isinstance(entry, dict):
        raise RowError(*where, f"{key} is missing: give {{ value, unit, source, date }}")
    value = entry.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise RowError(*where, f"{key}.value is {value!r}: expected a number above 0")
    unit = _toml_text(entry, "unit", where, key)
    if unit.lstrip("kMGTP") != base_unit:
        raise RowError(*where, f"{key}.unit is {unit!r}: expected {base_unit}, with or without an SI prefix")
    try:
        base = to_base(float(value), unit)
    except InputError as error:
        raise RowError(*where, f"{key}.unit: {error}") from error
    return Fact(
        value=base,
        unit=unit,
        source=_toml_text(entry, "source", where, key),
        date=_toml_date(entry, "date", where, key),
    )


def _toml_text(entry: Mapping[str, Any], key: str, where: tuple[str, str], parent: str = "") -> str:
    value, name = entry.get(key), f"{parent}.{key}" if parent else key
    if not isinstance(value, str) or not value.strip():
        raise RowError(*where, f"{name} is missing: expected text")
    return value


def _toml_date(entry: Mapping[str, Any], key: str, where: tuple[str, str], parent: str = "") -> datetime.date:
    value, name = entry.get(key), f"{parent}.{key}" if parent else key
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise RowError(*where, f"{name} is {value!r}: expected a date such as 2026-11-20")
    return value


def _csv_rows(
    text: str, source: str, columns: tuple[str, ...]
) -> list[tuple[tuple[str, str], dict[str, str]]]:
    """Return (file, row name) and the fields of each row; every field but the note must be filled."""
    reader = csv.DictReader(text.splitlines(), strict=True)
    if tuple(reader.fieldnames or ()) != columns:
        raise InputError(f"{source}: columns are {reader.fieldnames}: expected {','.join(columns)}")
    rows = []
    for number, row in enumerate(reader, start=1):
        where = (source, f"row {number} (line {reader.line_num})")
        if None in row or None in row.values():
            raise RowError(*where, f"has not {len(columns)} fields: quote a field that contains a comma")
        for column in columns:
            if column != "note" and not row[column].strip():
                raise RowError(*where, f"{column} is missing")
        rows.append((where, row))
    return rows


def _csv_price(row: Mapping[str, str], key: str, where: tuple[str, str]) -> float:
    try:
        value = float(row[key])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RowError(*where, f"{key} is {row[key]!r}: expected a number above 0")
    return value


def _csv_date(row: Mapping[str, str], where: tuple[str, str]) -> datetime.date:
    try:
        return datetime.date.fromisoformat(row["date"])
    except ValueError:
        raise RowError(*where, f"date is {row['date']!r}: expected a date such as 2026-11-20") from None
