"""The cheapest devices × replicas that keep a latency target: from candidates and a demand to rows.

Knows prices and stations as arguments. Knows no catalog, no file and no screen.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from farthing.theory.lengths import LengthDistribution
from farthing.theory.planning.candidate import Candidate, memory_shortage
from farthing.theory.planning.filling import BATCH_HEADROOM, fill
from farthing.theory.planning.plan import PlanDemand, PlanRow, UsdInterval
from farthing.theory.planning.search import smallest
from farthing.theory.planning.station import MOST_REPLICAS, Routing, station
from farthing.theory.planning.waiting import Latency, Waiting
from farthing.theory.pricing import DAYS_PER_MONTH, SECONDS_PER_DAY, usd_per_million_tokens
from farthing.units import format_seconds, usd_format

ROUTINGS: tuple[Routing, ...] = ("shared", "random")

FEW = 3
"""Replicas up to which it is asked whether slower steps really take another one."""


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
    lengths = lengths.grouped()  # once, for all devices
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
        return row(f"it takes more than {MOST_REPLICAS:,} replicas")
    p99 = waiting.time_in_system(peak_rate, count, routing, 0.99, demand.p99_s)
    if demand.batch_share:
        # Batch work needs room on the mean of the day, and a step that keeps the target beside it.
        least = max(count, ceil(demand.texts_per_s * replica.text_s.mid / BATCH_HEADROOM))
        fits = smallest(lambda n: fill(waiting, demand, n, routing) is not None, least, least, 4 * least + 16)
        if fits is None:
            return row(f"no step of the batch work keeps the target, not even with {4 * least + 16} replicas")
        count = fits
        step = fill(waiting, demand, count, routing)
        if step is not None:
            p99 = Latency(step.p99_s, f"{step.p99_source}; and a step of batch work, V·(1 + ρ) at most")
    usd = count * candidate.usd_per_hour(price.value)
    over = max_usd_per_hour is not None and usd > max_usd_per_hour
    write = usd_format((usd, max_usd_per_hour))
    return row(
        f"{count} replica{'s' if count > 1 else ''} cost {write(usd)} per hour, the limit is "
        f"{write(max_usd_per_hour)}"
        if over and max_usd_per_hour is not None
        else None,
        replicas=count,
        per_million=_per_million(candidate, waiting, demand, count, routing),
        usd_per_month=usd * 24 * DAYS_PER_MONTH,
        p50_s=waiting.time_in_system(peak_rate, count, routing, 0.5).seconds,
        p99_s=p99.seconds,
        source=p99.source,
    )


def _per_million(
    candidate: Candidate, waiting: Waiting, demand: PlanDemand, count: int, routing: Routing
) -> UsdInterval:
    """Return USD per million tokens at both ends of price and step time.

    Slower steps take as many replicas more, except where few of them have room left: the target is then asked
    of the same queue with all times stretched alike.
    """
    tokens_per_s = demand.tokens_per_day / SECONDS_PER_DAY
    step = waiting.station.text_s
    peak_rate = demand.peak_texts_per_s * (1 - demand.batch_share)

    def usd(quoted: float, seconds: float) -> float:
        slower = seconds / step.mid
        replicas = max(1, ceil(count * slower - 1e-9))
        if count <= FEW and slower > 1 and not demand.batch_share:
            roomy = waiting.keeps(peak_rate * slower, count, routing, demand.p99_s / slower)
            replicas = count if roomy else replicas
        return usd_per_million_tokens(replicas * candidate.usd_per_hour(quoted), tokens_per_s)

    price = candidate.price
    return UsdInterval(
        low=usd(price.min, step.low), mid=usd(price.value, step.mid), high=usd(price.max, step.high)
    )
