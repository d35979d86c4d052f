"""Reads the fields of TOML tables and CSV rows, and refuses a bad one by file, row and key.

Knows no row of the catalog: `load` and `user_prices` say which fields a row has.
"""

from __future__ import annotations

import csv
import datetime
import math
import tomllib
from collections.abc import Mapping
from sys import float_info
from typing import Any

from farthing.catalog.rows import Fact
from farthing.errors import InputError, RowError, excerpt
from farthing.units import to_base

Where = tuple[str, str]
"""File and row, for errors."""

Origin = tuple[str, datetime.date]
"""Source and date."""

_FACT_KEYS = ("value", "unit", "source", "date")


def tables(text: str, source: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the tables of a TOML document with their names.

    Args:
        text: the TOML.
        source: name of the file, for errors.

    Raises:
        InputError: the text is not TOML, or something in it is no table.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not TOML: {error}") from error
    for name, row in document.items():
        if not isinstance(row, dict):
            raise RowError(source, name, f"is {excerpt(row)}: expected a table")
    return list(document.items())


def known_keys(row: Mapping[str, Any], keys: tuple[str, ...], where: Where) -> None:
    """Refuse a key that no one reads: it is most likely misspelt.

    Raises:
        RowError: there is one.
    """
    for key in row:
        if key not in keys:
            raise RowError(*where, f"{key} is not a key here: use {', '.join(keys)}")


def toml_origin(row: Mapping[str, Any], where: Where) -> Origin | None:
    """Read the source and date that stand for all figures of a row that name neither; None when not given.

    Raises:
        RowError: one of the two is given without the other, or is wrong.
    """
    if "source" not in row and "date" not in row:
        return None
    return toml_text(row, "source", where), toml_date(row, "date", where)


def toml_fact(entry: Any, key: str, base_unit: str, where: Where, origin: Origin | None = None) -> Fact:
    """Read one figure; its unit must be `base_unit`, with or without a prefix.

    Args:
        entry: the figure's table.
        key: its name, for errors.
        base_unit: what it is measured in.
        where: file and row, for errors.
        origin: source and date of the row; they count when the figure names neither.

    Raises:
        RowError: value, unit, source or date is missing or wrong.
    """
    if not isinstance(entry, dict):
        raise RowError(*where, f"{key} is missing: give {{ value, unit, source, date }}")
    for name in entry:
        if name not in _FACT_KEYS:
            raise RowError(*where, f"{key}.{name} is not a key here: use {', '.join(_FACT_KEYS)}")
    value = toml_number(entry, "value", where, key)
    unit = toml_text(entry, "unit", where, key)
    if unit.lstrip("kMGTP") != base_unit:
        raise RowError(
            *where, f"{key}.unit is {excerpt(unit)}: expected {base_unit}, with or without an SI prefix"
        )
    try:
        base = to_base(value, unit)
    except InputError as error:
        raise RowError(*where, f"{key}.unit: {error}") from error
    # A date belongs to its source: a figure with a source of its own does not take the row's date.
    if origin is None or "source" in entry or "date" in entry:
        origin = toml_text(entry, "source", where, key), toml_date(entry, "date", where, key)
    return Fact(value=base, unit=unit, source=origin[0], date=origin[1])


def toml_number(entry: Mapping[str, Any], key: str, where: Where, parent: str = "") -> float:
    """Read a number above 0.

    Raises:
        RowError: it is missing, or no such number.
    """
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= float_info.max:
        raise RowError(*where, f"{_name(key, parent)} is {excerpt(value)}: expected a number above 0")
    return float(value)


def toml_text(entry: Mapping[str, Any], key: str, where: Where, parent: str = "") -> str:
    """Read a text that is not blank.

    Raises:
        RowError: it is missing, blank or no text.
    """
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RowError(*where, f"{_name(key, parent)} is missing: expected text")
    return value


def toml_date(entry: Mapping[str, Any], key: str, where: Where, parent: str = "") -> datetime.date:
    """Read a date without a time.

    Raises:
        RowError: it is missing or no date.
    """
    value = entry.get(key)
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise RowError(
            *where, f"{_name(key, parent)} is {excerpt(value)}: expected a date such as 2026-11-20"
        )
    return not_to_come(value, where)


def not_to_come(date: datetime.date, where: Where) -> datetime.date:
    """Return a date of a fact, which would never be old if it were far ahead.

    Raises:
        RowError: it is after tomorrow: elsewhere a day begins earlier.
    """
    if date > datetime.date.today() + datetime.timedelta(days=1):
        raise RowError(*where, f"date is {date}: it is still to come")
    return date


def csv_rows(
    text: str,
    source: str,
    columns: tuple[str, ...],
    optional: tuple[str, ...] = ("note",),
    since: tuple[str, ...] = (),
) -> list[tuple[Where, dict[str, str]]]:
    """Return (file, row name) and the fields of each row of a CSV document.

    Args:
        text: the CSV, with a heading line.
        source: name of the file, for errors.
        columns: the heading, in order.
        optional: columns whose fields may be blank.
        since: optional columns that files of an earlier Farthing lack; their fields are then blank.

    Raises:
        InputError: the columns are others, or a field is missing.
    """
    reader = csv.DictReader(text.splitlines(), strict=True)
    heading = tuple(reader.fieldnames or ())
    if heading not in (columns, tuple(column for column in columns if column not in since)):
        raise InputError(f"{source}: columns are {reader.fieldnames}: expected {','.join(columns)}")
    rows = []
    for number, fields in enumerate(reader, start=1):
        where = (source, f"row {number} (line {reader.line_num})")
        if None in fields or None in fields.values():
            raise RowError(*where, f"has not {len(heading)} fields: quote a field that contains a comma")
        row = dict.fromkeys(since, "") | fields
        for column in columns:
            if column not in optional and not row[column].strip():
                raise RowError(*where, f"{column} is missing")
        rows.append((where, row))
    return rows


def csv_number(row: Mapping[str, str], key: str, where: Where) -> float:
    """Read a number above 0.

    Raises:
        RowError: it is no such number.
    """
    try:
        value = float(row[key])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RowError(*where, f"{key} is {excerpt(row[key])}: expected a number above 0")
    return value


def at_most(value: float, key: str, most: float, most_key: str, where: Where) -> float:
    """Return a number that may not be above another one of its row.

    Raises:
        RowError: it is.
    """
    if value > most:
        raise RowError(*where, f"{key} is {value:g}: expected at most {most_key}, which is {most:g}")
    return value


def csv_date(row: Mapping[str, str], where: Where) -> datetime.date:
    """Read the column `date`.

    Raises:
        RowError: it is no date.
    """
    try:
        date = datetime.date.fromisoformat(row["date"])
    except ValueError:
        raise RowError(
            *where, f"date is {excerpt(row['date'])}: expected a date such as 2026-11-20"
        ) from None
    return not_to_come(date, where)


def _name(key: str, parent: str) -> str:
    return f"{parent}.{key}" if parent else key
