"""Arrivals drawn at random, for simulations."""

from __future__ import annotations

import math
import random
from itertools import accumulate, repeat

from farthing.errors import InputError


def poisson_times(arrivals_per_s: float, texts: int, rng: random.Random) -> list[float]:
    """Return the arrival times in seconds of `texts` texts that arrive at random.

    Raises:
        InputError: the rate or the number is not above 0.
    """
    if not 0 < arrivals_per_s < math.inf or texts < 1:
        raise InputError(f"{texts} arrivals at {arrivals_per_s} per second: give numbers above 0")
    log, uniform = math.log, rng.random
    return list(accumulate(-log(1 - uniform()) / arrivals_per_s for _ in repeat(None, texts)))
