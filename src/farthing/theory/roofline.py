"""The roofline: bytes moved, arithmetic intensity, ridge point, step time and MFU.

Knows operations and the rates that a device is taken to reach, from a datasheet or from a calibration.
Knows no launch times and no host: a step here is the device alone.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from farthing.errors import InputError
from farthing.theory.devices import Calibration, DeviceSpec
from farthing.theory.dtypes import Dtype
from farthing.theory.flops import Operation
from farthing.theory.shapes import ModelShape

USABLE_MEMORY_SHARE = 0.9
"""Share of a device's memory that a model may fill; the driver, the context and the allocator's gaps take the rest.

Source: vLLM, the default of `gpu_memory_utilization` (huggingface.co/neuralmagic/Mistral-7B-Instruct-v0.3-GPTQ-4bit,
discussion 1).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a device is taken to run in one dtype.

    Attributes:
        device: short name of the device.
        dtype: dtype of the matrix products.
        peak_flops_per_s: the peak that the ridge point and MFU refer to.
        achievable_flops_per_s: what matrix products are expected to reach.
        best_flops_per_s: what they reach if all goes well; gives the low end of the step time.
        bandwidth_bytes_per_s: what memory is expected to reach.
        memory_bytes: memory that a model may fill, or None when unknown.
        peak_source: where the peak comes from.
        achievable_source: where the expected rate comes from.
        bandwidth_source: where the bandwidth comes from.
        calibrated: whether these were measured on the device itself.
    """

    device: str
    dtype: Dtype
    peak_flops_per_s: float
    achievable_flops_per_s: float
    best_flops_per_s: float
    bandwidth_bytes_per_s: float
    memory_bytes: float | None
    peak_source: str
    achievable_source: str
    bandwidth_source: str
    calibrated: bool


def datasheet_rates(spec: DeviceSpec, dtype: Dtype) -> Rates:
    """Return the rates of a device that was not measured: its datasheet, and the share that others reached.

    Expected is the best published matrix product in this dtype, but never more than the datasheet promises
    (a boost clock can beat it: then that is the best case). Without one, the share published for bf16 is
    taken. Memory is taken at the datasheet's bandwidth: no published share was found.

    Raises:
        InputError: the device's datasheet gives no peak for `dtype`.
    """
    peak = spec.peak_flops_per_s.get(dtype)
    if peak is None:
        known = ", ".join(spec.peak_flops_per_s)
        raise InputError(f"device {spec.device} has no {dtype} peak in the catalog: use one of {known}")
    reached = spec.achievable_flops_per_s.get(dtype)
    source = spec.sources.get(f"achievable_flops_per_s.{dtype}", "published")
    if reached is None and "bf16" in spec.achievable_flops_per_s:
        share = spec.achievable_flops_per_s["bf16"] / spec.peak_flops_per_s["bf16"]
        reached = peak * share
        published = spec.sources.get("achievable_flops_per_s.bf16", "published")
        source = f"none published for {dtype}: the share published for bf16, {share:.0%}; {published}"
    elif reached is None:
        reached, source = peak, "none published: the datasheet's peak"
    return Rates(
        device=spec.device,
        dtype=dtype,
        peak_flops_per_s=peak,
        achievable_flops_per_s=min(reached, peak),
        best_flops_per_s=max(reached, peak),
        bandwidth_bytes_per_s=spec.bandwidth_bytes_per_s,
        memory_bytes=spec.memory_bytes * USABLE_MEMORY_SHARE,
        peak_source=spec.sources.get(f"peak_flops_per_s.{dtype}", "datasheet"),
        achievable_source=source,
        bandwidth_source=f"datasheet, not measured; {spec.sources.get('bandwidth_bytes_per_s', 'datasheet')}",
        calibrated=False,
    )


def calibrated_rates(calibration: Calibration, device: str = "local") -> Rates:
    """Return the rates that were measured on a machine, in the dtype that they were measured in."""
    measured = f"measured {calibration.measured_at} on {calibration.machine}"
    peak = calibration.peak_flops_per_s
    return Rates(
        device=device,
        dtype=calibration.dtype,
        peak_flops_per_s=peak,
        achievable_flops_per_s=peak,
        best_flops_per_s=peak,
        bandwidth_bytes_per_s=calibration.bandwidth_bytes_per_s,
        memory_bytes=None,
        peak_source=f"{calibration.peak_source}, {measured}",
        achievable_source="the measured peak itself",
        bandwidth_source=f"copy, {measured}",
        calibrated=True,
    )


def total_flops(ops: Iterable[Operation]) -> int:
    """Return the FLOPs of these operations together."""
    return sum(op.flops for op in ops)


def weight_bytes(ops: Iterable[Operation]) -> int:
    """Return the bytes of weights that these operations read."""
    return sum(op.weight_bytes for op in ops)


def bytes_moved(ops: Iterable[Operation]) -> int:
    """Return the bytes that these operations move: weights, and activations read and written."""
    return sum(op.total_bytes for op in ops)


def memory_needed_bytes(shape: ModelShape, tokens: int, bytes_per_value: int) -> int:
    """Return the memory that a pass needs: all weights, whole embedding tables, and the widest moment.

    Args:
        shape: the model; of a mixture of experts all experts are kept.
        tokens: tokens of the pass; at the widest moment each holds the residual stream, a block's input and
            its widest product. No cache outlives the pass.
        bytes_per_value: bytes of one weight and of one activation.
    """
    up_width = (shape.mlp_matrices - 1) * shape.intermediate
    expert_width = shape.experts_per_token * (shape.mlp_matrices - 1) * shape.expert_intermediate
    block = max(shape.attention_width + 2 * shape.kv_width, up_width, expert_width)
    widest = 2 * shape.hidden + (block if shape.layers else 0)
    return shape.memory_bytes(bytes_per_value) + tokens * widest * bytes_per_value


def arithmetic_intensity(flops: float, moved_bytes: float) -> float:
    """Return FLOPs per byte moved."""
    return flops / moved_bytes


def ridge_point(peak_flops_per_s: float, bandwidth_bytes_per_s: float) -> float:
    """Return the intensity (FLOP/byte) above which a device is limited by compute, not by memory."""
    return peak_flops_per_s / bandwidth_bytes_per_s


def step_seconds(ops: Iterable[Operation], flops_per_s: float, bandwidth_bytes_per_s: float) -> float:
    """Return the seconds of a pass: each operation takes as long as its compute or its memory, if longer.

    Never less than all FLOPs at `flops_per_s`, nor than all bytes at `bandwidth_bytes_per_s`.
    """
    return sum(max(op.flops / flops_per_s, op.total_bytes / bandwidth_bytes_per_s) for op in ops)


def mfu(flops: float, seconds: float, peak_flops_per_s: float) -> float:
    """Return model FLOPs utilization, a fraction: useful FLOPs over what the peak allows in that time; 0 of no time.

    Source: Chowdhery et al., "PaLM", arXiv 2204.02311, appendix B.
    """
    return flops / (seconds * peak_flops_per_s) if seconds else 0.0
