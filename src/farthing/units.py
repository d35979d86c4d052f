"""SI constants, and the only place where GB, TFLOP/s, ms and ¢ turn into base units and back.

Everywhere else values are in SI base units: seconds, bytes, FLOP/s, USD. A TFLOP/s is 1e12, a GB 1e9.
"""

from __future__ import annotations

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
}
"""Accepted units and what one of each is in base units."""

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


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
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{_significant(value / factor, digits)} {prefix}{unit}"
    return f"{_significant(value, digits)} {unit}"


def format_seconds(seconds: float) -> str:
    """Return a duration as people write it: `18.3 ms`, `4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 1e-3:
        return f"{_significant(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{_significant(seconds * 1e3)} ms"
    if seconds < 60:
        return f"{_significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_usd(usd: float) -> str:
    """Return an amount of money: `$12.50`, `1.66 ¢`, `$0.0000213`; small amounts keep three digits."""
    if usd == 0:
        return "$0"
    if abs(usd) >= 1:
        return f"${usd:,.2f}"
    if abs(usd) >= 1e-3:
        return f"{_significant(usd * 100)} ¢"
    if abs(usd) < 1e-6:
        return "< $0.000001"
    return f"${usd:.{_decimals(usd)}f}"


def format_count(value: float) -> str:
    """Return a count with thousands separated: `370,596`."""
    return f"{value:,.0f}"


def _significant(value: float, digits: int = 3) -> str:
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.0f}"


def _decimals(value: float) -> int:
    """Return how many decimals show three significant digits of a value below one."""
    decimals, magnitude = 3, abs(value)
    while magnitude < 0.1 and decimals < 14:
        magnitude *= 10
        decimals += 1
    return decimals
