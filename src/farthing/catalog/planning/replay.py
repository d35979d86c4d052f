"""A trace replayed through the plan: what its own bursts do, which no Poisson formula knows.

Knows the scheduler's simulator and a planned row. Plans nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from farthing.catalog.planning.trace_file import Trace
from farthing.scheduling.simulation import Arrivals, Policy, simulate, trace_times
from farthing.theory.planning.plan import PlanRow, Replay
from farthing.theory.planning.station import Station

SEED = 0
"""Random routing draws a replica for each text; the same every time."""

_GRAIN = 0.02
"""Mean lengths of steps are rounded to so small a share of themselves, so that few step times are computed."""


def replayed(row: PlanRow, replica: Station, trace: Trace, longest: int, target_s: float) -> Replay | None:
    """Return what the texts of a trace wait for the planned replicas; None when the row has none.

    Args:
        row: the planned row.
        replica: its station.
        trace: arrivals and lengths.
        longest: tokens that longer texts are cut to.
        target_s: seconds that 99 % of the texts may take.
    """
    if row.replicas is None:
        return None
    lengths = [min(n, longest) for n in trace.tokens]
    policy = Policy(
        servers=row.replicas * replica.streams,
        routing=row.routing,
        takes="share",
        max_batch_texts=replica.largest_batch,
        max_batch_size=max(1, replica.largest_batch * replica.mean_length),
    )
    done = simulate(
        Arrivals(trace_times(trace.arrivals_s), lengths), policy, random.Random(SEED), _step_s(replica)
    )
    latencies = sorted(
        wait + replica.host.lone_s(n) for wait, n in zip(done.latencies_s, lengths, strict=True)
    )
    p99_s = latencies[int(0.99 * (len(latencies) - 1))]
    return Replay(
        device=row.device,
        replicas=row.replicas,
        routing=row.routing,
        texts=len(lengths),
        busy=done.utilization,
        p50_s=latencies[len(latencies) // 2],
        p99_s=p99_s,
        keeps_target=p99_s <= target_s,
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
