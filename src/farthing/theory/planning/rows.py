"""The cheapest devices × replicas that keep a latency target: from candidates and a demand to rows.

Knows prices and stations as arguments. Knows no catalog, no file and no screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite

from farthing.theory.devices import DTYPE_BYTES
from farthing.theory.lengths import LengthDistribution
from farthing.theory.planning.plan import (
    Filled,
    PlanDemand,
    PlanRow,
    RatioSpread,
    Routing,
    Sensitivity,
    UsdInterval,
)
from farthing.theory.planning.station import Station, station
from farthing.theory.planning.waiting import Waiting
from farthing.theory.pricing import (
    DAYS_PER_MONTH,
    SECONDS_PER_DAY,
    SPOT_TERMS,
    RentalPrice,
    spot_usd_per_hour,
    usd_per_million_tokens,
)
from farthing.theory.queueing import sharing
from farthing.theory.roofline import memory_needed_bytes
from farthing.theory.steps import HostPath, StepModel
from farthing.units import format_seconds, format_si, format_usd

ROUTINGS: tuple[Routing, ...] = ("shared", "random")

ARTICLE_PAIR = ("h100-sxm", "rtx-4090")
"""The article's two devices: whether their order survives today's spread of quotes is always said."""

BATCH_HEADROOM = 0.95
"""Most of the capacity that online and batch work may fill together: batch work is never quite saturated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device that could serve the demand, at one price.

    Attributes:
        steps: step times of the model on it.
        host: the host beside it.
        price: what an hour of it costs.
        provider: whose price that is.
        spot: whether it can be taken away.
    """

    steps: StepModel
    host: HostPath
    price: RentalPrice
    provider: str
    spot: bool = False

    @property
    def device(self) -> str:
        """Short name of the device."""
        return self.steps.rates.device

    def usd_per_hour(self, quoted: float) -> float:
        """Return what a useful hour costs at a quote: for spot devices, interruptions are paid for."""
        return spot_usd_per_hour(quoted, SPOT_TERMS) if self.spot else quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSpread:
    """The lowest and the highest of some quotes in USD per hour, and the ISO 8601 date of the oldest."""

    low: float
    high: float
    since: str


def memory_shortage(steps: StepModel, longest: int) -> str | None:
    """Return why a model does not fit a device with its longest text in flight, or None when it does."""
    available = steps.rates.memory_bytes
    if available is None:
        return None
    value_bytes = DTYPE_BYTES[steps.rates.dtype]
    needed = memory_needed_bytes(steps.shape, longest, value_bytes)
    if needed <= available:
        return None
    return f"does not fit: needs {format_si(needed, 'B')} of {format_si(available, 'B')} of memory"


def plan_rows(
    candidates: Iterable[Candidate],
    demand: PlanDemand,
    lengths: LengthDistribution,
    max_usd_per_hour: float | None = None,
) -> tuple[tuple[PlanRow, ...], dict[tuple[str, bool], Waiting]]:
    """Return a row for each candidate and routing, the cheapest first, and their queues by (device, spot).

    Args:
        candidates: devices with their prices.
        demand: rates and target.
        lengths: tokens per text.
        max_usd_per_hour: budget for all replicas together; None for none.
    """
    rows = []
    queues = {}
    for candidate in candidates:
        waiting = Waiting(station(candidate.steps, candidate.host, lengths))
        queues[candidate.device, candidate.spot] = waiting
        rows += [_row(candidate, waiting, demand, routing, max_usd_per_hour) for routing in ROUTINGS]
    return tuple(sorted(rows, key=_rank)), queues


def _rank(row: PlanRow) -> tuple[bool, float, bool, str]:
    per_million = row.usd_per_million_tokens
    return (
        not row.feasible,
        per_million.mid if per_million else float("inf"),
        row.routing == "random",
        row.device,
    )


def _row(
    candidate: Candidate,
    waiting: Waiting,
    demand: PlanDemand,
    routing: Routing,
    max_usd_per_hour: float | None,
) -> PlanRow:
    price, replica = candidate.price, waiting.station

    def row(
        reason: str | None,
        *,
        replicas: int | None = None,
        per_million: UsdInterval | None = None,
        usd_per_month: float | None = None,
        p50_s: float | None = None,
        p99_s: float | None = None,
        source: str | None = None,
    ) -> PlanRow:
        share = None if replicas is None else demand.texts_per_s * replica.text_s.mid / replicas
        online = 1 - demand.batch_share
        peak = None if replicas is None else online * demand.peak_texts_per_s * replica.text_s.mid / replicas
        return PlanRow(
            device=candidate.device,
            provider=candidate.provider,
            usd_per_hour=price.value,
            usd_per_hour_min=price.min,
            usd_per_hour_max=price.max,
            price_as_of=price.as_of,
            price_stale=price.stale,
            price_sources=price.sources,
            spot=candidate.spot,
            basis=candidate.steps.basis,
            replicas=replicas,
            routing=routing,
            utilization=share,
            peak_utilization=peak,
            p50_s=p50_s,
            p99_s=p99_s,
            p99_source=source,
            tokens_per_s=replica.tokens_per_s(),
            usd_per_million_tokens=per_million,
            usd_per_month=usd_per_month,
            feasible=reason is None,
            reason=reason,
        )

    shortage = memory_shortage(candidate.steps, replica.lengths.longest)
    if shortage:
        return row(shortage)
    peak_rate = demand.peak_texts_per_s * (1 - demand.batch_share)
    lone_s = replica.lone_s(0.99)
    if lone_s > demand.p99_s:
        return row(
            f"a text that meets an idle device takes {format_seconds(lone_s)} at its 99th percentile, "
            f"the target is {format_seconds(demand.p99_s)}"
        )
    count = waiting.fewest_replicas(peak_rate, demand.p99_s, routing)
    if count is None:
        return row("no number of replicas keeps the target with this routing")
    # Batch work needs room on the mean of the day, not at the peak.
    count = max(count, ceil(demand.texts_per_s * replica.text_s.mid / BATCH_HEADROOM))
    usd = count * candidate.usd_per_hour(price.value)
    p99 = waiting.time_in_system(peak_rate, count, routing, 0.99)
    over = max_usd_per_hour is not None and usd > max_usd_per_hour
    return row(
        f"{count} replicas cost {format_usd(usd)} per hour, the limit is {format_usd(max_usd_per_hour)}"
        if over and max_usd_per_hour is not None
        else None,
        replicas=count,
        per_million=_per_million(candidate, replica, demand, count),
        usd_per_month=usd * 24 * DAYS_PER_MONTH,
        p50_s=waiting.time_in_system(peak_rate, count, routing, 0.5).seconds,
        p99_s=p99.seconds,
        source=p99.source,
    )


def _per_million(candidate: Candidate, replica: Station, demand: PlanDemand, count: int) -> UsdInterval:
    """Return USD per million tokens at both ends of price and step time, at the same allowed utilization."""
    tokens_per_s = demand.tokens_per_day / SECONDS_PER_DAY
    step = replica.text_s

    def usd(quoted: float, seconds: float) -> float:
        replicas = max(1, ceil(count * seconds / step.mid - 1e-9))
        return usd_per_million_tokens(replicas * candidate.usd_per_hour(quoted), tokens_per_s)

    price = candidate.price
    return UsdInterval(
        low=usd(price.min, step.low), mid=usd(price.value, step.mid), high=usd(price.max, step.high)
    )


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


def filled(
    row: PlanRow, waiting: Waiting, candidate: Candidate, demand: PlanDemand, most_extra: int = 2
) -> Filled | None:
    """Return what batch work in the idle time of a row does to its price and to its p99.

    A step of batch work delays the online texts that arrive during it by at most V·(1 + ρ); V is so chosen
    that the target holds at the peak, and no longer than a saturated step. A row that just keeps its target
    leaves no room for V, so up to `most_extra` replicas more are tried, and the cheapest outcome is given.

    Args:
        row: the feasible row.
        waiting: its queue.
        candidate: its device and price.
        demand: what is served. With a batch share, no more batch work is done than that; without, idle time
            is filled to the brim.
        most_extra: replicas that may be added.

    Returns:
        None when even so no batch step fits under the target.
    """
    if row.replicas is None:
        return None
    outcomes = [
        outcome
        for extra in range(most_extra + 1)
        if (outcome := _filled_with(row, waiting, candidate, demand, row.replicas + extra)) is not None
    ]
    return min(outcomes, key=lambda outcome: outcome.usd_per_million_tokens, default=None)


def _filled_with(
    row: PlanRow, waiting: Waiting, candidate: Candidate, demand: PlanDemand, count: int
) -> Filled | None:
    replica = waiting.station
    online_share = 1 - demand.batch_share
    peak_rate, mean_rate = online_share * demand.peak_texts_per_s, online_share * demand.texts_per_s
    p99 = waiting.time_in_system(peak_rate, count, row.routing, 0.99)
    rho_peak = peak_rate * replica.text_s.mid / count
    room_s = sharing.longest_filler_step_s(demand.p99_s, p99.seconds, rho_peak)
    texts = _texts_within(replica, room_s)
    if texts == 0 or not isfinite(p99.seconds):
        return None
    step_s = replica.batch_s(texts)
    mean = replica.lengths.mean
    efficiency = min(1.0, texts * replica.text_s.mid * replica.streams / step_s)
    rho = mean_rate * replica.text_s.mid / count
    idle_tokens_per_s = count * (1 - rho) * efficiency * replica.tokens_per_s()
    wanted = demand.batch_share * demand.texts_per_s * mean if demand.batch_share else idle_tokens_per_s
    batch_tokens_per_s = min(wanted, idle_tokens_per_s)
    if batch_tokens_per_s < wanted * (1 - 1e-9):
        return None  # the batch work of the demand does not fit beside the online texts
    usd = count * candidate.usd_per_hour(candidate.price.value)
    online_tokens_per_s = mean_rate * mean
    saturated = count * replica.tokens_per_s()
    return Filled(
        device=row.device,
        replicas=count,
        filler_step_s=step_s,
        filler_step_tokens=round(texts * mean),
        efficiency=efficiency,
        p99_s=p99.seconds + step_s * (1 + rho_peak),
        p99_before_s=p99.seconds,
        utilization=(online_tokens_per_s + batch_tokens_per_s) / saturated,
        batch_tokens_per_day=batch_tokens_per_s * SECONDS_PER_DAY,
        usd_per_million_tokens=usd_per_million_tokens(usd, online_tokens_per_s + batch_tokens_per_s),
        usd_per_million_tokens_before=usd_per_million_tokens(
            (row.replicas or count) * candidate.usd_per_hour(candidate.price.value), online_tokens_per_s
        ),
    )


def _texts_within(replica: Station, room_s: float) -> int:
    """Return the most texts of mean length in a step of at most `room_s`, no more than saturate the device."""
    if replica.batch_s(1) > room_s:
        return 0
    low, high = 1, replica.largest_batch + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if replica.batch_s(middle) <= room_s else (low, middle)
    return low
