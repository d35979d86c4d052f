"""Arrivals: which texts come when and how large they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import le

from farthing.errors import InputError


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Texts in order of arrival.

    Attributes:
        times_s: when each arrives, in seconds, not falling.
        sizes: size of each: its tokens, or its service time in seconds where texts are served alone.
        classes: priority of each, 0 first; all the same if None.
    """

    times_s: Sequence[float]
    sizes: Sequence[float]
    classes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        """Check that there is something to simulate.

        Raises:
            InputError: no text arrives, the sequences differ in length, or the times fall.
        """
        lengths = {
            len(self.times_s),
            len(self.sizes),
            len(self.times_s if self.classes is None else self.classes),
        }
        if lengths == {0} or len(lengths) != 1:
            raise InputError(f"arrivals: sequences of {sorted(lengths)} texts: give equal ones of at least 1")
        if not all(map(le, self.times_s, islice(self.times_s, 1, None))):
            raise InputError(
                "arrivals: a time is before the one before it: give the texts in order of arrival"
            )


def trace_times(times_s: Sequence[float], arrivals_per_s: float | None = None) -> list[float]:
    """Return the arrival times of a trace, from 0, stretched to a given mean rate if one is given.

    Args:
        times_s: when each text arrived, in seconds, not falling, at least two of them and over some time.
        arrivals_per_s: mean rate that the trace is stretched or squeezed to; None leaves it as it is.

    Raises:
        InputError: the trace falls or is too short, or the rate is not above 0.
    """
    if len(times_s) < 2 or times_s[-1] <= times_s[0] or any(b < a for a, b in pairwise(times_s)):
        raise InputError("trace: give at least two arrival times in order")
    if arrivals_per_s is not None and not 0 < arrivals_per_s < math.inf:
        raise InputError(f"trace at {arrivals_per_s} per second: give a rate above 0")
    span = times_s[-1] - times_s[0]
    factor = 1.0 if arrivals_per_s is None else (len(times_s) - 1) / span / arrivals_per_s
    return [(t - times_s[0]) * factor for t in times_s]
