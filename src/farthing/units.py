"""SI constants, and the only place where GB, TFLOP/s, ms and ¢ turn into base units and back.

Everywhere else values are in SI base units: seconds, bytes, FLOP/s, USD. A TFLOP/s is 1e12, a GB 1e9. What is written
for people has three digits: 0 is plain, what no unit suits is in powers of ten, and no number is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from farthing.errors import InputError

SECONDS_PER_HOUR = 3600.0
TOKENS_PER_MILLION = 1e6

UNITS: dict[str, float] = {
    "FLOP/s": 1.0,
    "GFLOP/s": 1e9,
    "TFLOP/s": 1e12,
    "B": 1.0,
    "MB": 1e6,
    "GB": 1e9,
    "B/s": 1.0,
    "GB/s": 1e9,
    "TB/s": 1e12,
    "W": 1.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "USD/h": 1.0,
    "USD/1M tokens": 1.0,
    "count": 1.0,
    "tokens": 1.0,
}
"""Accepted units and what one of each is in base units."""

_Steps = tuple[tuple[float, float, str], ...]
"""From which size on a figure is written in which unit: (least size, size of the unit, its name), falling."""

_PREFIXES: _Steps = (
    (1e21, 1.0, ""),
    *(
        (factor, factor, name)
        for factor, name in zip((1e18, 1e15, 1e12, 1e9, 1e6, 1e3), "EPTGMk", strict=True)
    ),
    (0.0, 1.0, ""),
)
_AMOUNTS: _Steps = (
    (1e15, 1.0, ""),
    *((factor, factor, name) for factor, name in zip((1e12, 1e9, 1e6, 1e3), "TBMk", strict=True)),
    (0.0, 1.0, ""),
)
_TIMES: _Steps = (
    (1000 * 86400.0, 365.25 * 86400.0, "years"),
    (59.95, 86400.0, "days"),
    (1.0, 1.0, "s"),
    (1e-3, 1e-3, "ms"),
    (1e-6, 1e-6, "µs"),
    (1e-9, 1e-9, "ns"),
    (0.0, 1.0, "s"),
)

_LEAST = 1e-6
"""Below it, a figure is written in powers of ten."""

_MOST = 1e15
"""So is one from here on: no one reads its zeros."""


def to_base(value: float, unit: str) -> float:
    """Return `value` in base units.

    Raises:
        InputError: the unit is unknown.
    """
    if unit not in UNITS:
        raise InputError(f"unknown unit {unit!r}: use one of {', '.join(UNITS)}")
    return value * UNITS[unit]


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """Return `value` with an SI prefix: `format_si(9.89e14, "FLOP/s")` is `989 TFLOP/s`."""
    number, prefix = _scaled(value, _PREFIXES, digits)
    return f"{number} {prefix}{unit}".rstrip()


def format_amount(value: float) -> str:
    """Return how many there are, in three digits, as people say it: `512`, `32.8k`, `1.5M`, `2B`, `2e30`."""
    return "".join(_scaled(value, _AMOUNTS))


def format_number(value: float) -> str:
    """Return a bare number in three digits: `0.0123`, `1.03`, `295`, `2,370`."""
    return format_count(value) if 999.5 <= abs(value) < _MOST else _significant(value)


def format_seconds(seconds: float) -> str:
    """Return a duration as people write it: `18.3 ms`, `4.2 s`, `3 min 20 s`, `2 h 05 min`, `11.6 days`."""
    size, sign = abs(seconds), "-" if seconds < 0 else ""
    if not 59.95 <= size < 48 * SECONDS_PER_HOUR:
        return " ".join(_scaled(seconds, _TIMES))
    minutes, rest = divmod(round(size), 60)
    if minutes < 60:
        return f"{sign}{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(size / 60), 60)
    return f"{sign}{hours} h {minutes:02d} min"


def format_usd(usd: float) -> str:
    """Return one amount of money: `$12.50`, `1.66 ¢`, `0.00213 ¢`. Amounts side by side: `usd_format`."""
    return usd_format((usd,))(usd) if usd else "$0"


def usd_format(amounts: Iterable[float | None]) -> Callable[[float], str]:
    """Return how to write amounts of money that stand side by side, in a sentence or a column: all in one unit.

    Args:
        amounts: USD, all that stand there; None is skipped. Dollars if one of them makes a dollar, else cents.
    """
    return _dollars if any(amount is not None and abs(amount) >= 0.9995 for amount in amounts) else _cents


def format_count(value: float) -> str:
    """Return a count with thousands separated: `370,596`; three digits of what is small and not whole: `0.25`."""
    if not abs(value) < _MOST or (abs(value) < 99.95 and value != int(value)):
        return _significant(value)
    return f"{value + 0:,.0f}"  # no minus zero


def _dollars(usd: float) -> str:
    sign, size = "-" if usd < 0 else "", abs(usd)
    if 0.9995 <= size < _MOST:
        return f"{sign}${size:,.2f}"
    text = _significant(size)
    return f"{sign}${text}0" if text[-2:-1] == "." else f"{sign}${text}"


def _cents(usd: float) -> str:
    return f"{_significant(100 * usd)} ¢"


def _scaled(value: float, steps: _Steps, digits: int = 3) -> tuple[str, str]:
    """Return a number and the name of the unit that suits it once it is rounded."""
    rounded = abs(float(f"{value:.{digits - 1}e}"))
    unit, name = next(((unit, name) for least, unit, name in steps if rounded >= least), steps[-1][1:])
    return _significant(value / unit, digits, _MOST / 1000), name


def _significant(value: float, digits: int = 3, most: float = _MOST) -> str:
    """Return a number in so many digits, in powers of ten if it is tiny or from `most` on."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    text = f"{value:.{digits - 1}e}"
    mantissa, _, exponent = text.partition("e")
    if not _LEAST <= abs(float(text)) < most:
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    decimals = max(0, digits - 1 - int(exponent))
    plain = f"{float(text):,.{decimals}f}"
    return plain.rstrip("0").rstrip(".") if decimals else plain
