"""Names an input and iterates over its texts, as often as wanted, in bounded memory.

Knows which formats there are. What a format looks like inside is in `text_formats` and
`parquet_file`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from farthing.bulk.input_file import open_input, unreadable
from farthing.bulk.parquet_file import read_parquet
from farthing.bulk.records import Record, shown
from farthing.bulk.stdin_spool import StdinSpool
from farthing.bulk.text_formats import read_csv, read_jsonl, read_txt
from farthing.errors import InputError

__all__ = ["FORMATS", "STDIN", "Record", "Source", "SourceDescription", "open_source"]

STDIN = "-"


class Format(NamedTuple):
    """How files with a suffix are read: (stream, name, text field, id field) → records."""

    read: Callable[[BinaryIO, str, str, str | None], Iterator[Record]]
    has_fields: bool


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        ".txt": Format(read_txt, has_fields=False),
        ".jsonl": Format(read_jsonl, has_fields=True),
        ".ndjson": Format(read_jsonl, has_fields=True),
        ".csv": Format(read_csv, has_fields=True),
        ".parquet": Format(read_parquet, has_fields=True),
    }
)


@dataclass(frozen=True)
class SourceDescription:
    """What identifies an input, so that its texts can be looked up later.

    Attributes:
        path: absolute; None for standard input, which cannot be read again.
        size_bytes: size when it was opened.
        mtime_ns: time of its last change when it was opened, ns since 1970; None for standard input.
        text_field: the field that holds the texts.
        id_field: the field that holds the ids; None where ids are row numbers.
        limit: records read at most; None is all.
    """

    path: str | None
    size_bytes: int
    mtime_ns: int | None
    text_field: str
    id_field: str | None
    limit: int | None

    def published(self) -> SourceDescription:
        """Return it without the folder: where files lie on a machine is nobody else's business."""
        return self if self.path is None else replace(self, path=Path(self.path).name)

    def to_json(self) -> str:
        """Return the description as one line of JSON."""
        return json.dumps(asdict(self))


class Source:
    """An input: each iteration yields its records from the start.

    Attributes:
        name: the input as the user named it.
    """

    def __init__(
        self, name: str, form: Format, open_stream: Callable[[], BinaryIO], description: SourceDescription
    ) -> None:
        self.name = name
        self._format = form
        self._open_stream = open_stream
        self._description = description

    def describe(self) -> SourceDescription:
        """Return what identifies this input."""
        return self._description

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in order.

        Raises:
            InputError: the input cannot be read, has changed since it was opened, or has no texts.
            RowError: a row is not usable.
            MissingExtraError: the format needs a package that is absent.
        """
        about = self._description
        is_empty = True
        try:
            with self._open_stream() as stream:
                records = self._format.read(stream, self.name, about.text_field, about.id_field)
                for record in islice(records, about.limit):
                    is_empty = False
                    yield record
        except OSError as error:
            raise unreadable(self.name, error) from None
        if is_empty:
            raise InputError(f"{shown(self.name)}: holds no texts; give at least one")


def open_source(
    path: str, *, text_field: str = "text", id_field: str | None = None, limit: int | None = None
) -> Source:
    """Open an input by its suffix, or standard input as one text per line when `path` is `-`.

    Standard input is read to its end here, to disk.

    Args:
        path: a .txt, .jsonl, .ndjson, .csv or .parquet file, or `-`.
        text_field: the field that holds the texts, where the format has fields.
        id_field: the field that holds the ids; None makes ids of row numbers, from 0.
        limit: records to read at most; None is all.

    Raises:
        InputError: the file is missing, a folder, unreadable or of an unknown format; the limit is
            not positive; an id field is asked of a format without fields.
    """
    if limit is not None and limit <= 0:
        raise InputError(f"limit {limit}: is not positive; give 1 or more, or none for all texts")
    form = _format_of(path)
    if id_field is not None and not form.has_fields:
        raise InputError(
            f"{shown(path)}: plain text has no fields, so no id field {id_field!r}; leave out --id-field"
        )
    if path == STDIN:
        spool = _spooled_stdin(limit)
        about = SourceDescription(None, spool.size_bytes, None, text_field, id_field, limit)
        return Source(path, form, spool.open, about)
    with open_input(path) as stream:
        status = os.fstat(stream.fileno())
    about = SourceDescription(
        str(Path(path).absolute()), status.st_size, status.st_mtime_ns, text_field, id_field, limit
    )
    return Source(path, form, lambda: _open_unchanged(path, about), about)


def _format_of(path: str) -> Format:
    if path == STDIN:
        return FORMATS[".txt"]
    suffix = Path(path).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    open_input(path).close()  # a missing file or a folder is better called that
    problem = f"unknown extension {suffix!r}" if suffix else "has no extension"
    raise InputError(f"{shown(path)}: {problem}; use one of {', '.join(FORMATS)}, or - for standard input")


def _spooled_stdin(limit: int | None) -> StdinSpool:
    if sys.stdin is None:
        raise InputError("-: there is no standard input; name a file")
    try:
        return StdinSpool(sys.stdin.buffer, lines=limit)
    except OSError as error:
        raise unreadable(STDIN, error) from None


def _open_unchanged(path: str, about: SourceDescription) -> BinaryIO:
    """Open the file again; what was checked in the first pass must be what is embedded in the next."""
    stream = open_input(path)
    status = os.fstat(stream.fileno())
    if (status.st_size, status.st_mtime_ns) != (about.size_bytes, about.mtime_ns):
        stream.close()
        raise InputError(f"{shown(path)}: has changed since it was opened; run again, on a copy if it grows")
    return stream
