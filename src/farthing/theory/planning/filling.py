"""Idle time filled with batch work: the longest step that keeps the target, and what it does to the price.

Knows a queue and a price. Knows no catalog.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from farthing.theory.planning.candidate import Candidate
from farthing.theory.planning.plan import Filled, PlanDemand, PlanRow
from farthing.theory.planning.station import Routing, Station
from farthing.theory.planning.waiting import Waiting
from farthing.theory.pricing import SECONDS_PER_DAY, usd_per_million_tokens
from farthing.theory.queueing import sharing

BATCH_HEADROOM = 0.95
"""Most of the capacity that online and batch work may fill together: batch work is never quite saturated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A step of batch work beside the online texts: what it is, and what it does to them.

    Attributes:
        step_s: seconds of the step.
        step_tokens: its tokens.
        efficiency: its throughput over that of a saturated step.
        p99_before_s: 99th percentile of the online texts without it.
        p99_s: with it, at most.
        p99_source: how the former was computed.
        batch_tokens_per_s: batch work that is done.
    """

    step_s: float
    step_tokens: int
    efficiency: float
    p99_before_s: float
    p99_s: float
    p99_source: str
    batch_tokens_per_s: float


def fill(waiting: Waiting, demand: PlanDemand, count: int, routing: Routing) -> Fill | None:
    """Return the longest step of batch work that keeps the target beside the online texts; None if there is none.

    A step of V seconds delays the online texts that arrive during it by at most V·(1 + ρ); V is so chosen that
    the target holds at the peak, and no longer than a saturated step.

    Args:
        waiting: the queue.
        demand: what is served. With a batch share, that much batch work has to be done; without, idle time is
            filled to the brim.
        count: replicas.
        routing: one queue for all replicas, or each text to a replica at random.

    Source: `sharing.filled_rise_bound_s`.
    """
    replica = waiting.station
    online_share = 1 - demand.batch_share
    peak_rate, mean_rate = online_share * demand.peak_texts_per_s, online_share * demand.texts_per_s
    p99 = waiting.time_in_system(peak_rate, count, routing, 0.99)
    rho_peak = peak_rate * replica.text_s.mid / count
    at_most_s = waiting.p99_at_most_s(peak_rate, count, routing)
    if not isfinite(at_most_s):
        return None
    texts = _texts_within(replica, sharing.longest_filler_step_s(demand.p99_s, at_most_s, rho_peak))
    if texts == 0:
        return None
    step_s = replica.batch_s(texts)
    mean = replica.lengths.mean
    efficiency = min(1.0, texts * replica.text_s.mid * replica.streams / step_s)
    idle = max(0.0, 1 - mean_rate * replica.text_s.mid / count)
    room = count * idle * efficiency * replica.tokens_per_s()
    wanted = demand.batch_share * demand.texts_per_s * mean if demand.batch_share else room
    if room < wanted * (1 - 1e-9):
        return None  # the batch work of the demand does not fit beside the online texts
    return Fill(
        step_s=step_s,
        step_tokens=round(texts * mean),
        efficiency=efficiency,
        p99_before_s=p99.seconds,
        p99_s=at_most_s + sharing.filled_rise_bound_s(step_s, rho_peak),
        p99_source=p99.source,
        batch_tokens_per_s=wanted,
    )


def filled(
    row: PlanRow, waiting: Waiting, candidate: Candidate, demand: PlanDemand, most_extra: int = 2
) -> Filled | None:
    """Return what batch work in the idle time of a row does to its price and to its p99.

    A row that just keeps its target leaves no room for a step, so without a batch share up to `most_extra`
    replicas more are tried, and the cheapest outcome is given. With one, the row has the replicas already.

    Args:
        row: the feasible row.
        waiting: its queue.
        candidate: its device and price.
        demand: what is served; with a batch share, the price before is that of serving all of it online.
        most_extra: replicas that may be added.

    Returns:
        None when even so no batch step fits under the target.
    """
    if row.replicas is None:
        return None
    before = row.replicas
    if demand.batch_share:
        most_extra = 0
        before = waiting.fewest_replicas(demand.peak_texts_per_s, demand.p99_s, row.routing) or before
    usd_per_hour = candidate.usd_per_hour(candidate.price.value)
    tokens_per_s = demand.tokens_per_day / SECONDS_PER_DAY
    online_tokens_per_s = (1 - demand.batch_share) * tokens_per_s
    outcomes = []
    for count in range(row.replicas, row.replicas + most_extra + 1):
        step = fill(waiting, demand, count, row.routing)
        if step is None:
            continue
        done = online_tokens_per_s + step.batch_tokens_per_s
        outcomes.append(
            Filled(
                device=row.device,
                replicas=count,
                replicas_before=before,
                filler_step_s=step.step_s,
                filler_step_tokens=step.step_tokens,
                efficiency=step.efficiency,
                p99_s=step.p99_s,
                p99_before_s=step.p99_before_s,
                utilization=done / (count * waiting.station.tokens_per_s()),
                batch_tokens_per_day=step.batch_tokens_per_s * SECONDS_PER_DAY,
                usd_per_million_tokens=usd_per_million_tokens(count * usd_per_hour, done),
                usd_per_million_tokens_before=usd_per_million_tokens(before * usd_per_hour, tokens_per_s),
            )
        )
    return min(outcomes, key=lambda outcome: outcome.usd_per_million_tokens, default=None)


def _texts_within(replica: Station, room_s: float) -> int:
    """Return the most texts of mean length in a step of at most `room_s`, no more than saturate the device."""
    if replica.batch_s(1) > room_s:
        return 0
    low, high = 1, replica.largest_batch + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if replica.batch_s(middle) <= room_s else (low, middle)
    return low
