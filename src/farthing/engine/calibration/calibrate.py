"""Measures this machine and a model on it: GEMM peak, memory bandwidth, step times, tokenizer.

Random ids and random words only: nothing is measured on anyone's corpus, so a prediction from a calibration
is a prediction. What is measured is kept (`catalog.calibrations`) and measured again when the machine or a
library changes.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from farthing.catalog.calibrations import (
    load_calibration,
    load_model_calibration,
    save_calibration,
    save_model_calibration,
)
from farthing.engine.torch.cards import copy_bandwidth
from farthing.engine.compiled import Steps
from farthing.engine.calibration.gemm_peak import measure_gemm_peak
from farthing.engine.machine import PROCESSOR, available_cores, identity_of, library_versions
from farthing.engine.model import EmbeddingModel
from farthing.embedding.steps import Pipeline
from farthing.engine.calibration.saturation import measured_steps, saturating_tokens
from farthing.engine.text.tokenization import Ids
from farthing.theory.devices import Calibration, Dtype, ModelCalibration, StepTimes

Notify = Callable[[str], None]
"""Called with a line of text for each thing that is about to be measured."""

_LENGTHS = (8, 16, 64)
_LONGEST = 1024
"""Longest text of the grid; longer ones are extrapolated, so that calibrating stays quick."""

_SMALLEST_STEP_TOKENS = 256
_ROUNDS = 3
_COPY_BYTES = 256_000_000
_COPY_BYTES_PER_CORE = 32_000_000


def ensure_calibrated(
    model: EmbeddingModel, notify: Notify = lambda _: None
) -> tuple[Calibration, ModelCalibration]:
    """Return valid calibrations of this machine and the model, measuring what is missing."""
    dtype, device = model.compiled.dtype, model.compiled.devices[0]
    machine = load_calibration(dtype, machine=identity_of(device), versions=library_versions())
    if machine is None:
        machine = calibrate_machine(dtype, notify, device)
    checkpoint = model.checkpoint
    measured = load_model_calibration(checkpoint.name, machine, revision=checkpoint.revision)
    if measured is None:
        measured = calibrate_model(model, machine, notify)
    return machine, measured


def calibrate_machine(
    dtype: Dtype = "fp32", notify: Notify = lambda _: None, device: str = PROCESSOR
) -> Calibration:
    """Measure the GEMM peak and the memory bandwidth, and keep them. Takes about 6 s.

    Args:
        dtype: of the products.
        notify: called before each measurement.
        device: the processor, or a card as torch names it.
    """
    notify(f"matrix peak of this machine in {dtype}")
    best = measure_gemm_peak(dtype, device=device)[0]
    notify("memory bandwidth of this machine")
    calibration = Calibration(
        machine=identity_of(device),
        device_type="cpu" if device == PROCESSOR else "cuda",
        versions=library_versions(),
        measured_at=_now(),
        dtype=dtype,
        peak_flops_per_s=best.flops_per_s,
        peak_source=f"measured GEMM, {dtype}: {best.label}",
        bandwidth_bytes_per_s=_copy_bandwidth() if device == PROCESSOR else copy_bandwidth(device),
    )
    save_calibration(calibration)
    return calibration


def calibrate_model(
    model: EmbeddingModel, machine: Calibration, notify: Notify = lambda _: None
) -> ModelCalibration:
    """Measure the model's step times and its tokenizer, and keep them. Takes about 8 s for a small model."""
    notify(f"step times of {model.checkpoint.name}")
    times, new_shape_s = _step_times(model)
    calibration = ModelCalibration(
        model=model.checkpoint.name,
        dtype=model.compiled.dtype,
        streams=model.compiled.streams,
        step_times=times,
        new_shape_s=new_shape_s,
        tokenization_s_per_token=_tokenization_s_per_token(model),
        job_overhead_s=_job_overhead_s(model, times),
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
        model.compiled.devices[0] != PROCESSOR
    ):  # a card saturates at many more, and a job's steps must not end before
        points = measured_steps(model.compiled.stream(), model.checkpoint.shape.vocabulary, longest)
        smallest = max(smallest, saturating_tokens(points))
    tokens = (smallest, 2 * smallest, 4 * smallest)
    cells = [(length, n) for length in lengths for n in tokens]
    streams = [model.compiled.stream() for _ in range(model.compiled.streams)]
    generator = np.random.default_rng(0)
    samples: dict[tuple[int, int], list[float]] = {point: [] for point in cells}
    first_extra: list[float] = []
    for _ in range(_ROUNDS):
        for length, n in cells:
            ids = [
                generator.integers(0, model.checkpoint.shape.vocabulary, length, np.int32)
                for _ in range(n // length)
            ]
            seconds = _run_side_by_side(streams, ids, length)
            if not samples[length, n]:
                first_extra.extend(max(0.0, line[0] - statistics.median(line[1:])) for line in seconds)
            samples[length, n].extend(time for line in seconds for time in line[1:])
    grid = tuple(
        # A text's own step is n // length texts; scale to n tokens exactly.
        tuple(statistics.median(samples[length, n]) * n / (n // length * length) for n in tokens)
        for length in lengths
    )
    return StepTimes(lengths, tokens, grid), statistics.median(first_extra)


def _run_side_by_side(
    streams: list[Steps], ids: list[Ids], length: int, seconds: float = 0.15
) -> list[list[float]]:
    """Run the same batch on all streams at once for a while and return each stream's step times."""
    results: list[list[float]] = [[] for _ in streams]
    ready = threading.Barrier(len(streams))

    def run(index: int) -> None:
        ready.wait()
        end = time.perf_counter() + seconds
        while len(results[index]) < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            streams[index].run(ids)
            results[index].append(time.perf_counter() - start)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


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


def _job_overhead_s(model: EmbeddingModel, times: StepTimes) -> float:
    """Return what a job of one short text takes beside its step; median of seven."""
    word = (model.tokenizer.words() or ["text"])[0]
    length = model.tokenizer.encode([word]).lengths[0]
    walls = []
    for _ in range(7):
        start = time.perf_counter()
        list(Pipeline(model, times.step_tokens[-1]).run([word]))
        walls.append(time.perf_counter() - start)
    return max(0.0, statistics.median(walls) - times.step_s(1, length))


def _copy_bandwidth() -> float:
    """Return bytes per second of a copy by all cores, far larger than the caches; best of five."""
    share = max(_COPY_BYTES // available_cores(), _COPY_BYTES_PER_CORE) // 8
    pairs = [(np.random.default_rng(0).random(share), np.empty(share)) for _ in range(available_cores())]
    rates = []
    for _ in range(5):
        threads = [threading.Thread(target=np.copyto, args=(target, source)) for source, target in pairs]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(2 * 8 * share * len(pairs) / (time.perf_counter() - start))
    return max(rates)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
