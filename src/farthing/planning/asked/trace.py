"""Arrival traces: when texts came and how long they were, from a CSV file."""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from farthing.errors import InputError, RowError

PEAK_WINDOW_S = 60.0
"""The peak rate of a trace is that of its busiest minute."""

MOST_SECONDS = 1e11
"""Later than any timestamp in seconds, which would be in the year 5138; milliseconds since 1970 are above it."""

_MOST_DIGITS = 9
_TIMES = ("timestamp", "time", "time_s", "arrival", "arrival_s")
_LENGTHS = ("contexttokens", "tokens", "length", "input_tokens", "prompt_tokens")


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals and lengths.

    Attributes:
        arrivals_s: seconds since the first arrival, rising.
        tokens: tokens of each text.
        source: where it comes from, to be shown.
    """

    arrivals_s: tuple[float, ...]
    tokens: tuple[int, ...]
    source: str

    def truncated(self, most: int) -> Trace:
        """Return the trace when texts longer than `most` tokens are cut to `most`."""
        return replace(self, tokens=tuple(min(tokens, most) for tokens in self.tokens))

    @property
    def texts_per_s(self) -> float:
        """Mean arrivals per second."""
        return (len(self.arrivals_s) - 1) / self.arrivals_s[-1]

    @property
    def peak_to_mean(self) -> float:
        """Rate of the busiest minute over the mean rate, at least 1; 1 for a trace shorter than a minute.

        Minutes are counted from the first arrival. The last is hardly ever whole, so a trace of few minutes
        could have a mean above each of its minutes.
        """
        if self.arrivals_s[-1] < PEAK_WINDOW_S:
            return 1.0
        minutes = Counter(int(t / PEAK_WINDOW_S) for t in self.arrivals_s)
        return max(1.0, max(minutes.values()) / PEAK_WINDOW_S / self.texts_per_s)

    @property
    def interarrival_cv2(self) -> float:
        """Squared coefficient of variation of the gaps between arrivals: 1 for a Poisson process."""
        gaps = [b - a for a, b in pairwise(self.arrivals_s)]
        mean = sum(gaps) / len(gaps)
        return sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / mean**2


def read_trace(path: Path) -> Trace:
    """Read a trace: a header, then one arrival per line.

    The time is in a column called timestamp (ISO 8601) or time_s (seconds); the tokens in one called tokens,
    length or, as in the Azure LLM inference trace, ContextTokens.

    Raises:
        InputError: the file cannot be read or lacks a column; a RowError names the line that is bad.
    """
    try:
        # utf-8-sig drops the byte-order mark that spreadsheets write.
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = _rows(csv.DictReader(file), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as CSV ({reason}); check the file") from error
    rows.sort()
    if len(rows) < 2 or rows[-1][0] <= rows[0][0]:
        when = "arrivals, all at one time" if len(rows) > 1 else "arrivals" if not rows else "arrival"
        raise InputError(f"{path}: holds {len(rows)} {when}; give at least two at different times")
    start = rows[0][0]
    return Trace(
        tuple(time - start for time, _ in rows),
        tuple(tokens for _, tokens in rows),
        f"{len(rows)} arrivals in {path.name}",
    )


def _rows(reader: csv.DictReader[str], path: Path) -> list[tuple[float, int]]:
    """Return the time and tokens of each line below the header, in the order of the file."""
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    if not names:
        raise InputError(f"{path}: is empty; give a header, then one arrival per line")
    when = next((names[name] for name in _TIMES if name in names), None)
    length = next((names[name] for name in _LENGTHS if name in names), None)
    if when is None or length is None:
        raise InputError(
            f"{path}: columns are {', '.join(reader.fieldnames or ())[:200]}: give a time "
            f"({', '.join(_TIMES)}) and a length ({', '.join(_LENGTHS)})"
        )
    rows = []
    form: str | None = None
    for row in reader:
        line = f"line {reader.line_num}"
        seconds, given_as = _time(row[when], path, line)
        form = form or given_as
        if given_as != form:
            raise RowError(
                str(path), line, f"time {row[when]!r} is {given_as}, those above are {form}: use one form"
            )
        rows.append((seconds, _tokens(row[length], path, line)))
    return rows


def _time(text: str | None, path: Path, line: str) -> tuple[float, str]:
    """Return seconds since some moment that is the same for all lines of one form, and the form in words."""
    given = (text or "").strip()
    try:
        seconds, form = float(given), "a number"
    except ValueError:
        try:
            moment = datetime.datetime.fromisoformat(given)
        except ValueError:
            raise RowError(str(path), line, _bad_time(given)) from None
        if moment.tzinfo is None:
            # A trace is a matter of differences, so any one time zone will do.
            seconds, form = moment.replace(tzinfo=datetime.UTC).timestamp(), "without a time zone"
        else:
            seconds, form = moment.timestamp(), "with a time zone"
    if not abs(seconds) < MOST_SECONDS:
        raise RowError(str(path), line, _bad_time(given))
    return seconds, form


def _bad_time(given: str) -> str:
    return f"time {given[:40]!r}: expected ISO 8601 or seconds, in no finer unit"


def _tokens(text: str | None, path: Path, line: str) -> int:
    given = (text or "").strip()
    # Python refuses to convert thousands of digits.
    if not given.isdecimal() or len(given) > _MOST_DIGITS or int(given) < 1:
        raise RowError(str(path), line, f"tokens {given[:40]!r}: expected a whole number of at least 1")
    return int(given)
