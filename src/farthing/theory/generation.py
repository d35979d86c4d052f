"""Generation, for contrast: the same weights on the same device, writing text one token at a time.

Prefill is an embedding's pass with the LM head on one position. A decode step reads all weights and the whole
KV cache for one token per sequence. Sequences are of one length, and all at the same token: there is no queue.

Source: the matrix products of `flops`, with one query a sequence; the bytes of weights and of keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from farthing.theory.dtypes import DTYPE_BYTES
from farthing.theory.flops import Operation, operations
from farthing.theory.pricing import usd_per_million_tokens
from farthing.theory.shapes import ModelShape
from farthing.theory.time.efficiency import best_efficiency, expected_efficiency, is_attention, operation_s
from farthing.theory.time.roofline import arithmetic_intensity, bytes_moved, ridge_point, total_flops
from farthing.theory.time.steps import StepModel, kernel_count


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationStep:
    """Prompts of `batch` sequences read, or one token written for each of them.

    Attributes:
        batch: sequences.
        seconds: seconds of the step: until the first token, or between two.
        tokens_per_s: tokens read or written per second.
        gain: their ratio to one sequence alone.
        slowdown: ratio of the step's seconds to those of one sequence alone.
        arithmetic_intensity: FLOPs per byte moved.
        flops_per_s: FLOPs of the step over its seconds.
        bound: compute if the intensity is above the ridge point, else memory.
        fits: whether weights and KV cache fit; None when the memory is unknown.
        usd_per_million_tokens: price of what is read or written; None without a price.
    """

    batch: int
    seconds: float
    tokens_per_s: float
    gain: float
    slowdown: float
    arithmetic_intensity: float
    flops_per_s: float
    bound: Literal["compute", "memory"]
    fits: bool | None
    usd_per_million_tokens: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The same shape as a text generator.

    Attributes:
        context: tokens of each prompt, and tokens that each sequence holds in the cache while it writes.
        prefill: reading the prompts, at each batch: the embedding's pass, and the LM head for one position.
        decode: writing a token for each sequence, at each batch.
        intensity_limit: FLOP/byte that decoding tends to for endless batches: the KV cache grows with them.
        ridge_point: FLOP/byte above which the device is limited by compute.
        kv_bytes_per_sequence: bytes of one sequence's cache.
        largest_batch: sequences that fit beside the weights; None when the memory is unknown.
        note: what to know of the comparison.
    """

    context: int
    prefill: tuple[GenerationStep, ...]
    decode: tuple[GenerationStep, ...]
    intensity_limit: float
    ridge_point: float
    kv_bytes_per_sequence: int
    largest_batch: int | None
    note: str


