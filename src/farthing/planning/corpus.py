"""A corpus before a deadline: devices × hours × dollars, and what the APIs ask for it.

A corpus job has no queue, so every device is busy to the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from farthing.planning.answer import ApiOffer, Offered, PaddingWaste, PlanLengths, UsdInterval
from farthing.planning.devices.candidate import Candidate
from farthing.planning.replicas.station import station
from farthing.planning.replicas.waiting import MOST_REPLICAS
from farthing.theory.lengths import LengthDistribution
from farthing.theory.time.steps import Interval
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION, usd_format


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRow(Offered):
    """One device working off a corpus before a deadline.

    Attributes:
        devices: how many work side by side, so that they are done in time at the slow end of the step times too; None
            when the model does not fit, or no number of them is enough.
        hours: how long each works.
        usd_total: device-hours × price; of spot devices with the work that interruptions lose.
        usd_per_million_tokens: the same per token.
        feasible: whether memory, budget and the number of devices that anyone rents are kept.
        bound_by: what limits a device's throughput, or keeps the model off it.
        reason: why not; None when feasible.
        doubt: why the model may not fit all the same; None when it does or is infeasible.
    """

    devices: int | None
    hours: Interval | None
    usd_total: UsdInterval | None
    usd_per_million_tokens: UsdInterval | None
    feasible: bool
    bound_by: str
    reason: str | None
    doubt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPlan:
    """Devices × hours × dollars for a corpus, what the APIs ask for it, and what it costs to keep the vectors."""

    verdict: str
    model: str
    dtype: str
    corpus_texts: float
    corpus_tokens: float
    deadline_s: float | None
    lengths: PlanLengths
    rows: tuple[CorpusRow, ...]
    unpriced: tuple[str, ...]
    apis: tuple[ApiOffer, ...]
    vectors_bytes: float
    vectors_usd_per_month: float | None
    padding: tuple[PaddingWaste, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types, with the documented keys."""
        return asdict(self)


def corpus_rows(
    candidates: Iterable[Candidate],
    corpus_tokens: float,
    deadline_s: float | None,
    lengths: LengthDistribution,
    max_usd_per_hour: float | None = None,
) -> tuple[CorpusRow, ...]:
    """Return a row for each candidate, the cheapest first, infeasible ones last.

    Args:
        candidates: devices with their prices.
        corpus_tokens: tokens to embed, truncated texts counted as cut.
        deadline_s: seconds until it must be done; None: one device takes as long as it takes.
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
    deadline_s: float | None,
    lengths: LengthDistribution,
    max_usd_per_hour: float | None,
) -> CorpusRow:
    price = candidate.price
    replica = station(candidate.steps, candidate.host, lengths)
    texts = tokens / lengths.mean
    each = replica.text_interval_s
    low_s, mid_s, high_s = texts * each.low, texts * each.mid, texts * each.high
    needed = 1.0 if deadline_s is None else high_s / deadline_s
    step = max(replica.step_tokens, lengths.longest)
    reason = candidate.memory_shortage(step)
    bound_by = "host" if replica.host_s > replica.device_s.mid else "device"
    if reason is not None:
        bound_by = "memory"
    elif needed > MOST_REPLICAS:
        reason = f"it takes more than {MOST_REPLICAS:,} devices"
    devices = candidate.rented(max(1, ceil(needed - 1e-9))) if reason is None else None
    if devices is not None and max_usd_per_hour is not None:
        usd = devices * candidate.usd_per_hour()
        if usd > max_usd_per_hour:
            cost = f"{devices:,} devices cost" if devices > 1 else "1 device costs"
            write = usd_format((usd, max_usd_per_hour))
            reason = f"{cost} {write(usd)} per hour, the limit is {write(max_usd_per_hour)}"
    totals = UsdInterval(
        low=low_s / SECONDS_PER_HOUR * candidate.usd_per_hour(price.min),
        mid=mid_s / SECONDS_PER_HOUR * candidate.usd_per_hour(),
        high=high_s / SECONDS_PER_HOUR * candidate.usd_per_hour(price.max),
    )
    per_million = tokens / TOKENS_PER_MILLION
    return CorpusRow(
        **candidate.offered(replica.tokens_per_s()),
        devices=devices,
        hours=None
        if devices is None
        else Interval(*(seconds / devices / SECONDS_PER_HOUR for seconds in (low_s, mid_s, high_s))),
        usd_total=None if devices is None else totals,
        usd_per_million_tokens=None
        if devices is None
        else UsdInterval(
            low=totals.low / per_million,
            mid=totals.mid / per_million,
            high=None if totals.high is None else totals.high / per_million,
        ),
        feasible=reason is None,
        bound_by=bound_by,
        reason=reason,
        doubt=candidate.memory_doubt(step) if reason is None else None,
    )
