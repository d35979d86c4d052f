"""Step time: seconds of one forward pass of a model on a device, with its interval.

A pass takes the sum of its kernels (`efficiency.operation_s`), or the time to launch them where that is longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from farthing.errors import InputError
from farthing.theory.devices import ModelCalibration
from farthing.theory.dtypes import DTYPE_BYTES, FOUR_BITS
from farthing.theory.flops import Operation, operations
from farthing.theory.shapes import ModelShape
from farthing.theory.time.efficiency import (
    CALIBRATED_ERROR,
    CPU_SHARES,
    EAGER_LAUNCH_S,
    SMALL_HIDDEN,
    best_efficiency,
    expected_efficiency,
    is_attention,
    operation_s,
)
from farthing.theory.time.roofline import WIDE_ERROR, Rates
from farthing.theory.time.saturation import SATURATION, fit_step_line, saturation_tokens

Basis = Literal["calibration", "datasheet"]
Bound = Literal["compute", "memory", "overhead"]

_ENDLESS_TOKENS = 1 << 27
"""Tokens of a step so large that what each step costs beside its tokens is gone from the throughput."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure at its lowest, as expected, and at its highest."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """What one kind of operation takes, as expected.

    Attributes:
        operation: the operation, summed over the layers.
        seconds: its seconds of one step.
        bound: what takes them: its FLOPs, its bytes, or the fixed time of its kernels.
    """

    operation: Operation
    seconds: float
    bound: Bound


