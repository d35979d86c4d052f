"""One text of the input, and how a row that cannot be one is reported."""

from __future__ import annotations

from typing import NamedTuple

from farthing.errors import RowError

MAX_FIELDS_SHOWN = 12
"""Field names listed in an error: a table can have thousands, an error is one line."""


class Record(NamedTuple):
    """One text to embed and the name it goes by in the output."""

    id: str
    text: str


class Place(NamedTuple):
    """Where a row stands: rows count from 0, as default ids do, and lines from 1, as editors do."""

    name: str
    row: int
    line: int | None = None

    def error(self, problem: str) -> RowError:
        """Return the error for this row: the file, the row, the line where there are lines, the problem."""
        line = "" if self.line is None else f" (line {self.line})"
        return RowError(shown(self.name), f"row {self.row}{line}", problem)


def shown(name: str) -> str:
    """Return `name` as it can stand in a one-line message: itself, or its repr if it would break it."""
    return name if name and name.isprintable() else repr(name)


def listed(fields: list[str]) -> str:
    """Return the field names that there are, as they stand in an error message."""
    names = ", ".join(repr(field) for field in fields[:MAX_FIELDS_SHOWN])
    more = len(fields) - MAX_FIELDS_SHOWN
    return (names or "none") + (f" and {more} more" if more > 0 else "")


def missing_field(field: str, fields: list[str], option: str) -> str:
    """Return the problem "there is no such field", with the fields there are and what to do."""
    return f"no field {field!r}; there are: {listed(fields)}; name one with {option}"


def require_text(value: object, field: str, place: Place) -> str:
    """Return `value` as the text of a record.

    Raises:
        RowError: it is not a string, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise place.error(f"field {field!r} is {_kind(value)}, not a string; fix or remove the row")
    return _encodable(value, field, place)


def require_id(value: object, field: str, place: Place) -> str:
    """Return `value` as the id of a record: a string as it is, an integer in decimal.

    Raises:
        RowError: it is neither, or cannot be encoded.
    """
    # bool is an int in Python, but `true` as an id is a mistake in the data.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise place.error(
            f"field {field!r} is {_kind(value)}, not a string or an integer; fix or remove the row"
        )
    return _encodable(value, field, place)


def _encodable(text: str, field: str, place: Place) -> str:
    # JSON can spell a lone surrogate (\ud800). No UTF-8 stands for it, so neither the
    # tokenizer nor the output could take the text: better here than an hour into the job.
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise place.error(
                f"field {field!r} holds half of a surrogate pair (\\u{code:04x} at character "
                f"{error.start}), which is no text; fix or remove the row"
            ) from None
    return text


def _kind(value: object) -> str:
    """Say what a value is, in the words of the formats rather than of Python."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
    return f"a {type(value).__name__}"
