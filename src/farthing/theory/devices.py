"""What a device is said to do (DeviceSpec) and what it was measured to do (Calibration).

The two never share a field: a datasheet peak is a promise, a calibration a measurement.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from farthing.theory.dtypes import Dtype

DeviceType = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """The datasheet of one accelerator, and the share of it that others have reached.

    Attributes:
        device: short name, for example `h100-sxm`.
        name: full name.
        peak_flops_per_s: dense peak per dtype.
        achievable_flops_per_s: best published matrix product per dtype.
        memory_bytes: size of its memory.
        bandwidth_bytes_per_s: peak memory bandwidth.
        power_w: board power, or None when unknown.
        sources: what each figure comes from, by field name.
    """

    device: str
    name: str
    peak_flops_per_s: Mapping[str, float]
    achievable_flops_per_s: Mapping[str, float]
    memory_bytes: float
    bandwidth_bytes_per_s: float
    power_w: float | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Measured seconds of one step over a grid of text lengths and step sizes.

    A step is one forward pass of `batch` texts of `length` tokens on one stream while every other stream
    is as busy. Time, not efficiency, is interpolated, linearly in the logarithms. Steps beyond the largest one keep
    its tokens per second: by then a device is near saturation, and a slope between two noisy points would promise
    more than any peak allows.

    Attributes:
        lengths: lengths of the grid in tokens, rising.
        step_tokens: tokens per step of the grid, rising.
        seconds: `seconds[i][j]` belongs to `lengths[i]` and `step_tokens[j]`.
    """

    lengths: tuple[int, ...]
    step_tokens: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]

    def step_s(self, batch: int, length: int) -> float:
        """Return the seconds of a step of `batch` texts of `length` tokens."""
        log_tokens = math.log(batch * length)
        grid = [math.log(n) for n in self.step_tokens]
        within = min(log_tokens, grid[-1])
        per_length = [_interpolate(grid, [math.log(s) for s in row], within) for row in self.seconds]
        log_s = _interpolate([math.log(s) for s in self.lengths], per_length, math.log(length))
        return math.exp(log_s + log_tokens - within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured of one device, whatever the model.

    Attributes:
        machine: identity of the device: processor, cores and instruction sets, or card, memory and CUDA.
        device_type: whether it is the processor or a card, in torch's words.
        versions: versions of the libraries that were measured.
        measured_at: ISO 8601 time of the measurement.
        dtype: dtype of the products.
        peak_flops_per_s: best matrix product, over libraries and shapes.
        peak_source: which library and shape reached it.
        bandwidth_bytes_per_s: memory bandwidth of a copy, reads and writes counted.
    """

    machine: str
    device_type: DeviceType
    versions: Mapping[str, str]
    measured_at: str
    dtype: Dtype
    peak_flops_per_s: float
    peak_source: str
    bandwidth_bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DtypeChoice:
    """Which dtype a processor runs a model in unless it is told, and why.

    Attributes:
        model: name of the model.
        revision: of its weights.
        machine: identity of the processor.
        versions: versions of the libraries that were measured.
        dtype: the one that was chosen.
        speedup: tokens per second in bf16 over those in fp32.
        cosine: least cosine of a vector in bf16 to the same in fp32, over a fixed sample of texts.
        overlap: share of each text's ten nearest neighbours in fp32 that are so in bf16, too.
        measured_at: ISO 8601 time of the measurement.
    """

    model: str
    revision: str
    machine: str
    versions: Mapping[str, str]
    dtype: Dtype
    speedup: float
    cosine: float
    overlap: float
    measured_at: str

    @property
    def reason(self) -> str:
        """One line that says why."""
        return (
            f"bf16 is {self.speedup:.2f} times as fast as fp32, with a cosine of {self.cosine:.5f} at least and "
            f"{self.overlap:.1%} of the neighbours"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalibration:
    """What was measured of one model on one device.

    Attributes:
        model: name of the model.
        dtype: dtype that it ran in.
        streams: steps that run side by side.
        step_times: seconds of a step while all streams are busy.
        new_shape_s: extra seconds the first time that a (batch, length) is seen.
        tokenization_s_per_token: processor seconds per token for tokenizing.
        job_overhead_s: seconds that a job takes beside its steps, however small it is.
        measured_at: ISO 8601 time of the measurement.
    """

    model: str
    dtype: Dtype
    streams: int
    step_times: StepTimes
    new_shape_s: float
    tokenization_s_per_token: float
    job_overhead_s: float
    measured_at: str

    def best_step_tokens(self, tolerance: float = 0.02) -> int:
        """Return the smallest measured step whose throughput is within `tolerance` of the best one.

        The throughput of a step size is its mean over the lengths of the grid; each step is taken to meet a
        new shape, as most steps of a ragged corpus do.
        """
        times = self.step_times
        rates = [
            sum(n / (row[j] + self.new_shape_s) for row in times.seconds) / len(times.seconds)
            for j, n in enumerate(times.step_tokens)
        ]
        return next(
            n
            for n, rate in zip(times.step_tokens, rates, strict=True)
            if rate >= max(rates) * (1 - tolerance)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """How far a job was from what a calibration said of it.

    Attributes:
        at: ISO 8601 time of its end.
        kind: jobs of one kind take the same beside their steps: written to a file or not, with lanes new or in use.
        predicted_s: wall seconds, as predicted.
        wall_s: wall seconds that it took.
        beside_s: what it took beside its steps; None where it was too long to tell.
        steps: (length of the grid, seconds by the calibration, seconds taken), over its steps of about that length.
        busy: whether others used much of the device meanwhile, so that it tells nothing of a free one.
    """

    at: str
    kind: str
    predicted_s: float
    wall_s: float
    beside_s: float | None
    steps: tuple[tuple[int, float, float], ...]
    busy: bool = False

    @property
    def error(self) -> float:
        """|predicted − wall| / wall."""
        return abs(self.predicted_s - self.wall_s) / self.wall_s


def _interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """Piecewise linear between the points, and on past both ends with the slope of the nearest pair."""
    if len(xs) == 1:
        return ys[0]
    i = min(max(bisect_right(xs, x) - 1, 0), len(xs) - 2)
    slope = (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i])
    return ys[i] + slope * (x - xs[i])
