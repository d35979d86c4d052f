"""What a trace adds to a Plan: its own arrivals played through the cheapest row, and a fleet that follows its load.

Knows names and units, apart from `plan` so that a plan without a trace need not make them. Both come about in
`catalog.planning.replay`.
"""

from __future__ import annotations

from dataclasses import dataclass

from farthing.theory.planning.station import Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A trace played through the replicas of the cheapest row, in the simulator.

    Attributes:
        device: the row's device.
        replicas: how many.
        routing: one queue for all, or each text to a replica at random.
        texts: arrivals of the trace.
        busy: share of the replicas' time that they ran; steps that are not full run longer per token, so it is
            more than the utilization.
        p50_s: median time from arrival to vector.
        p99_s: its 99th percentile over the whole trace.
        keeps_target: whether that is within the target.
        replicas_needed: the fewest that keep it, at least those planned; None when not even 64 times as many do.
    """

    device: str
    replicas: int
    routing: Routing
    texts: int
    busy: float
    p50_s: float
    p99_s: float
    keeps_target: bool
    replicas_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """The cheapest row's devices, started and stopped as the trace's load changes.

    Attributes:
        device: the row's device.
        interval_s: how often the fleet is sized.
        cold_start_s: how far ahead a replica has to be asked for.
        replicas_least: fewest that stand at any time.
        replicas_mean: how many stand on average.
        replicas_most: most that stand at any time.
        utilization: share of their saturated capacity in use.
        usd_per_million_tokens: of the trace's mean rate.
    """

    device: str
    interval_s: float
    cold_start_s: float
    replicas_least: int
    replicas_mean: float
    replicas_most: int
    utilization: float
    usd_per_million_tokens: float
