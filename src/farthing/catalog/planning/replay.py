"""A trace replayed through the plan: what its own bursts do, which no Poisson formula knows, and its ups and downs.

Knows the scheduler's simulator and a planned row. Plans nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from operator import add

from farthing.catalog.planning.trace_file import PEAK_WINDOW_S, Trace
from farthing.scheduling.arrivals import Arrivals, trace_times
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.planning.day import COLD_START_S, following_replicas
from farthing.theory.planning.plan import PlanDemand, PlanRow
from farthing.theory.planning.search import smallest
from farthing.theory.planning.station import Station
from farthing.theory.planning.traced import Following, Replay
from farthing.theory.planning.waiting import Waiting
from farthing.theory.pricing import SECONDS_PER_DAY, usd_per_million_tokens

SEED = 0
"""Random routing draws a replica for each text; the same every time."""

_GRAIN = 0.02
"""Mean lengths of steps are rounded to so small a share of themselves, so that few step times are computed."""


MOST_TRIED = 64
"""Replicas that keep a trace's target are looked for up to this many times those of the plan."""


def replayed(
    row: PlanRow, replica: Station, trace: Trace, demand: PlanDemand, filler_step_s: float | None
) -> Replay | None:
    """Return what the texts of a trace wait for the planned replicas; None when the row has none.

    Where they miss the target, the replicas that keep it are looked for.

    Args:
        row: the planned row.
        replica: its station.
        trace: arrivals and lengths.
        demand: target, and the share of the texts that can wait: they are drawn and left out, and batch work of
            `filler_step_s` stands in for them.
        filler_step_s: seconds of a step of batch work; None for none.
    """
    if row.replicas is None:
        return None
    rng = random.Random(SEED)
    longest = replica.steps.shape.max_positions
    online = [
        (time, min(n, longest))
        for time, n in zip(trace.arrivals_s, trace.tokens, strict=True)
        if rng.random() >= demand.batch_share
    ]
    if len(online) < 2 or online[-1][0] <= online[0][0]:
        return None
    lengths = [n for _, n in online]
    arrivals = Arrivals(trace_times([time for time, _ in online]), lengths)
    host_s = [replica.host.lone_s(n) for n in lengths]
    step_s = _step_s(replica)
    most_tokens = max(1, replica.largest_batch * replica.mean_length)
    tried: dict[int, tuple[float, float, float]] = {}

    def p50_p99_busy(count: int) -> tuple[float, float, float]:
        if count not in tried:
            policy = Policy(
                servers=count * replica.streams,
                routing=row.routing,
                takes="share",
                max_batch_texts=most_tokens,  # a step is full by its tokens, not by its texts
                max_batch_size=most_tokens,
                filler_step_s=filler_step_s if demand.batch_share else None,
            )
            done = simulate(arrivals, policy, random.Random(SEED), step_s)
            seconds = sorted(map(add, done.latencies_s, host_s))
            tried[count] = (
                seconds[len(seconds) // 2],
                seconds[int(0.99 * (len(seconds) - 1))],
                done.utilization,
            )
        return tried[count]

    p50_s, p99_s, busy = p50_p99_busy(row.replicas)
    needed = smallest(
        lambda count: p50_p99_busy(count)[1] <= demand.p99_s,
        row.replicas,
        row.replicas,
        MOST_TRIED * row.replicas,
    )
    return Replay(
        device=row.device,
        replicas=row.replicas,
        routing=row.routing,
        texts=len(online),
        busy=busy,
        p50_s=p50_s,
        p99_s=p99_s,
        keeps_target=p99_s <= demand.p99_s,
        replicas_needed=needed,
    )


def followed(
    row: PlanRow, waiting: Waiting, trace: Trace, demand: PlanDemand, usd_per_hour: float
) -> Following | None:
    """Return what a fleet that follows the trace's load minute by minute takes; None when the row is no plan.

    Args:
        row: the planned row.
        waiting: its queue.
        trace: arrivals and lengths.
        demand: target, and the share of the texts that can wait, which the fleet is not sized for.
        usd_per_hour: price of a useful hour of one replica.
    """
    minutes = Counter(int(time / PEAK_WINDOW_S) for time in trace.arrivals_s)
    whole = max(1, int(trace.arrivals_s[-1] / PEAK_WINDOW_S))  # the last minute is not a whole one
    rates = [(1 - demand.batch_share) * minutes[k] / PEAK_WINDOW_S for k in range(whole)]
    replicas = following_replicas(
        rates,
        PEAK_WINDOW_S,
        COLD_START_S,
        lambda rate: waiting.fewest_replicas(rate, demand.p99_s, row.routing),
    )
    if row.replicas is None or replicas is None:
        return None
    mean = sum(replicas) / len(replicas)
    tokens_per_s = demand.tokens_per_day / SECONDS_PER_DAY
    return Following(
        device=row.device,
        interval_s=PEAK_WINDOW_S,
        cold_start_s=COLD_START_S,
        replicas_least=min(replicas),
        replicas_mean=mean,
        replicas_most=max(replicas),
        utilization=tokens_per_s / (mean * waiting.station.tokens_per_s()),
        usd_per_million_tokens=usd_per_million_tokens(mean * usd_per_hour, tokens_per_s),
    )


def _step_s(replica: Station) -> Callable[[Sequence[float]], float]:
    known: dict[tuple[int, int], float] = {}

    def step_s(sizes: Sequence[float]) -> float:
        texts = len(sizes)
        tokens = sum(sizes)
        mean = tokens / texts
        grain = max(1, round(mean * _GRAIN))
        key = texts, max(1, round(mean / grain) * grain)
        if key not in known:
            device_s = replica.steps.seconds(*key).mid
            known[key] = max(device_s, texts * replica.host.busy_s(key[1]) * replica.streams)
        return known[key]

    return step_s
