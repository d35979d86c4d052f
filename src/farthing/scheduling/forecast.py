"""How long a job will take: the real batching policy × the measured step times.

The step times were measured on random token ids, and all that is taken from the job is its lengths; what jobs before
it took corrects them.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

from farthing.scheduling.batching import batches_by_length
from farthing.theory.devices import ModelCalibration, PastRun
from farthing.theory.work import WorkCounter

RUNS_TAKEN = 5
"""The last runs correct a calibration, by their median: one odd run of three changes nothing."""

LEAST_STEPS_S = 0.3
"""Steps of a length that took less in a run tell nothing of it: the first of a lane take longer than all others."""


def corrected(calibration: ModelCalibration, runs: Sequence[PastRun], kind: str) -> ModelCalibration:
    """Return a calibration as the last runs correct it: its steps by length, and what is beside them by kind of job.

    Args:
        calibration: as it was measured.
        runs: what was predicted from it and took how long, oldest first.
        kind: of the job to come.
    """
    told = [run for run in runs if not run.busy]
    everywhere = _ratio([_total(run.steps) for run in told])
    rows = []
    for length, row in zip(calibration.step_times.lengths, calibration.step_times.seconds, strict=True):
        own = _ratio([_total([step for step in run.steps if step[0] == length]) for run in told])
        rows.append(tuple(seconds * (own or everywhere or 1.0) for seconds in row))
    beside = [run.beside_s for run in runs if run.kind == kind and run.beside_s is not None and not run.busy]
    return replace(
        calibration,
        step_times=replace(calibration.step_times, seconds=tuple(rows)),
        job_overhead_s=statistics.median(beside[-RUNS_TAKEN:]) if beside else calibration.job_overhead_s,
    )


def _total(steps: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    return sum(step[1] for step in steps), sum(step[2] for step in steps)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the median of taken / predicted seconds, None where no run tells."""
    ratios = [taken / predicted for predicted, taken in pairs if predicted > 0 and taken >= LEAST_STEPS_S]
    return statistics.median(ratios[-RUNS_TAKEN:]) if ratios else None


def forecast_job_s(
    lengths: Sequence[int],
    calibration: ModelCalibration,
    *,
    max_batch_tokens: int,
    window_texts: int,
    scale: float = 1.0,
    prefix: int = 0,
    counter: WorkCounter | None = None,
) -> float:
    """Return the wall seconds that embedding these texts should take.

    Tokenizing runs beside the steps but on the same cores, so its processor time is spread over the
    streams and added.

    Args:
        lengths: tokens of each text that will be computed, or of a random sample of them.
        calibration: step times of the model on this machine.
        max_batch_tokens: most positions in one step.
        window_texts: texts that are grouped together.
        scale: tokens in the job / tokens in `lengths`: 1 unless `lengths` is a sample.
        prefix: tokens that all texts begin with and reuse, made once. A step has the time of the texts' own tokens,
            lengthened as the FLOPs are by attending to the prefix as well.
        counter: the model's; needed where there is a prefix.

    Returns:
        Seconds from the first text read to the last vector written.

    Raises:
        InputError: there is a prefix and the model is not causal.
    """
    if not lengths:
        return 0.0
    shown = list(lengths)
    if scale > 1:
        # A sample is blown up to one window, since full windows group better than small ones do.
        shown = list(islice(cycle(lengths), min(round(len(lengths) * scale), window_texts)))
        scale *= sum(lengths) / sum(shown)
    busy_until = [0.0] * calibration.streams
    # Windows follow each other without a gap: a stream that is done takes the next one's first batch.
    for start in range(0, len(shown), window_texts):
        seen: set[tuple[int, int]] = set()  # the runtime keeps too few shapes to know them in the next window
        own = [max(1, length - prefix) for length in shown[start : start + window_texts]]
        for batch in batches_by_length(own, max_batch_tokens, calibration.streams):
            shape = (len(batch.rows), batch.length)
            step = calibration.step_times.step_s(*shape) * _lengthening(batch.length, prefix, counter)
            if shape not in seen:
                step += calibration.new_shape_s
                seen.add(shape)
            heapq.heapreplace(busy_until, busy_until[0] + step)
    mean_s = sum(busy_until) / len(busy_until)
    tail_s = max(busy_until) - mean_s
    tokenization_s = sum(shown) * calibration.tokenization_s_per_token / calibration.streams
    once_s = calibration.job_overhead_s + (calibration.step_times.step_s(1, prefix) if prefix else 0.0)
    return once_s + scale * (mean_s + tokenization_s) + tail_s


def _lengthening(own: int, prefix: int, counter: WorkCounter | None) -> float:
    """Return FLOPs of a text behind a reused prefix / those of its own tokens alone."""
    if not prefix:
        return 1.0
    if counter is None:
        raise ValueError("a prefix is reused: give the model's counter")
    behind = counter.step([prefix + own], prefix=prefix).total.executed_flops
    return behind / counter.step([own]).total.executed_flops
