"""Whether the order of a plan's rows survives the spread of their quotes.

Knows rows and quotes. Knows no queue and no catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farthing.theory.planning.plan import PlanRow, RatioSpread, Sensitivity

ARTICLE_PAIR = ("h100-sxm", "rtx-4090")
"""The article's two devices: whether their order survives today's spread of quotes is always said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSpread:
    """The lowest and the highest of some quotes in USD per hour, and the ISO 8601 date of the oldest."""

    low: float
    high: float
    since: str


def sensitivity(
    rows: Sequence[PlanRow], newest: Mapping[str, QuoteSpread], most: int = 4
) -> tuple[Sensitivity, ...]:
    """Return whether the cheapest row stays ahead of the next ones inside the spread of their quotes.

    Replicas and step times stay as planned; only the hourly price moves. The article's two devices are
    compared whenever both are feasible.

    Args:
        rows: rows in order of cost.
        newest: device → the spread of the newest quote of each of its providers; a device that is not in it
            has no quotes beside its row's own.
        most: rows that the cheapest is compared with.
    """
    best: dict[str, tuple[PlanRow, float]] = {}
    for row in rows:
        if row.feasible and not row.spot and row.usd_per_million_tokens is not None:
            best.setdefault(row.device, (row, row.usd_per_million_tokens.mid))
    ranked = list(best.values())
    pairs = [(ranked[0], other) for other in ranked[1 : 1 + most]] if ranked else []
    article = [own for own in ranked if own[0].device in ARTICLE_PAIR]
    if len(article) == 2 and (article[0], article[1]) not in pairs:
        pairs.append((article[0], article[1]))
    return tuple(_compared(row, other, theirs / mine, newest) for (row, mine), (other, theirs) in pairs)


def _compared(row: PlanRow, other: PlanRow, ratio: float, newest: Mapping[str, QuoteSpread]) -> Sensitivity:
    """Compare two rows whose median prices per token have this ratio, `other` over `row`."""
    fresh = [
        QuoteSpread(low=own.usd_per_hour_min, high=own.usd_per_hour_max, since=own.price_as_of)
        for own in (row, other)
    ]
    every = [newest.get(own.device, spread) for own, spread in zip((row, other), fresh, strict=True)]

    def moved(spreads: Sequence[QuoteSpread]) -> RatioSpread:
        mine, theirs = spreads
        hourly = ratio * row.usd_per_hour / other.usd_per_hour
        low, high = hourly * theirs.low / mine.high, hourly * theirs.high / mine.low
        return RatioSpread(low=low, high=high, flips=low < 1)

    return Sensitivity(
        device=row.device,
        against=other.device,
        ratio=ratio,
        fresh=moved(fresh),
        newest=moved(every),
        newest_since=min(spread.since for spread in every),
    )
