"""The roofline: bytes moved, arithmetic intensity, ridge point, step time and MFU.

Knows operations and the rates that a device is taken to reach, from a datasheet or from a calibration.
Knows no launch times and no host: a step here is the device alone.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

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


ACTIVATIONS_ERROR = 2.4
"""How much more than the least the activations of real runners take. Source: of published peaks of memory at batch 64,
16 to 58 % were not what was reckoned (docs/facts.md, Memory): 1 / (1 − .58)."""

UNMEASURED_SHARE, LEAST_SHARE = 0.80, 0.51
"""Share of its datasheet that a device is expected to reach where nobody has published what it does, and at worst.

Source: the median and the least of the devices of the catalog with a published bf16 or fp16 matrix product, slices of
cards and processors left out; a test computes them again.
"""


DATASHEET_ERROR = 0.30
"""How much longer than expected from a datasheet a whole model may take.

It stands for what kernel tables leave out: clocks that sink under sustained load, kernels that are not fused, gaps
between steps. An assumption; public runs on an H100 and an RTX 4090 were slower than expected, never faster.
"""

WIDE_ERROR = 0.80
"""The same where less is known: makers other than NVIDIA, cards without bf16, cards that live on their slot's power,
and narrow models (`efficiency.SMALL_HIDDEN`).

Source: on an L4 (72 W), public runs of bge-large took 1.35 to 1.78 times what is expected (infinity's documentation).
"""

SLOT_POWER_W = 75.0
"""Watts that a slot gives. Source: PCI Express card electromechanical specification."""


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
        share_published: whether someone has published which share of the datasheet it reaches.
        slow_error: how much longer than expected a whole model may take, as a fraction.
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
    share_published: bool = True
    slow_error: float = DATASHEET_ERROR


def datasheet_rates(spec: DeviceSpec, dtype: Dtype) -> Rates:
    """Return the rates of a device that was not measured: its datasheet, and the share that others reached.

    Expected is the best published matrix product in this dtype, but never more than the datasheet promises
    (a boost clock can beat it). The best case is that product itself: no whole model was seen to beat it. Without one,
    the share published for bf16 or fp16 is taken, and without that `UNMEASURED_SHARE`. Memory is taken at the
    datasheet's bandwidth: no published share was found.

    Raises:
        InputError: the device's datasheet gives no peak for `dtype`.
    """
    peak = spec.peak_flops_per_s.get(dtype)
    if peak is None:
        known = ", ".join(spec.peak_flops_per_s)
        raise InputError(f"device {spec.device} has no {dtype} peak in the catalog: use one of {known}")
    reached = spec.achievable_flops_per_s.get(dtype)
    source = spec.sources.get(f"achievable_flops_per_s.{dtype}", "published")
    other = next((one for one in ("bf16", "fp16") if one in spec.achievable_flops_per_s), None)
    if reached is None and other is not None:
        share = min(1.0, spec.achievable_flops_per_s[other] / spec.peak_flops_per_s[other])
        reached = peak * share
        published = spec.sources.get(f"achievable_flops_per_s.{other}", "published")
        source = f"none published for {dtype}: the share published for {other}, {share:.0%}; {published}"
    elif reached is None:
        reached = peak * UNMEASURED_SHARE
        source = (
            f"none published: {UNMEASURED_SHARE:.0%} of the datasheet, the median of the measured devices"
        )
    return Rates(
        device=spec.device,
        dtype=dtype,
        peak_flops_per_s=peak,
        achievable_flops_per_s=min(reached, peak),
        best_flops_per_s=reached if spec.achievable_flops_per_s else peak,
        bandwidth_bytes_per_s=spec.bandwidth_bytes_per_s,
        memory_bytes=spec.memory_bytes * USABLE_MEMORY_SHARE,
        peak_source=spec.sources.get(f"peak_flops_per_s.{dtype}", "datasheet"),
        achievable_source=source,
        bandwidth_source=f"datasheet, not measured; {spec.sources.get('bandwidth_bytes_per_s', 'datasheet')}",
        calibrated=False,
        share_published=bool(spec.achievable_flops_per_s),
        slow_error=_slow_error(spec),
    )


def _slow_error(spec: DeviceSpec) -> float:
    little_known = (
        not spec.name.startswith("NVIDIA")
        or "bf16" not in spec.peak_flops_per_s
        or (spec.power_w is not None and spec.power_w <= SLOT_POWER_W)
    )
    error = WIDE_ERROR if little_known else DATASHEET_ERROR
    return error if spec.achievable_flops_per_s else (1 + error) * UNMEASURED_SHARE / LEAST_SHARE - 1


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


def memory_needed_bytes(
    shape: ModelShape, tokens: int, bytes_per_value: int, activations: float = 1.0
) -> int:
    """Return the memory that a pass needs: all weights, whole embedding tables, and the widest moment.

    Args:
        shape: the model; of a mixture of experts all experts are kept.
        tokens: tokens of the pass; at the widest moment each holds the residual stream, a block's input and
            its widest product. No cache outlives the pass.
        bytes_per_value: bytes of one weight and of one activation.
        activations: what a runner keeps of them, as a multiple of that least: up to `ACTIVATIONS_ERROR`.
    """
    up_width = (shape.mlp_matrices - 1) * shape.intermediate
    expert_width = shape.experts_per_token * (shape.mlp_matrices - 1) * shape.expert_intermediate
    block = max(shape.attention_width + 2 * shape.kv_width, up_width, expert_width)
    widest = 2 * shape.hidden + (block if shape.layers else 0)
    return shape.memory_bytes(bytes_per_value) + ceil(activations * tokens * widest * bytes_per_value)


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
