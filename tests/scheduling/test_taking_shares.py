"""What a free server of a shared queue takes: all that waits, or its share."""

from __future__ import annotations

import random
from typing import Literal

from drawn_arrivals import poisson_times
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate


def test_a_server_that_takes_its_share_leaves_the_rest_to_the_others() -> None:
    """Four texts wait when both servers come free: one takes two, the other one of the two left, not all and none."""
    arrivals = Arrivals([0.0, 0.0, 0.1, 0.1, 0.1, 0.1], [1.0] * 6)

    def latencies(takes: Literal["all", "share"]) -> list[float]:
        policy = Policy(servers=2, max_batch_texts=10, takes=takes)
        done = simulate(arrivals, policy, lambda sizes: 1.0 + 0.1 * len(sizes))
        return [round(seconds, 6) for seconds in done.latencies_s]

    assert latencies("share") == [1.1, 1.1, 2.2, 2.2, 2.1, 3.2]
    assert latencies("all") == [1.2, 1.2, 1.4, 1.4, 1.4, 1.4]  # each server in its turn takes all


def test_taking_all_on_a_shared_queue_is_far_worse_at_the_tail_than_taking_a_share() -> None:
    """Eight servers at half load, steps that four texts saturate: the others idle while one works off the queue."""
    rng = random.Random(3)
    arrivals = Arrivals(poisson_times(0.5 * 8 * 4 / 1.6, 60_000, rng), [1.0] * 60_000)

    def p99(takes: Literal["all", "share"]) -> float:
        policy = Policy(servers=8, max_batch_texts=4, takes=takes)
        return simulate(arrivals, policy, lambda sizes: 0.05 + 0.3875 * len(sizes)).quantile_s(0.99)

    assert p99("all") > 1.8 * p99("share")
