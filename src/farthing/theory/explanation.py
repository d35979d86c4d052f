"""Explanation: what one forward pass costs, and why; the numbers behind `farthing explain`.

Knows their names and units. How they come about is in `explaining`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from farthing.theory.roofline import Rates


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
    """USD per hour with its interval, date and sources; all None or empty when no price is known."""

    value: float | None = None
    min: float | None = None
    max: float | None = None
    as_of: str | None = None
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
        streams: passes that run side by side on the device.
        tokens_per_s: tokens per second with every stream kept busy.
        rates: what the device is taken to reach, with sources.
        usd_per_hour: price of the device.
        utilization: share of the time that the device is busy, as asked for; None if not asked.
        usd_per_million_tokens: price of the tokens.
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
    streams: int
    tokens_per_s: float
    rates: Rates
    usd_per_hour: HourlyPrice
    utilization: float | None
    usd_per_million_tokens: MillionTokens
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON types, with the documented keys."""
        return asdict(self)
