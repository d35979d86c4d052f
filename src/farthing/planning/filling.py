"""Idle time filled with texts that can wait: the longest step that keeps the target, and what it does to the price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from farthing.planning.answer import Filled, PlanDemand
from farthing.planning.replicas.station import Station
from farthing.planning.replicas.waiting import simulated
from farthing.planning.rows import (
    BATCH_HEADROOM,
    Served,
    fewest_replicas,
    fewest_simulated,
    rank,
    with_replicas,
)
from farthing.theory.pricing import SECONDS_PER_DAY, usd_per_million_tokens


def fill(
    served: Sequence[Served], demand: PlanDemand, max_usd_per_hour: float | None = None
) -> tuple[Filled | None, list[Served]]:
    """Return the rows, the cheapest of them with replicas that do the work that can wait too, and what that saves.

    Other rows have replicas for all of it on the mean of the day, which is the least that it takes.

    Args:
        served: rows, the cheapest first.
        demand: what is served, with a share above 0 that can wait.
        max_usd_per_hour: budget for all devices together; None for none.
    """
    rows = list(served)
    done: dict[int, Filled] = {}
    while rows[0].row.feasible and id(rows[0].candidate) not in done:
        found, rows[0] = filled(rows[0], demand, max_usd_per_hour)
        done[id(rows[0].candidate)] = found
        rows.sort(key=rank)
    return done.get(id(rows[0].candidate)), rows


def filled(best: Served, demand: PlanDemand, max_usd_per_hour: float | None = None) -> tuple[Filled, Served]:
    """Return the fewest devices that serve the online texts in time and do all others too, and the row with those.

    The others run in idle time. A step of V seconds delays the online texts that come during it by at most V·(1 + ρ); V
    is so chosen that the target still holds at the peak, no longer than a saturated step, and the simulator says what
    it makes of the p99. Where that takes as many devices as work of two kinds apart, they stand apart.

    Source: Inoue 2021, arXiv 1912.06322, with vacations: a rise of at most V·(1 + λα).
    """
    replica, texts_per_s = best.station, demand.batch_share * demand.texts_per_s
    rate, online = demand.online_peak_texts_per_s, demand.texts_per_s - texts_per_s
    known = best.known or fewest_simulated(replica, demand, best.row.replicas or 1)
    apart = ceil(texts_per_s * replica.full_text_s / BATCH_HEADROOM)
    least = max(known[0], ceil(demand.texts_per_s * replica.full_text_s / BATCH_HEADROOM))
    for count in range(least, known[0] + apart):
        before_s = known[1].p99_s if count == known[0] else simulated(replica, rate, count).p99_s
        texts = _texts_within(replica, (demand.p99_s - before_s) / (1 + rate * replica.full_text_s / count))
        if not texts:
            continue
        step_s = replica.mean_step_s(texts)
        efficiency = min(1.0, texts * replica.text_s * replica.steps.streams / step_s)
        if (count - online * replica.full_text_s) * efficiency < texts_per_s * replica.text_s:
            continue
        waited = simulated(replica, rate, count, filler_step_s=step_s)
        if waited.p99_s <= demand.p99_s:
            apart = 0
            break
    else:
        count, waited, efficiency, texts = known[0] + apart, known[1], 1.0, replica.step_texts
    everything = replace(demand, batch_share=0.0)
    guess = fewest_replicas(replica, demand.peak_texts_per_s, demand.p99_s)
    before = fewest_simulated(replica, everything, guess)[0] if guess is not None else count

    def usd(replicas: int) -> float:
        hourly = best.candidate.rented(replicas + demand.spare) * best.candidate.usd_per_hour()
        return usd_per_million_tokens(hourly, demand.tokens_per_day / SECONDS_PER_DAY)

    saved = Filled(
        device=best.row.device,
        replicas=count,
        replicas_apart=apart,
        replicas_before=before,
        filler_step_s=replica.mean_step_s(texts),
        filler_step_tokens=round(texts * replica.lengths.mean),
        efficiency=efficiency,
        p99_s=waited.p99_s,
        usd_per_million_tokens=usd(count),
        usd_per_million_tokens_before=usd(before),
    )
    return saved, with_replicas(best, demand, (count, waited), max_usd_per_hour)


def _texts_within(replica: Station, room_s: float) -> int:
    """Return the most texts of mean length in a step of at most `room_s`, no more than saturate the device."""
    low, high = 0, replica.step_texts + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if replica.mean_step_s(middle) <= room_s else (low, middle)
    return low
