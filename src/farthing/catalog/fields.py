"""The fields of a table, a JSON object or a CSV row, each checked and named by file, row and key where it is wrong."""

from __future__ import annotations

import csv
import datetime
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from sys import float_info
from typing import Any

from farthing.catalog.rows import Fact
from farthing.errors import InputError, RowError, excerpt
from farthing.units import to_base

Origin = tuple[str, datetime.date]
"""Source and date."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Values by key.

    Attributes:
        file: where it stands, for errors.
        row: where in the file; empty where it is of one object.
        values: what is there.
        parent: name of the field that it is the value of, with its point; empty for a row itself.
        all_text: whether numbers and dates are written as text, as in CSV.
    """

    file: str
    row: str
    values: Mapping[str, Any]
    parent: str = ""
    all_text: bool = False

    def wrong(self, key: str, problem: str) -> InputError:
        """Return the error that names file, row and key."""
        said = f"{self.parent}{key} {problem}"
        return RowError(self.file, self.row, said) if self.row else InputError(f"{self.file}: {said}")

    def unlike(self, key: str, expected: str) -> InputError:
        """Return the error that a value is not what is expected, or missing."""
        if key not in self.values or self.values[key] == "":
            return self.wrong(key, f"is missing: expected {expected}")
        return self.wrong(key, f"is {excerpt(self.values[key])}: expected {expected}")

    def known(self, *keys: str) -> None:
        """Refuse a key that no one reads: it is most likely misspelt."""
        for key in self.values:
            if key not in keys:
                raise self.wrong(key, f"is not a key here: use {', '.join(keys)}")

    def text(self, key: str) -> str:
        """Return a text that is not blank."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "is missing: expected text")
        return value

    def choice(self, key: str, among: Sequence[str]) -> str:
        """Return one of some texts."""
        if self.values.get(key) not in among:
            problem = f"is {excerpt(self.values[key])}" if key in self.values else "is missing"
            raise self.wrong(key, f"{problem}: use one of {', '.join(among)}")
        return str(self.values[key])

    def number(self, key: str, *, zero: bool = False, most: str | None = None) -> float:
        """Return a number above 0, or of at least 0 where that is allowed, and no more than that of another key."""
        value = self._number(key)
        if value is None or not (value >= 0 if zero else value > 0):
            raise self.unlike(key, f"a number {'of at least' if zero else 'above'} 0")
        if most is not None and value > (limit := self.number(most)):
            raise self.wrong(key, f"is {value:g}: expected at most {most}, which is {limit:g}")
        return value

    def count(self, key: str) -> int:
        """Return a whole number above 0."""
        value = self._number(key)
        if value is None or value != int(value) or value < 1:
            raise self.unlike(key, "a whole number above 0")
        return int(value)

    def rising(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers above 0 that rise."""
        values = self.values.get(key)
        numbers = [_number(value) for value in values] if isinstance(values, list) else []
        whole = [int(n) for n in numbers if n is not None and n == int(n) and n > 0]
        if not whole or len(whole) != len(numbers) or any(a >= b for a, b in pairwise(whole)):
            raise self.unlike(key, "a rising list of whole numbers above 0")
        return tuple(whole)

    def date(self, key: str = "date") -> datetime.date:
        """Return a date without a time; a fact is not of the day after tomorrow, which would never be old."""
        value = self.values.get(key)
        if self.all_text and isinstance(value, str):
            try:
                value = datetime.date.fromisoformat(value)
            except ValueError:
                value = None
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            raise self.wrong(key, f"is {excerpt(self.values.get(key))}: expected a date such as 2026-11-20")
        if value > datetime.date.today() + datetime.timedelta(days=1):  # elsewhere a day begins earlier
            raise self.wrong(key, f"is {value}: it is still to come")
        return value

    def table(self, key: str, expected: str = "a table") -> Fields:
        """Return the fields of a value that has some."""
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            raise self.unlike(key, expected)
        return Fields(self.file, self.row, value, f"{self.parent}{key}.")

    def origin(self) -> Origin | None:
        """Return the source and date that stand for all figures of a row that name neither; None when not given."""
        if "source" not in self.values and "date" not in self.values:
            return None
        return self.text("source"), self.date()

    def fact(self, key: str, base_unit: str, origin: Origin | None = None) -> Fact:
        """Return a figure; its unit must be `base_unit`, with or without a prefix.

        Args:
            key: its name.
            base_unit: what it is measured in.
            origin: source and date of the row; they count when the figure names neither.

        Raises:
            RowError: value, unit, source or date is missing or wrong.
        """
        if not isinstance(self.values.get(key), Mapping):
            raise self.wrong(key, "is missing: give { value, unit, source, date }")
        entry = self.table(key)
        entry.known("value", "unit", "source", "date")
        value, unit = entry.number("value"), entry.text("unit")
        if unit.lstrip("kMGTP") != base_unit:
            raise entry.unlike("unit", f"{base_unit}, with or without an SI prefix")
        try:
            base = to_base(value, unit)
        except InputError as error:
            raise RowError(self.file, self.row, f"{entry.parent}unit: {error}") from error
        # A date belongs to its source: a figure with a source of its own does not take the row's date.
        if origin is None or "source" in entry.values or "date" in entry.values:
            origin = entry.text("source"), entry.date()
        return Fact(value=base, unit=unit, source=origin[0], date=origin[1])

    def _number(self, key: str) -> float | None:
        value = self.values.get(key)
        if self.all_text and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return None
        return _number(value)


def _number(value: object) -> float | None:
    """Return a finite number; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= float_info.max:
        return None
    return float(value)


def tables(text: str, source: str) -> list[tuple[str, Fields]]:
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
    return [(name, table(source, name, row)) for name, row in document.items()]


def table(file: str, name: str, value: object, expected: str = "a table") -> Fields:
    """Return the fields of a row.

    Raises:
        RowError: it has none.
    """
    if not isinstance(value, Mapping):
        problem = f"is {excerpt(value)}: expected {expected}"
        raise RowError(file, name, problem) if name else InputError(f"{file}: {problem}")
    return Fields(file, name, value)


def csv_rows(
    text: str,
    source: str,
    columns: tuple[str, ...],
    optional: tuple[str, ...] = ("note",),
    since: tuple[str, ...] = (),
) -> list[Fields]:
    """Return the rows of a CSV document.

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
    for number, values in enumerate(reader, start=1):
        row = Fields(
            source,
            f"row {number} (line {reader.line_num})",
            dict.fromkeys(since, "") | dict(values),
            all_text=True,
        )
        if None in values or None in values.values():
            raise RowError(
                source, row.row, f"has not {len(heading)} fields: quote a field that contains a comma"
            )
        for column in columns:
            if column not in optional and not row.values[column].strip():
                raise row.wrong(column, "is missing")
        rows.append(row)
    return rows
