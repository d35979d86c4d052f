"""A trace replayed through the plan: what its own bursts do, which Poisson arrivals do not, and its ups and downs."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil

from farthing.planning.answer import Filled, Following, PlanDemand, Replay
from farthing.planning.asked.trace import PEAK_WINDOW_S, Trace
from farthing.planning.replicas.waiting import latencies_s, quantile_s, smallest
from farthing.planning.rows import Served, fewest_replicas
from farthing.theory.pricing import SECONDS_PER_DAY, usd_per_million_tokens

COLD_START_S = 180.0
"""Seconds from asking for a replica to its first text: an assumption, that of a spot device that comes back."""

MOST_TRIED = 64
"""Replicas that keep a trace's target are looked for up to this many times those of the plan."""

SEED = 0
"""Which texts can wait is drawn; the same every time."""


def replayed(best: Served, trace: Trace, demand: PlanDemand, idle: Filled | None) -> Replay | None:
    """Return what the texts of a trace wait for the planned replicas; None when fewer than two cannot wait.

    Args:
        best: the planned row.
        trace: arrivals and lengths, which the model takes.
        demand: target, and the share of the texts that can wait: they are drawn and left out.
        idle: how those run: steps of batch work stand in for them, or replicas apart are left out.
    """
    planned, filler_step_s = best.row.replicas, None
    if idle is not None and planned is not None:
        planned, filler_step_s = (
            planned - idle.replicas_apart,
            None if idle.replicas_apart else idle.filler_step_s,
        )
    rng = random.Random(SEED)
    online = [
        pair
        for pair in zip(trace.arrivals_s, trace.tokens, strict=True)
        if rng.random() >= demand.batch_share
    ]
    if planned is None or len(online) < 2:
        return None
    times, texts = [time for time, _ in online], [[n] for _, n in online]
    replica = best.station.knowing(n for _, n in online)
    tried: dict[int, tuple[float, float]] = {}

    def p50_p99(count: int) -> tuple[float, float]:
        if count not in tried:
            seconds = latencies_s(replica, times, texts, count, filler_step_s)
            tried[count] = quantile_s(seconds, 0.5), quantile_s(seconds, 0.99)
        return tried[count]

    p50_s, p99_s = p50_p99(planned)
    return Replay(
        device=best.row.device,
        replicas=planned,
        texts=len(online),
        p50_s=p50_s,
        p99_s=p99_s,
        keeps_target=p99_s <= demand.p99_s,
        replicas_needed=smallest(
            lambda count: p50_p99(count)[1] <= demand.p99_s, planned, MOST_TRIED * planned
        ),
    )


def followed(best: Served, trace: Trace, demand: PlanDemand) -> Following | None:
    """Return what a fleet that follows the trace's load minute by minute takes; None where no number is enough.

    A replica has to be asked for a cold start ahead, and is paid for from then on: at t there are those that the
    highest rate between t and t + cold start takes. At least one always stands; texts that can wait do not count.

    Source: a replica that is asked for at t serves from t + cold start on, so it is the rate of then that counts.
    """
    minutes = Counter(int(time / PEAK_WINDOW_S) for time in trace.arrivals_s)
    whole = max(1, int(trace.arrivals_s[-1] / PEAK_WINDOW_S))  # the last minute is not a whole one
    rates = [(1 - demand.batch_share) * minutes[k] / PEAK_WINDOW_S for k in range(whole)]
    ahead = ceil(COLD_START_S / PEAK_WINDOW_S)
    peaks = [max(rates[k : k + ahead + 1]) for k in range(whole)]
    known = {rate: fewest_replicas(best.station, rate, demand.p99_s) for rate in {*peaks}}
    counts = [known[rate] or 0 for rate in peaks]
    if None in known.values():
        return None
    mean = sum(counts) / len(counts)
    tokens_per_s = demand.tokens_per_day / SECONDS_PER_DAY
    return Following(
        device=best.row.device,
        interval_s=PEAK_WINDOW_S,
        cold_start_s=COLD_START_S,
        replicas_least=min(counts),
        replicas_mean=mean,
        replicas_most=max(counts),
        utilization=tokens_per_s / (mean * best.station.tokens_per_s()),
        usd_per_million_tokens=usd_per_million_tokens(mean * best.candidate.usd_per_hour(), tokens_per_s),
    )
