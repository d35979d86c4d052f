"""Explanation: what one forward pass costs, and why; the numbers behind `farthing explain`.

Knows their names and units. How they come about is in `explaining`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from farthing.theory.energy import Energy
from farthing.theory.generation import Generation
from farthing.theory.time.roofline import Rates
from farthing.theory.time.steps import Basis, Bound, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFlops:
    """FLOPs of the whole batch; `per_token` is the total over the tokens."""

    linear: int
    attention: int
    total: int
    per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PassSeconds:
    """Seconds of one pass: compute alone, memory alone, both by operation, and the interval around it."""

    compute: float
    memory: float
    step: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Bytes that weights and pass need, bytes that the device has (None: unknown), and the verdict."""

    needed_bytes: int
    available_bytes: float | None
    fits: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyPrice:
    """USD per hour, whose offer it is, and those beside it; all None or 0 when no price is known."""

    value: float | None = None
    min: float | None = None
    max: float | None = None
    as_of: str | None = None
    provider: str | None = None
    quotes: int = 0
    stale: bool | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MillionTokens:
    """USD per million tokens at a utilization of 1, of 0.1, and as asked for; None without a price."""

    at_100_percent: float | None
    at_10_percent: float | None
    at_utilization: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationShare:
    """One kind of operation of the pass, summed over the layers; last, if any, the wait for kernels to be launched.

    `seconds` and `share` (of the step) are as expected of the device, and add up to the step; `bound` says what they
    go to: FLOPs, bytes, or the fixed time of small kernels (overhead).
    """

    name: str
    flops: int
    bytes: int
    arithmetic_intensity: float
    seconds: float
    share: float
    bound: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShare:
    """The host beside the device.

    Attributes:
        busy_s: seconds that one text occupies the server's host.
        device_s: seconds that it occupies the device, at saturation.
        lone_s: host seconds of a lone request; they add to the device's.
        lone_device_s: device seconds of it: a step of one text.
        lone_latency_s: both together: what a lone request of one text waits.
        tokens_per_s: what gets through a busy server, 1 / max(host, device) texts: the two overlap.
        limited_by: which of the two limits it.
        usd_per_million_tokens: price of the tokens that get through; None without a price.
        source: where the host's seconds come from.
    """

    busy_s: float
    device_s: float
    lone_s: float
    lone_device_s: float
    lone_latency_s: float
    tokens_per_s: float
    limited_by: Literal["host", "device"]
    usd_per_million_tokens: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A step of `batch` texts of the same length.

    Attributes:
        batch: texts.
        saturates: whether it reaches the saturation point: a larger one brings less than 5 % more.
        seconds: device seconds of the step.
        latency_s: what each of its users waits: the step and the host time of one text.
        tokens_per_s: tokens per second of the device with every stream kept busy, as expected.
        served_tokens_per_s: those that get through a busy server process: no more than its host does.
        gain: ratio of the device's tokens per second to those of one text alone.
        slowdown: ratio of the step's seconds to those of one text alone.
        arithmetic_intensity: FLOPs per byte moved.
        flops_per_s: FLOPs that the whole device does per second meanwhile.
        fits: whether it fits the memory; None when that is unknown.
        usd_per_million_tokens: price of the tokens that get through; None without a price.
    """

    batch: int
    saturates: bool
    seconds: Interval
    latency_s: float
    tokens_per_s: float
    served_tokens_per_s: float
    gain: float
    slowdown: float
    arithmetic_intensity: float
    flops_per_s: float
    fits: bool | None
    usd_per_million_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What one pass costs, and why. SI base units and USD.

    Attributes:
        model: name of the model.
        device: short name of the device.
        dtype: dtype of weights and activations.
        length: tokens per text.
        batch: texts per pass.
        linear_parameters: weights that each token is multiplied with.
        flops: FLOPs of the whole batch.
        article_flops: FLOPs of the same batch by the article's formula (see `flops.article_flops`).
        article_reason: why the two differ.
        weight_bytes_read: weights that one pass reads; of embedding tables only the rows named.
        bytes_moved: those and the activations.
        memory: what the pass needs of the device's memory.
        arithmetic_intensity: FLOPs per byte moved.
        ridge_point: FLOP/byte at which the device's compute and memory take equally long.
        bound: what limits the pass: compute if the intensity is above the ridge point, else memory.
        seconds: how long a pass takes.
        basis: whether that comes from a measurement of the device or from its datasheet.
        basis_source: the basis in words.
        ops: the pass, operation by operation; their seconds add up to the step's.
        streams: passes that run side by side on the device.
        tokens_per_s: tokens per second with every stream kept busy.
        saturation_tokens: tokens of a step beyond which a larger batch brings less than 5 % more.
        saturated_tokens_per_s: tokens per second of such steps and larger ones.
        batches: latency and throughput against the batch.
        host: the host beside the device.
        generation: the same weights as a text generator; None for a model without layers.
        energy: at most this much per million tokens that get through a busy server process; None when the board's
            power is unknown.
        rates: what the device is taken to reach, with sources.
        usd_per_hour: price of the device.
        utilization: share of the time that the device is busy, as asked for; None if not asked.
        usd_per_million_tokens: price of the device's tokens, as if the host kept up (`host` has what gets through).
        notes: what a reader should know before believing the numbers.
    """

    model: str
    device: str
    dtype: str
    length: int
    batch: int
    linear_parameters: int
    flops: PassFlops
    article_flops: float
    article_reason: str
    weight_bytes_read: int
    bytes_moved: int
    memory: MemoryNeed
    arithmetic_intensity: float
    ridge_point: float
    bound: Literal["compute", "memory"]
    seconds: PassSeconds
    basis: Basis
    basis_source: str
    ops: tuple[OperationShare, ...]
    streams: int
    tokens_per_s: float
    saturation_tokens: int
    saturated_tokens_per_s: Interval
    batches: tuple[BatchRow, ...]
    host: HostShare
    generation: Generation | None
    energy: Energy | None
    rates: Rates
    usd_per_hour: HourlyPrice
    utilization: float | None
    usd_per_million_tokens: MillionTokens
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON types, with the documented keys."""
        return asdict(self)