@dataclass(frozen=True, slots=True)
class StepModel:
    """A model on a device: how long its steps take.

    Attributes:
        shape: the model.
        rates: the device.
        model_calibration: the model's own step times on the device; they replace what is expected of it.
    """

    shape: ModelShape
    rates: Rates
    model_calibration: ModelCalibration | None = None

    def __post_init__(self) -> None:
        """Check that rates and calibration belong together; keep weights in 4 bits for products in 4 bits.

        Raises:
            InputError: the model was calibrated in another dtype.
        """
        measured = self.model_calibration
        if measured is not None and measured.dtype != self.rates.dtype:
            raise InputError(
                f"{measured.model} was calibrated in {measured.dtype}, the device in {self.rates.dtype}: "
                "run `farthing calibrate` again"
            )
        four_bits = FOUR_BITS.get(self.rates.dtype)
        if four_bits is not None and self.shape.linear_bits is None:
            object.__setattr__(self, "shape", replace(self.shape, linear_bits=four_bits))

    @property
    def basis(self) -> Basis:
        """Whether the times come from a measurement of the device or from its datasheet."""
        return "calibration" if self.model_calibration or self.rates.calibrated else "datasheet"

    @property
    def basis_source(self) -> str:
        """The basis in words."""
        measured, rates = self.model_calibration, self.rates
        if measured is not None:
            return f"step times of {measured.model}, measured {measured.measured_at}"
        if rates.calibrated:
            return f"this machine's matrix peak and bandwidth, the model itself not measured: {rates.peak_source}"
        return f"datasheet × published shares that kernels reach: {rates.achievable_source}"

    @property
    def streams(self) -> int:
        """Steps that run side by side."""
        return self.model_calibration.streams if self.model_calibration else 1

    def seconds(self, batch: int, length: int) -> Interval:
        """Return the device seconds of one step.

        From a calibration: its step times. Of a measured machine without one: its roofline, and that over
        the share of it that whole models reach. Else low is the roofline of the datasheet, mid what kernels
        are published to reach, high that with the worst published error, launched eagerly.

        Args:
            batch: texts in the step.
            length: tokens of each.

        Raises:
            InputError: one of them is not positive.
        """
        if self.model_calibration is not None:
            step = self.model_calibration.step_times.step_s(batch, length)
            return Interval(step * (1 - CALIBRATED_ERROR), step, step * (1 + CALIBRATED_ERROR))
        ops = operations(self.shape, batch, length, DTYPE_BYTES[self.rates.dtype])
        low = self._least_s(ops)
        mid = max(low, *self._busy_s(ops, length))
        if self.rates.calibrated:
            return Interval(low, mid, mid * CPU_SHARES[0] / CPU_SHARES[1])
        error = self.rates.slow_error
        if self.shape.hidden < SMALL_HIDDEN:
            error = max(error, WIDE_ERROR)
        return Interval(low, mid, max(mid * (1 + error), self._kernels(ops) * EAGER_LAUNCH_S))

    def expected_s(self, batch: int, length: int) -> float:
        """Return `seconds(batch, length).mid`, without what only its two ends take."""
        if self.model_calibration is not None:
            return self.model_calibration.step_times.step_s(batch, length)
        ops = operations(self.shape, batch, length, DTYPE_BYTES[self.rates.dtype])
        return max(self._least_s(ops), *self._busy_s(ops, length))

    def kernel_times(self, batch: int, length: int) -> tuple[KernelTime, ...]:
        """Return what each kind of operation takes, as expected of the device, whatever was calibrated."""
        efficiency = expected_efficiency(self.rates)
        times = []
        for op in operations(self.shape, batch, length, DTYPE_BYTES[self.rates.dtype]):
            kernels = kernel_count(self.shape, op)
            compute, memory, seconds = operation_s(op, kernels, length, efficiency)
            fixed = kernels * efficiency.kernel_s
            bound: Bound = "compute" if compute > memory else "memory"
            times.append(
                KernelTime(
                    operation=op, seconds=seconds, bound="overhead" if fixed > max(compute, memory) else bound
                )
            )
        return tuple(times)

    def launch_bound(self, batch: int, length: int) -> bool:
        """Return whether launching the kernels is expected to take longer than running them."""
        if self.model_calibration is not None:
            return False
        ops = operations(self.shape, batch, length, DTYPE_BYTES[self.rates.dtype])
        busy, launched = self._busy_s(ops, length)
        return launched > busy

    def tokens_per_s(self, length: int) -> Interval:
        """Return tokens per second at saturation with texts of `length` tokens, every stream busy.

        Without a calibration: the limit of endless steps. With one: the best measured step size.
        """
        if self.model_calibration is not None:
            best = self.model_calibration.best_step_tokens()
            batch = max(1, round(best / length))
        else:
            batch = max(1, _ENDLESS_TOKENS // length)
        step, tokens = self.seconds(batch, length), self.streams * batch * length
        return Interval(tokens / step.high, tokens / step.mid, tokens / step.low)

    def saturation_tokens(self, length: int) -> int:
        """Return the tokens of a step that reach 95 % of the throughput of endless ones.

        Whole texts of `length` tokens, at least one. From a calibration: the line τ₀ + α·n through its step
        times, n* = 19·τ₀/α, but no more than was measured: larger steps are not known to bring more. Else the
        smallest number of texts on the expected curve.
        """
        if self.model_calibration is not None:
            texts = self._calibrated_saturation(self.model_calibration, length) / length
            return length * max(1, round(texts))
        wanted = SATURATION * self.tokens_per_s(length).mid
        # Every operation's time per token falls with the batch, so the throughput rises: bisection is exact.
        low, high = 0, 1
        while high * length / self.expected_s(high, length) < wanted:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            reached = middle * length / self.expected_s(middle, length) >= wanted
            low, high = (low, middle) if reached else (middle, high)
        return high * length

    def _calibrated_saturation(self, measured: ModelCalibration, length: int) -> float:
        batches = sorted({max(1, round(n / length)) for n in measured.step_times.step_tokens})
        points = [(batch * length, measured.step_times.step_s(batch, length)) for batch in batches]
        if len(points) < 2:
            return length
        return min(saturation_tokens(fit_step_line(points)), measured.step_times.step_tokens[-1])

    def _least_s(self, ops: Sequence[Operation]) -> float:
        """Return the seconds at the best rates known of the device, all operations taken together."""
        best = best_efficiency(self.rates)
        compute = sum([op.flops for op in ops]) / best.gemm_flops_per_s
        return max(compute, sum([op.total_bytes for op in ops]) / best.bandwidth_bytes_per_s)

    def _busy_s(self, ops: Sequence[Operation], length: int) -> tuple[float, float]:
        """Return the seconds of all kernels one after the other, and those of launching them."""
        efficiency = expected_efficiency(self.rates)
        counts = [kernel_count(self.shape, op) for op in ops]
        busy = sum(
            operation_s(op, count, length, efficiency)[2] for op, count in zip(ops, counts, strict=True)
        )
        return busy, sum(counts) * efficiency.launch_s

    def _kernels(self, ops: Sequence[Operation]) -> int:
        return sum(kernel_count(self.shape, op) for op in ops)


def kernel_count(shape: ModelShape, op: Operation) -> int:
    """Return the kernels that an operation is launched as.

    One per layer for a matrix product and for attention; three per layer for norms and residual sums with
    rotary positions beside them; and one for what is done once per pass.
    """
    if op.flops or is_attention(op):
        return shape.layers
    return 3 * shape.layers + 1 if op.name.startswith("norms") else 1
