"""Idle time filled with texts that can wait: the longest step that keeps the target, and what it does to the price."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from farthing.planning.answer import Filled, PlanDemand
from farthing.planning.replicas.station import Station
from farthing.planning.replicas.waiting import simulated
from farthing.planning.rows import BATCH_HEADROOM, Served, fewest_replicas, fewest_simulated, with_filler
from farthing.theory.pricing import SECONDS_PER_DAY, usd_per_million_tokens

_MOST_ADDED = 16


def filled(
    best: Served, demand: PlanDemand, max_usd_per_hour: float | None = None
) -> tuple[Filled, Served] | None:
    """Return the fewest devices that serve the online texts in time and all others in their idle time.

    A step of V seconds delays the online texts that come during it by at most V·(1 + ρ); V is so chosen that the target
    still holds at the peak, no longer than a saturated step, and the simulator says what it makes of the p99.

    Args:
        best: the row, of the online texts alone.
        demand: what is served, with a share above 0 that can wait.
        max_usd_per_hour: budget for all devices together; None for none.

    Returns:
        What it saves, and the row with those devices; None when no step fits under the target, not even with some
        replicas more.

    Source: Inoue 2021, arXiv 1912.06322, with vacations: a rise of at most V·(1 + λα).
    """
    replica, row = best.station, best.row
    if row.replicas is None or row.p99_s is None:
        return None
    rate, tokens_per_s = demand.online_peak_texts_per_s, demand.tokens_per_day / SECONDS_PER_DAY
    online = (1 - demand.batch_share) * demand.texts_per_s
    least = max(row.replicas, ceil(demand.texts_per_s * replica.full_text_s / BATCH_HEADROOM))
    for count in range(least, least + _MOST_ADDED):
        before_s = row.p99_s if count == row.replicas else simulated(replica, rate, count).p99_s
        step_s = (demand.p99_s - before_s) / (1 + rate * replica.full_text_s / count)
        texts = _texts_within(replica, step_s)
        if not texts:
            continue
        step_s = replica.mean_step_s(texts)
        efficiency = min(1.0, texts * replica.text_s * replica.steps.streams / step_s)
        idle = count - online * replica.full_text_s
        if idle * efficiency < demand.batch_share * demand.texts_per_s * replica.text_s:
            continue
        waited = simulated(replica, rate, count, filler_step_s=step_s)
        if waited.p99_s > demand.p99_s:
            continue
        everything = replace(demand, batch_share=0.0)
        guess = fewest_replicas(replica, demand.peak_texts_per_s, demand.p99_s)
        before = fewest_simulated(replica, everything, guess)[0] if guess is not None else count
        usd = best.candidate.usd_per_hour()
        saved = Filled(
            device=row.device,
            replicas=count,
            replicas_before=before,
            filler_step_s=step_s,
            filler_step_tokens=round(texts * replica.lengths.mean),
            efficiency=efficiency,
            p99_s=waited.p99_s,
            usd_per_million_tokens=usd_per_million_tokens(
                best.candidate.rented(count + demand.spare) * usd, tokens_per_s
            ),
            usd_per_million_tokens_before=usd_per_million_tokens(
                best.candidate.rented(before + demand.spare) * usd, tokens_per_s
            ),
        )
        return saved, with_filler(best, demand, count, waited, max_usd_per_hour)
    return None


def _texts_within(replica: Station, room_s: float) -> int:
    """Return the most texts of mean length in a step of at most `room_s`, no more than saturate the device."""
    low, high = 0, replica.step_texts + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if replica.mean_step_s(middle) <= room_s else (low, middle)
    return low
