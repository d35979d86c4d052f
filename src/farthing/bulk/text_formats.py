"""Readers of the formats made of lines: .txt, .jsonl and .csv.

Each takes a stream of bytes and yields records one by one; at most one row is in memory.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from typing import BinaryIO

from farthing.bulk.records import (
    Place,
    Record,
    missing_field,
    require_id,
    require_text,
    shown,
)
from farthing.errors import InputError, RowError

MAX_CSV_FIELD_CHARACTERS = 2**31 - 1
"""The most that the csv module takes on every platform (a C long)."""


def read_txt(stream: BinaryIO, name: str, text_field: str, id_field: str | None) -> Iterator[Record]:
    """Yield one record per line; a blank line is an empty text, so that row n is line n + 1.

    The fields are not used: plain text has none.

    Raises:
        RowError: a line is not UTF-8.
    """
    del text_field, id_field
    for row, line in enumerate(_lines(stream, name)):
        text = line.removesuffix("\r\n") if line.endswith("\r\n") else line.removesuffix("\n")
        yield Record(str(row), text)


def read_jsonl(stream: BinaryIO, name: str, text_field: str, id_field: str | None) -> Iterator[Record]:
    """Yield one record per line that holds a JSON object; lines of whitespace are skipped.

    Raises:
        RowError: a line is not UTF-8, not JSON, not an object, or lacks a usable text or id.
    """
    row = 0
    for number, line in enumerate(_lines(stream, name), start=1):
        if line.isspace():
            continue
        place = Place(name, row, number)
        values = _json_object(line, place)
        if text_field not in values:
            raise place.error(missing_field(text_field, list(values), "--text-field"))
        text = require_text(values[text_field], text_field, place)
        identifier = str(row)
        if id_field is not None:
            if id_field not in values:
                raise place.error(missing_field(id_field, list(values), "--id-field"))
            identifier = require_id(values[id_field], id_field, place)
        yield Record(identifier, text)
        row += 1


def read_csv(stream: BinaryIO, name: str, text_field: str, id_field: str | None) -> Iterator[Record]:
    """Yield one record per row below the header.

    Comma-separated, double quotes around fields with commas, quotes or newlines (RFC 4180). A blank line is a row of a
    table of one field, which is empty, as RFC 4180 has it; of a wider one it is no row, as for every other reader.

    Raises:
        InputError: there is no header, or it lacks a field.
        RowError: a row is not UTF-8, is badly quoted, or has too few or too many fields.
    """
    # The limit belongs to the process, there is no other way to set it; a text of more than
    # the default 128 KiB is ordinary here. Raised only, so no other reader is hurt.
    if csv.field_size_limit() < MAX_CSV_FIELD_CHARACTERS:
        csv.field_size_limit(MAX_CSV_FIELD_CHARACTERS)
    rows = _csv_rows(_lines(stream, name), name)
    header = next((values for _, values in rows if values), None)
    if header is None:
        raise InputError(f"{shown(name)}: has no header; its first line must name the fields")
    text_at = column_index(header, text_field, name, "--text-field")
    id_at = None if id_field is None else column_index(header, id_field, name, "--id-field")
    row = 0
    blank = [""] if len(header) == 1 else []
    for line, fields in rows:
        place, values = Place(name, row, line), fields or blank
        if not values:
            continue
        if len(values) != len(header):
            raise place.error(
                f"{len(values)} fields where the header has {len(header)}; "
                "fix the row, or quote the field that holds a comma"
            )
        identifier = str(row)
        if id_at is not None:
            identifier = values[id_at]
            if not identifier:  # how CSV spells "missing"
                raise place.error(f"field {id_field!r} is empty; fix or remove the row")
        yield Record(identifier, values[text_at])
        row += 1


def column_index(fields: list[str], field: str, name: str, option: str) -> int:
    """Return where `field` stands in a table's header.

    Raises:
        InputError: it is not there, or there twice.
    """
    if field not in fields:
        raise InputError(f"{shown(name)}: {missing_field(field, fields, option)}")
    if fields.count(field) > 1:
        raise InputError(f"{shown(name)}: has two fields {field!r}; rename one")
    return fields.index(field)


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    r"""Decode a stream line by line, newlines kept, a byte-order mark dropped.

    Lines end at \n alone: str.splitlines would also cut at U+2028 and friends, and a text
    in JSON or CSV may hold those.
    """
    for number, raw in enumerate(stream, start=1):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if not line:  # nothing but the mark
            return
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RowError(
                shown(name),
                f"line {number}",
                f"not UTF-8 (byte 0x{line[error.start]:02x} after {error.start} bytes of the line); "
                "convert the file to UTF-8",
            ) from None


def _json_object(line: str, place: Place) -> dict[str, object]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise place.error(
            f"broken JSON ({error.msg} at column {error.colno}); fix or remove the line"
        ) from None
    except (ValueError, RecursionError) as error:  # digits or nesting beyond Python's limits
        reason = str(error).split(";")[0]
        raise place.error(f"broken JSON ({reason}); fix or remove the line") from None
    if not isinstance(values, dict):
        raise place.error('not a JSON object; each line must be one, such as {"text": "…"}')
    return values


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each row starts on, from 1, and its fields; none of a blank line."""
    # strict: without it a quote that is never closed would silently swallow the rest of the file.
    reader = csv.reader(lines, strict=True)
    rows = width = 0
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = max(rows - 1, 0)
            raise Place(name, row, line).error(f"broken CSV ({error}); fix the quotes of the row") from None
        yield line, values
        width = width or len(values)
        rows += bool(values) or width == 1
