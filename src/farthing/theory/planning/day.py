"""A load that changes over the day, and a fleet that follows it.

A fleet that stands for the peak is what a plan's rows are: its utilization is the share that the target allows at
the peak × mean / peak. Knows rates over time. Knows no queue (a function says what a rate takes) and no price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from farthing.errors import InputError
from farthing.theory.pricing import check_positive

COLD_START_S = 180.0
"""Seconds from asking for a replica to its first text: an assumption, that of a spot device that comes back."""


def following_replicas(
    rates: Sequence[float], interval_s: float, cold_start_s: float, fewest: Callable[[float], int | None]
) -> tuple[int, ...] | None:
    """Return the replicas of a fleet that follows the load, interval by interval; None where none are enough.

    A replica has to be asked for a cold start ahead, and is paid for from then on: at t there are those that
    the highest rate between t and t + cold start takes. At least one always stands.

    Args:
        rates: texts per second in consecutive intervals, at least one.
        interval_s: seconds of each.
        cold_start_s: seconds from asking for a replica to its first text.
        fewest: from texts per second to the fewest replicas that keep the target, None if there are none.

    Raises:
        InputError: there are no rates, or a time is out of its range.

    Source: a replica that is asked for at t serves from t + cold start on, so it is the rate of then that counts.
    """
    if not rates:
        raise InputError("a day without rates: give at least one")
    check_positive("the interval", interval_s)
    if not cold_start_s >= 0:
        raise InputError(f"the cold start is {cold_start_s} s: give a number of at least 0")
    ahead = ceil(cold_start_s / interval_s)
    known: dict[float, int | None] = {0.0: 1}
    replicas = []
    for start in range(len(rates)):
        rate = max(rates[start : start + ahead + 1])
        if rate not in known:
            known[rate] = fewest(rate)
        count = known[rate]
        if count is None:
            return None
        replicas.append(max(1, count))
    return tuple(replicas)
