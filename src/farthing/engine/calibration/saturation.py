"""Where larger steps stop paying: a line through a few short steps of a lane, and the limit taken from it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from farthing.engine.contract import Ids, Lane
from farthing.errors import InputError
from farthing.theory.time.saturation import fit_step_line, saturation_tokens

_TEXT_TOKENS = 32
_FIRST_TEXTS = 1
_LAST_TEXTS = 2048
_GROWN = 4.0
"""A step this many times as long as the first shows what a token takes, on whatever device."""

_TOLD = 1.25
"""Growth of the seconds below which they tell nothing of a token's."""

_SECONDS = 0.5
"""Timed seconds after which no larger step is measured."""


def measured_steps(
    lane: Lane, vocabulary: int, longest: int, clock: Callable[[], float] = time.perf_counter
) -> list[tuple[int, float]]:
    """Return (tokens, seconds) of steps that double until their time has grown with them.

    Each size runs once unmeasured, since a new shape costs more the first time, by seconds where it is compiled for;
    then twice, and the better counts.

    Args:
        lane: what runs them.
        vocabulary: ids are below it.
        longest: most tokens of a text.
        clock: seconds, from any start.

    Raises:
        EngineError: the lane gave no vectors.
    """
    length = min(_TEXT_TOKENS, longest)
    generator = np.random.default_rng(0)
    points: list[tuple[int, float]] = []
    spent, texts = 0.0, _FIRST_TEXTS
    while texts <= _LAST_TEXTS:
        ids = list(generator.integers(0, vocabulary, (texts, length), np.int32))
        timed_step(lane, ids, clock)
        times = [timed_step(lane, ids, clock) for _ in range(2)]
        points.append((texts * length, min(times)))
        spent += sum(times)
        if len(points) > 1 and (points[-1][1] > _GROWN * points[0][1] or spent > _SECONDS):
            break
        texts *= 2
    return points


def saturating_tokens(points: Sequence[tuple[int, float]]) -> int:
    """Return the tokens of a step past which a larger one brings less than 5 % more tokens per second.

    Where the seconds hardly grow over the measured steps, a slope through them is noise: it is then the largest of
    them, and it is never more than eight times that, which a step that has grown fourfold rules out.

    Args:
        points: tokens and seconds of measured steps, in order, at least one.
    """
    largest = points[-1][0]
    if points[-1][1] < _TOLD * points[0][1]:
        return largest
    try:
        found = math.ceil(saturation_tokens(fit_step_line(points)))
    except InputError:  # the seconds do not grow with the tokens
        return largest
    return max(1, min(found, 8 * largest))


def timed_step(lane: Lane, ids: Sequence[Ids], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of a step.

    Raises:
        EngineError: a text got no vector.
    """
    start = clock()
    done = lane.run(ids)
    seconds = clock() - start
    for error in done.failed.values():
        raise error
    return seconds


def run_side_by_side(lanes: Sequence[Lane], ids: Sequence[Ids], seconds: float = 0.15) -> list[list[float]]:
    """Run the same step on all lanes at once for a while and return each lane's step times.

    Raises:
        EngineError: a lane gave no vectors.
    """
    ready = threading.Barrier(len(lanes))

    def run(lane: Lane) -> list[float]:
        times: list[float] = []
        ready.wait()
        end = time.perf_counter() + seconds
        while len(times) < 2 or time.perf_counter() < end:
            times.append(timed_step(lane, ids))
        return times

    with ThreadPoolExecutor(len(lanes)) as pool:
        return list(pool.map(run, lanes))
