"""Measures this machine and a model on it: GEMM peak, memory bandwidth, step times, tokenizer.

Random ids and random words only: nothing is measured on anyone's corpus, so a prediction from a calibration
is a prediction. What is measured is kept (`catalog.calibrations`) and measured again when the machine or a
library changes.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from farthing.catalog.calibrations import save_calibration, save_model_calibration
from farthing.engine.calibration.dtypes import ensure_dtype_chosen
from farthing.engine.calibration.gemm_peak import measure_gemm_peak
from farthing.engine.calibration.kept import identity_of, kept_calibrations
from farthing.engine.calibration.saturation import measured_steps, run_side_by_side, saturating_tokens
from farthing.engine.contract import Engine
from farthing.engine.load import EmbeddingModel
from farthing.engine.machine import PROCESSOR, OtherLoad, library_versions
from farthing.engine.torch.cards import copy_bandwidth
from farthing.theory.devices import Calibration, ModelCalibration, StepTimes

T = TypeVar("T")
Notify = Callable[[str], None]
"""Called with a line of text for each thing that is about to be measured."""

_LENGTHS = (8, 16, 64)
_LONGEST = 1024
"""Longest text of the grid; longer ones are extrapolated, so that calibrating stays quick."""

_SMALLEST_STEP_TOKENS = 256
STILL_BUSY = "nothing more: calibrated while "
"""How the line begins that says that what is kept was measured beside others."""

BUSY_SHARE = 0.15
"""Of the processors' time in others' use, from which on a measurement tells nothing of a free machine."""

_ROUNDS = 3
_COPY_BYTES = 192_000_000
_COPY_BYTES_PER_CORE = 32_000_000


def ensure_calibrated(
    model: EmbeddingModel, run_text: Callable[[str], object], notify: Notify = lambda _: None
) -> tuple[Calibration, ModelCalibration]:
    """Return valid calibrations of this machine and the model, measuring what is missing.

    The other arguments are as in `calibrate_model`.
    """
    kept = kept_calibrations(model)
    machine = kept[0] or when_free(lambda: calibrate_machine(model.engine, notify), notify)
    measured = kept[1] or when_free(lambda: calibrate_model(model, machine, run_text, notify), notify)
    ensure_dtype_chosen(model, notify)
    return machine, measured


def when_free(measure: Callable[[], T], notify: Notify, load: Callable[[], OtherLoad] = OtherLoad) -> T:
    """Return what was measured; where others kept the processors busy meanwhile, it is said and measured once more.

    What is kept is the last, busy or not: the runs that follow correct it.
    """
    others = load()
    measured = measure()
    if (share := others.share()) <= BUSY_SHARE:
        return measured
    notify(f"again: others used {share:.0%} of the processors meanwhile")
    others = load()
    measured = measure()
    if (share := others.share()) > BUSY_SHARE:
        notify(f"{STILL_BUSY}others used {share:.0%} of the processors, so it is wrong until runs correct it")
    return measured


def calibrate_machine(engine: Engine, notify: Notify = lambda _: None) -> Calibration:
    """Measure the GEMM peak and the memory bandwidth of an engine's device, and keep them. Takes about 6 s.

    Args:
        engine: whose device and dtype are meant, and on a processor how many cores.
        notify: called before each measurement.
    """
    dtype, device = engine.dtype, engine.device
    notify(f"matrix peak of this machine in {dtype}")
    best = measure_gemm_peak(dtype, device=device, cores=engine.lanes)[0]
    notify("memory bandwidth of this machine")
    calibration = Calibration(
        machine=identity_of(engine),
        device_type="cpu" if device == PROCESSOR else "cuda",
        versions=library_versions(),
        measured_at=_now(),
        dtype=dtype,
        peak_flops_per_s=best.flops_per_s,
        peak_source=f"measured GEMM, {dtype}: {best.label}",
        bandwidth_bytes_per_s=_copy_bandwidth(engine.lanes)
        if device == PROCESSOR
        else copy_bandwidth(device),
    )
    save_calibration(calibration)
    return calibration


def calibrate_model(
    model: EmbeddingModel,
    machine: Calibration,
    run_text: Callable[[str], object],
    notify: Notify = lambda _: None,
) -> ModelCalibration:
    """Measure the model's step times and its tokenizer, and keep them. Takes about 8 s for a small model.

    Args:
        model: the loaded model.
        machine: what it is kept beside.
        run_text: runs a job of one text, to see what a job takes beside its steps.
        notify: called before the measurement.
    """
    notify(f"step times of {model.checkpoint.name}")
    times, new_shape_s = _step_times(model)
    calibration = ModelCalibration(
        model=model.checkpoint.name,
        dtype=model.engine.dtype,
        streams=model.engine.lanes,
        step_times=times,
        new_shape_s=new_shape_s,
        tokenization_s_per_token=_tokenization_s_per_token(model),
        job_overhead_s=_job_overhead_s(model, times, run_text),
        measured_at=_now(),
    )
    save_model_calibration(calibration, machine, model.checkpoint.revision)
    return calibration


def _step_times(model: EmbeddingModel) -> tuple[StepTimes, float]:
    # The model's own limit, not the user's: what is kept must hold for the next run too.
    longest = min(model.checkpoint.max_length, _LONGEST)
    lengths = (*(length for length in _LENGTHS if length < longest), longest)
    smallest = max(longest, _SMALLEST_STEP_TOKENS)
    if (
        model.engine.device != PROCESSOR
    ):  # a card saturates at many more, and a job's steps must not end before
        points = measured_steps(model.engine.lane(), model.checkpoint.shape.vocabulary, longest)
        smallest = max(smallest, saturating_tokens(points))
    tokens = (smallest, 2 * smallest, 4 * smallest)
    cells = [(length, n) for length in lengths for n in tokens]
    lanes = [model.engine.lane() for _ in range(model.engine.lanes)]
    generator = np.random.default_rng(0)
    samples: dict[tuple[int, int], list[float]] = {point: [] for point in cells}
    first_extra: list[float] = []
    for _ in range(_ROUNDS):
        for length, n in cells:
            ids = [
                generator.integers(0, model.checkpoint.shape.vocabulary, length, np.int32)
                for _ in range(n // length)
            ]
            seconds = run_side_by_side(lanes, ids)
            if not samples[length, n]:
                first_extra.extend(max(0.0, line[0] - statistics.median(line[1:])) for line in seconds)
            samples[length, n].extend(time for line in seconds for time in line[1:])
    grid = tuple(
        # A text's own step is n // length texts; scale to n tokens exactly.
        tuple(statistics.median(samples[length, n]) * n / (n // length * length) for n in tokens)
        for length in lengths
    )
    return StepTimes(lengths, tokens, grid), statistics.median(first_extra)


def _tokenization_s_per_token(model: EmbeddingModel) -> float:
    """Return processor seconds per token over random words of the vocabulary."""
    words = model.tokenizer.words() or ["text"]
    choose = random.Random(0)
    texts = [" ".join(choose.choices(words, k=64)) for _ in range(512)]
    model.tokenizer.encode(texts)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        tokens = sum(model.tokenizer.encode(texts).lengths)
        best = min(best, (time.process_time() - start) / tokens)
    return best


def _job_overhead_s(model: EmbeddingModel, times: StepTimes, run_text: Callable[[str], object]) -> float:
    """Return what a job of one short text takes beside its step; median of seven."""
    word = (model.tokenizer.words() or ["text"])[0]
    length = model.tokenizer.encode([word]).lengths[0]
    walls = []
    for _ in range(7):
        start = time.perf_counter()
        run_text(word)
        walls.append(time.perf_counter() - start)
    return max(0.0, statistics.median(walls) - times.step_s(1, length))


def _copy_bandwidth(cores: int) -> float:
    """Return bytes per second of a copy by some cores, far larger than the caches; best of five."""
    share = max(_COPY_BYTES // cores, _COPY_BYTES_PER_CORE) // 8
    sources = [np.random.default_rng(0).random(share) for _ in range(cores)]
    targets = [np.empty(share) for _ in range(cores)]
    rates = []
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(5):
            start = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))
            rates.append(2 * 8 * share * cores / (time.perf_counter() - start))
    return max(rates)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