def generation(
    steps: StepModel, context: int, batches: Sequence[int], usd_per_hour: float | None = None
) -> Generation | None:
    """Return what generating costs with the same weights on the same device; None for a model without layers.

    Args:
        steps: the model on the device.
        context: tokens that each sequence has read or written.
        batches: sequences per step, to show; gains are against one sequence.
        usd_per_hour: price of the device, or None.
    """
    shape, rates = steps.shape, steps.rates
    if not shape.layers:
        return None
    value_bytes = DTYPE_BYTES[rates.dtype]
    kv = kv_cache_bytes(shape, context, value_bytes)
    room = None
    if rates.memory_bytes is not None:
        weights = shape.memory_bytes(value_bytes) + shape.hidden * shape.vocabulary * value_bytes
        room = max(0, int((rates.memory_bytes - weights) // kv))
    ridge = ridge_point(rates.peak_flops_per_s, rates.bandwidth_bytes_per_s)

    def prefill_s(batch: int) -> float:
        head = (lm_head(shape, batch, value_bytes),)
        # Each of several streams gets an equal share of the device, and so takes that much longer.
        return steps.expected_s(batch, context) + steps.streams * _seconds(steps, head, context)

    def decode_s(batch: int) -> float:
        return _seconds(steps, decode_operations(shape, batch, context, value_bytes), context)

    def step(
        batch: int, ops: Sequence[Operation], seconds: float, alone_s: float, each: int
    ) -> GenerationStep:
        intensity = arithmetic_intensity(total_flops(ops), bytes_moved(ops))
        return GenerationStep(
            batch=batch,
            seconds=seconds,
            tokens_per_s=batch * each / seconds,
            gain=batch * alone_s / seconds,
            slowdown=seconds / alone_s,
            arithmetic_intensity=intensity,
            flops_per_s=total_flops(ops) / seconds,
            bound="compute" if intensity > ridge else "memory",
            fits=None if room is None else batch <= room,
            usd_per_million_tokens=None
            if usd_per_hour is None
            else usd_per_million_tokens(usd_per_hour, batch * each / seconds),
        )

    def read(batch: int) -> GenerationStep:
        passed = operations(shape, batch, context, value_bytes)
        ops = (*passed, lm_head(shape, batch, value_bytes))
        return step(batch, ops, prefill_s(batch), prefill_s(1), steps.streams * context)

    def write(batch: int) -> GenerationStep:
        ops = decode_operations(shape, batch, context, value_bytes)
        return step(batch, ops, decode_s(batch), decode_s(1), 1)

    return Generation(
        context=context,
        prefill=tuple(read(batch) for batch in batches),
        decode=tuple(write(batch) for batch in batches),
        intensity_limit=decode_intensity_limit(shape, context, value_bytes),
        ridge_point=ridge,
        kv_bytes_per_sequence=kv,
        largest_batch=room,
        note="a decoder of this very shape"
        if shape.causal
        else "this model reads both ways and cannot write: the same weights, taken as a decoder",
    )


def decode_operations(
    shape: ModelShape, batch: int, context: int, bytes_per_value: int
) -> tuple[Operation, ...]:
    """Return what a decode step does: one token of each sequence through all weights, the cache and the head.

    Args:
        shape: the model.
        batch: sequences.
        context: tokens in the cache of each; a layer with a limited reach keeps and reads only those.
        bytes_per_value: bytes of one weight, activation or cache entry.
    """
    passed = [op for op in operations(shape, batch, 1, bytes_per_value) if not is_attention(op)]
    cache = Operation(
        name="attention over the cache",
        flops=batch * 4 * shape.attention_width * _attended(shape, context),
        weight_bytes=0,
        activation_bytes=batch * kv_cache_bytes(shape, context, bytes_per_value),
    )
    return (*passed, cache, lm_head(shape, batch, bytes_per_value))


def lm_head(shape: ModelShape, positions: int, bytes_per_value: int) -> Operation:
    """Return the product with the vocabulary for so many positions, which embedding does without."""
    h, vocabulary = shape.hidden, shape.vocabulary
    return Operation(
        name="LM head",
        flops=2 * positions * h * vocabulary,
        weight_bytes=h * vocabulary * bytes_per_value,
        activation_bytes=positions * (h + vocabulary) * bytes_per_value,
    )


def kv_cache_bytes(shape: ModelShape, context: int, bytes_per_value: int) -> int:
    """Return the bytes of keys and values that one sequence of `context` tokens keeps."""
    return 2 * bytes_per_value * shape.kv_width * _attended(shape, context)


def decode_intensity_limit(shape: ModelShape, context: int, bytes_per_value: int) -> float:
    """Return the FLOP/byte of decoding that endless batches tend to: FLOPs per token over its cache's bytes.

    (2P + 4·L·a·S) / (2·bytes·L·kv·S), the LM head counted in P: per layer and token attended to,
    4·a FLOPs over kv channels of keys and as many of values.
    """
    per_token = 2 * (shape.linear_parameters + shape.hidden * shape.vocabulary)
    attention = 4 * shape.attention_width * _attended(shape, context)
    return (per_token + attention) / kv_cache_bytes(shape, context, bytes_per_value)


def _attended(shape: ModelShape, context: int) -> int:
    """Return the tokens that the newest one attends to, summed over the layers."""
    return sum(context if reach is None else min(context, reach + 1) for reach in shape.attention_reach)


def _seconds(steps: StepModel, ops: Sequence[Operation], context: int) -> float:
    """Return the expected seconds of operations that are replayed as a graph, so that launching costs nothing."""
    efficiency, best = expected_efficiency(steps.rates), best_efficiency(steps.rates)
    busy = sum(operation_s(op, kernel_count(steps.shape, op), context, efficiency)[2] for op in ops)
    low = max(total_flops(ops) / best.gemm_flops_per_s, bytes_moved(ops) / best.bandwidth_bytes_per_s)
    return max(busy, low)
