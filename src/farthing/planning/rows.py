"""The devices × replicas that keep a latency target, what they cost, and what sets their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from farthing.planning.answer import PlanDemand, PlanRow, UsdInterval
from farthing.planning.devices.candidate import Candidate
from farthing.planning.replicas.station import Station, station
from farthing.planning.replicas.waiting import (
    MOST_REPLICAS,
    MOST_TEXTS,
    Routing,
    Waited,
    approximated,
    least_texts,
    simulated,
    smallest,
)
from farthing.theory.lengths import LengthDistribution
from farthing.theory.pricing import DAYS_PER_MONTH, SECONDS_PER_DAY, usd_per_million_tokens
from farthing.units import format_seconds, usd_format

SIMULATED_ROWS = 3
"""The cheapest rows, which are simulated; those whose devices are named too, up to `SIMULATED_NAMED`."""

SIMULATED_NAMED = 4

BATCH_HEADROOM = 0.95
"""Most of the capacity that online and batch work may fill together: batch work is never quite saturated."""

BoundBy = Literal["device", "host", "latency", "memory"]


@dataclass(frozen=True, slots=True)
class Served:
    """A candidate, its replica, the row that they make, and what was simulated: replicas and what they make wait."""

    candidate: Candidate
    station: Station
    row: PlanRow
    known: tuple[int, Waited] | None = None


def plan_rows(
    candidates: Iterable[Candidate],
    demand: PlanDemand,
    lengths: LengthDistribution,
    *,
    max_usd_per_hour: float | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Served]:
    """Return a row for each candidate, the cheapest first, infeasible ones last.

    Replicas and waits of the cheapest, and of devices that are named, come from the simulator, those of the others from
    the approximation.

    Args:
        candidates: devices with their prices.
        demand: rates, target and spare replicas.
        lengths: tokens per text.
        max_usd_per_hour: budget for all replicas together; None for none.
        notify: told what is simulated.
    """
    lengths = lengths.grouped()  # once, for all devices
    stations: dict[tuple[str, str], Station] = {}
    served = []
    for candidate in candidates:
        key = candidate.device, candidate.steps.rates.dtype
        if key not in stations:
            stations[key] = station(candidate.steps, candidate.host, lengths)
        replica = stations[key]
        served.append(Served(candidate, replica, _row(candidate, replica, demand, max_usd_per_hour)))
    served.sort(key=rank)
    known: dict[tuple[str, str], tuple[int, Waited]] = {}
    named = served[0].candidate.named
    for place, one in enumerate(served[: SIMULATED_NAMED if named else SIMULATED_ROWS]):
        key = one.candidate.device, one.candidate.steps.rates.dtype
        rate = demand.online_peak_texts_per_s
        if one.row.replicas is None or least_texts(one.station, rate, one.row.replicas) > MOST_TEXTS:
            continue
        if key not in known:
            notify(f"simulating {one.row.replicas} × {one.row.device}")
            known[key] = fewest_simulated(one.station, demand, one.row.replicas)
        served[place] = with_replicas(one, demand, known[key], max_usd_per_hour)
    return sorted(served, key=rank)


def rank(one: Served) -> tuple[bool, float, str]:
    """Return what rows are sorted by: the feasible ones first, the cheapest of them first."""
    usd = one.row.usd_per_million_tokens
    return not one.row.feasible, usd.mid if usd else float("inf"), one.row.device


def fewest_replicas(
    replica: Station, texts_per_s: float, target_s: float, routing: Routing = "shared"
) -> int | None:
    """Return about the fewest replicas whose 99th percentile keeps a target; None if no number is enough."""
    if replica.lone_s(0.99) > target_s:
        return None
    least = max(1, ceil(texts_per_s * replica.full_text_s * (1 + 1e-9)))

    def keeps(count: int) -> bool:
        return approximated(replica, texts_per_s, count, routing).p99_s <= target_s

    return smallest(keeps, least, MOST_REPLICAS)


def fewest_simulated(replica: Station, demand: PlanDemand, guess: int) -> tuple[int, Waited]:
    """Return the fewest replicas whose simulated 99th percentile keeps the target, and what they make wait."""
    rate, target_s = demand.online_peak_texts_per_s, demand.p99_s
    least = max(1, ceil(rate * replica.full_text_s * (1 + 1e-9)))

    def wait(replicas: int) -> Waited:
        return simulated(replica, rate, replicas, target_s=target_s)

    count = max(guess, least)
    waited = wait(count)
    if waited.p99_s > target_s:
        while waited.p99_s > target_s and count < 2 * guess + 8:
            count += 1
            waited = wait(count)
        return count, waited
    while count > least:
        fewer = wait(count - 1)
        if fewer.p99_s > target_s:
            break
        count, waited = count - 1, fewer
    return count, waited


def _row(
    candidate: Candidate,
    replica: Station,
    demand: PlanDemand,
    max_usd_per_hour: float | None,
    known: tuple[int, Waited] | None = None,
) -> PlanRow:
    price, rate = candidate.price, demand.online_peak_texts_per_s
    row = PlanRow(**candidate.offered(replica.tokens_per_s()))
    step = max(replica.step_tokens, replica.lengths.longest)
    shortage = candidate.memory_shortage(step)
    if shortage:
        return replace(row, reason=shortage, bound_by="memory")
    lone_s = replica.lone_s(0.99)
    if lone_s > demand.p99_s:
        reason = (
            f"a request that meets an idle device takes {format_seconds(lone_s)} at its 99th percentile, "
            f"the target is {format_seconds(demand.p99_s)}"
        )
        return replace(row, reason=reason, bound_by="latency")
    ends = [
        fewest_replicas(replica.times(factor / replica.device_s.mid), rate, demand.p99_s)
        for factor in (replica.device_s.low, replica.device_s.high)
    ]
    count = known[0] if known else fewest_replicas(replica, rate, demand.p99_s)
    if count is None:
        return replace(
            row,
            reason="however many replicas there are, their steps take too long for the target",
            bound_by="latency",
        )
    # Work that can wait needs room on the mean of the day.
    count = max(
        count, ceil(demand.texts_per_s * replica.full_text_s / BATCH_HEADROOM) if demand.batch_share else 1
    )
    waited = known[1] if known else approximated(replica, rate, count)
    shift = count - (fewest_replicas(replica, rate, demand.p99_s) or count)
    fewest, most = (None if end is None else max(1, end + shift) for end in ends)
    fewest = min(fewest or count, count)
    most = None if most is None else max(most, count)

    doubt = candidate.memory_doubt(step)
    if most is None:
        doubt = "steps that are as slow as they may be would miss the target, however many replicas there are"

    def usd(quoted: float, replicas: int) -> float:
        hourly = candidate.rented(replicas + demand.spare) * candidate.usd_per_hour(quoted)
        return usd_per_million_tokens(hourly, demand.tokens_per_day / SECONDS_PER_DAY)

    devices = candidate.rented(count + demand.spare)
    hourly = devices * candidate.usd_per_hour()
    over = max_usd_per_hour is not None and hourly > max_usd_per_hour
    write = usd_format((hourly, max_usd_per_hour))
    return replace(
        row,
        replicas=count,
        replicas_low=fewest,
        replicas_high=most,
        replicas_random=fewest_replicas(replica, rate, demand.p99_s, "random"),
        devices=devices,
        utilization=demand.texts_per_s * replica.text_s / devices,
        peak_utilization=rate * replica.text_s / devices,
        p50_s=waited.p50_s,
        p99_s=waited.p99_s,
        p99_source="the queue, simulated"
        if waited.simulated
        else "Erlang C × an exponential tail + the next step",
        verified="simulated" if waited.simulated else "approximate",
        usd_per_million_tokens=UsdInterval(
            low=usd(price.value if price.min is None else price.min, fewest),
            mid=usd(price.value, count),
            high=None if most is None else usd(price.value if price.max is None else price.max, most),
        ),
        usd_per_month=hourly * 24 * DAYS_PER_MONTH,
        feasible=not over,
        certain=doubt is None,
        doubt=doubt,
        bound_by=_bound_by(replica, rate, count),
        reason=f"{devices} device{'s' if devices > 1 else ''} cost {write(hourly)} per hour, the limit is "
        f"{write(max_usd_per_hour)}"
        if over and max_usd_per_hour is not None
        else None,
    )


def _bound_by(replica: Station, texts_per_s: float, count: int) -> BoundBy:
    """Return what sets the number of replicas: the slower of host and device, or what the target needs beyond it."""
    if count > max(1, ceil(texts_per_s * replica.full_text_s)) and replica.host_s < replica.device_s.mid:
        return "latency"
    return "host" if replica.host_s > replica.device_s.mid else "device"


def with_replicas(
    one: Served, demand: PlanDemand, known: tuple[int, Waited], max_usd_per_hour: float | None
) -> Served:
    """Return a candidate with the row of so many replicas, whose waits are known; over the budget it is infeasible."""
    row = _row(one.candidate, one.station, demand, max_usd_per_hour, known)
    return replace(one, row=row, known=known)


def rows_of(served: Sequence[Served]) -> tuple[PlanRow, ...]:
    """Return the rows alone."""
    return tuple(one.row for one in served)
