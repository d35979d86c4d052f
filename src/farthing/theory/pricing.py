"""From USD per hour and tokens per second to USD per million tokens.

Knows prices as numbers with a source and a date. Knows no catalog, and nothing of how fast a device is.
"""

from __future__ import annotations

from dataclasses import dataclass

from farthing.errors import InputError
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalPrice:
    """What an hour of a device costs, and how well that is known.

    Attributes:
        value: USD per hour.
        min: lowest quote that `value` stands for, USD per hour.
        max: highest such quote, USD per hour.
        as_of: ISO 8601 date of the newest such quote.
        quotes: number of such quotes.
        stale: whether the quote is older than the catalog's limit.
        sources: where the quotes come from.
    """

    value: float
    min: float
    max: float
    as_of: str
    quotes: int
    stale: bool
    sources: tuple[str, ...]


def usd_per_million_tokens(usd_per_hour: float, tokens_per_s: float, utilization: float = 1.0) -> float:
    """Return USD per million tokens; idle time is paid for too.

    Args:
        usd_per_hour: price of the device, at least 0.
        tokens_per_s: tokens per second while it is busy.
        utilization: share of the time that it is busy, above 0 and at most 1.

    Raises:
        InputError: an argument is out of its range.

    Source: design/theory.md, "Price".
    """
    if not 0 < utilization <= 1:
        raise InputError(f"utilization is {utilization}: give a fraction above 0 and at most 1")
    if not 0 <= usd_per_hour < float("inf"):
        raise InputError(f"USD per hour is {usd_per_hour}: give a number of at least 0")
    if not tokens_per_s > 0:
        raise InputError(f"tokens per second is {tokens_per_s}: give a number above 0")
    return usd_per_hour / (tokens_per_s * SECONDS_PER_HOUR) * TOKENS_PER_MILLION / utilization


def tokens_per_day(tokens_per_s: float, utilization: float = 1.0) -> float:
    """Return the tokens of a day at `tokens_per_s` while busy, which is `utilization` of the time."""
    return tokens_per_s * SECONDS_PER_DAY * utilization


def flops_per_usd(flops_per_s: float, usd_per_hour: float) -> float:
    """Return the FLOPs that a dollar buys. The article's "TFLOPS/$" is this over 3600 s."""
    return flops_per_s * SECONDS_PER_HOUR / usd_per_hour
