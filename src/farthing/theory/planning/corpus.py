"""A corpus before a deadline: devices × hours × dollars.

Knows throughput and price; a corpus job has no queue, so utilization is 1 but for the last hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from farthing.theory.lengths import LengthDistribution
from farthing.theory.planning.candidate import Candidate, memory_shortage
from farthing.theory.planning.corpus_plan import CorpusRow
from farthing.theory.planning.plan import UsdInterval
from farthing.theory.planning.station import MOST_REPLICAS, station
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION, usd_format


def corpus_rows(
    candidates: Iterable[Candidate],
    corpus_tokens: float,
    deadline_s: float,
    lengths: LengthDistribution,
    max_usd_per_hour: float | None = None,
) -> tuple[CorpusRow, ...]:
    """Return a row for each candidate, the cheapest first, infeasible ones last.

    Args:
        candidates: devices with their prices.
        corpus_tokens: tokens to embed, truncated texts counted as cut.
        deadline_s: seconds until it must be done.
        lengths: tokens per text.
        max_usd_per_hour: budget for all devices together; None for none.
    """
    lengths = lengths.grouped()  # once, for all devices
    rows = [_row(candidate, corpus_tokens, deadline_s, lengths, max_usd_per_hour) for candidate in candidates]
    return tuple(
        sorted(
            rows, key=lambda row: (not row.feasible, row.usd_total.mid if row.usd_total else 0.0, row.device)
        )
    )


def _row(
    candidate: Candidate,
    tokens: float,
    deadline_s: float,
    lengths: LengthDistribution,
    max_usd_per_hour: float | None,
) -> CorpusRow:
    price = candidate.price
    replica = station(candidate.steps, candidate.host, lengths)
    texts = tokens / replica.lengths.mean
    device_s = texts * replica.text_s.mid
    needed = device_s / deadline_s
    reason = memory_shortage(candidate.steps, replica.lengths.longest)
    if reason is None and needed > MOST_REPLICAS:
        reason = f"it takes more than {MOST_REPLICAS:,} devices"
    devices = max(1, ceil(needed - 1e-9)) if reason is None else None
    if devices is not None and max_usd_per_hour is not None:
        usd = devices * candidate.usd_per_hour(price.value)
        if usd > max_usd_per_hour:
            cost = f"{devices:,} devices cost" if devices > 1 else "1 device costs"
            write = usd_format((usd, max_usd_per_hour))
            reason = f"{cost} {write(usd)} per hour, the limit is {write(max_usd_per_hour)}"

    def total(quoted: float, text_s: float) -> float:
        return texts * text_s / SECONDS_PER_HOUR * candidate.usd_per_hour(quoted)

    totals = UsdInterval(
        low=total(price.min, replica.text_s.low),
        mid=total(price.value, replica.text_s.mid),
        high=total(price.max, replica.text_s.high),
    )
    per_million = tokens / TOKENS_PER_MILLION
    return CorpusRow(
        device=candidate.device,
        provider=candidate.provider,
        usd_per_hour=price.value,
        price_as_of=price.as_of,
        price_stale=price.stale,
        spot=candidate.spot,
        devices=devices,
        hours=None if devices is None else device_s / devices / SECONDS_PER_HOUR,
        usd_total=None if devices is None else totals,
        usd_per_million_tokens=None
        if devices is None
        else UsdInterval(
            low=totals.low / per_million, mid=totals.mid / per_million, high=totals.high / per_million
        ),
        tokens_per_s=replica.tokens_per_s(),
        feasible=reason is None,
        reason=reason,
    )
