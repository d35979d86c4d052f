"""Where larger steps stop paying: a line through a few short steps of a stream, and the limit taken from it.

Knows steps and seconds. The line and its saturation point are `theory.queueing.batch_service`'s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from farthing.catalog.calibrations import load_calibration, load_model_calibration
from farthing.engine.compiled import Steps
from farthing.engine.machine import identity_of, library_versions
from farthing.engine.model import EmbeddingModel
from farthing.engine.network.packing import Ids
from farthing.errors import InputError
from farthing.theory.queueing.batch_service import fit_step_line, saturation_tokens

SMALLEST_LIMIT = 1024
"""Positions that a step may always have. On two processors MiniLM's line saturates at 100 to 300, and steps of 1,024
still bring 3 to 4 % more than those of 256: what a step costs in Python and what a new shape costs are not in the line,
and nobody waits for a step of a large job (docs/log.md)."""

WORTH_CHARACTERS = 400_000
"""Characters of a job from which on the limit is worth measuring: about 100,000 tokens, and it is measured on 1,500."""

_TEXT_TOKENS = 32
_FIRST_TEXTS = 1
_LAST_TEXTS = 2048
_GROWN = 4.0
"""A step this many times as long as the first shows what a token takes, on whatever device."""

_TOLD = 1.25
"""Growth of the seconds below which they tell nothing of a token's."""

_SECONDS = 0.5
"""Seconds after which no larger step is measured."""


def measured_steps(
    stream: Steps, vocabulary: int, longest: int, clock: Callable[[], float] = time.perf_counter
) -> list[tuple[int, float]]:
    """Return (tokens, seconds) of steps that double until their time has grown with them.

    Each size runs once unmeasured, since a new shape costs more the first time, then twice, and the better counts.

    Args:
        stream: what runs them.
        vocabulary: ids are below it.
        longest: most tokens of a text.
        clock: seconds, from any start.
    """
    length = min(_TEXT_TOKENS, longest)
    generator = np.random.default_rng(0)
    points: list[tuple[int, float]] = []
    started, texts = clock(), _FIRST_TEXTS
    while texts <= _LAST_TEXTS:
        ids = list(generator.integers(0, vocabulary, (texts, length), np.int32))
        stream.run(ids)
        points.append((texts * length, min(_timed(stream, ids, clock) for _ in range(2))))
        if len(points) > 1 and (points[-1][1] > _GROWN * points[0][1] or clock() - started > _SECONDS):
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


class StepLimit:
    """Most positions of a model's steps for throughput, found when it is first worth it."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        self._tokens: int | None = None
        self._lock = Lock()

    def tokens(self, characters: int) -> int:
        """Return the limit for a job: what a kept calibration found best, else measured now, for small jobs neither.

        Args:
            characters: of the job's texts, together.
        """
        with self._lock:
            if self._tokens is None:
                if characters < WORTH_CHARACTERS:
                    return SMALLEST_LIMIT  # shared among the streams, such a job has hardly larger steps
                self._tokens = self._calibrated() or self._measured()
            return self._tokens

    def _calibrated(self) -> int | None:
        model = self._model
        machine = load_calibration(
            model.compiled.dtype, machine=identity_of(model.compiled.devices[0]), versions=library_versions()
        )
        if machine is None:
            return None
        kept = load_model_calibration(model.checkpoint.name, machine, revision=model.checkpoint.revision)
        return None if kept is None else kept.best_step_tokens()

    def _measured(self) -> int:
        checkpoint = self._model.checkpoint
        points = measured_steps(
            self._model.compiled.stream(), checkpoint.shape.vocabulary, checkpoint.max_length
        )
        return max(SMALLEST_LIMIT, saturating_tokens(points))


def _timed(stream: Steps, ids: Sequence[Ids], clock: Callable[[], float]) -> float:
    start = clock()
    stream.run(ids)
    return clock() - start
