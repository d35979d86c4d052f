"""Work of one forward pass: in total, and operation by operation with the bytes that it moves.

One multiply-add is 2 FLOPs. Only matrix products count: biases, norms, activations, rotary positions,
softmax and pooling cost bytes. There is no LM head and no KV cache.

Source: the transformer's own matrix products; torch's FlopCounterMode counts the same (tests/parity).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from farthing.errors import InputError
from farthing.theory.shapes import ModelShape


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs of linear layers and of attention: the first grow with S, the second with S². They add up."""

    linear: int
    attention: int

    @property
    def total(self) -> int:
        """FLOPs of both."""
        return self.linear + self.attention

    def __add__(self, other: Flops) -> Flops:
        """Return the FLOPs of both passes together."""
        return Flops(self.linear + other.linear, self.attention + other.attention)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of operation of a forward pass, summed over all layers.

    Attributes:
        name: what it does.
        flops: FLOPs of its matrix products; 0 when it only moves bytes.
        weight_bytes: weights read, once per pass.
        activation_bytes: activations read and written, if everything that can be fused is fused.
    """

    name: str
    flops: int
    weight_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """Bytes moved to and from the device's memory."""
        return self.weight_bytes + self.activation_bytes


def linear_flops_per_token(shape: ModelShape) -> int:
    """Return the FLOPs of all linear layers for one token: two per weight."""
    return 2 * shape.linear_parameters


def attention_pairs(length: int, *, causal: bool, reach: int | None) -> int:
    """Return how many pairs (i, j) of tokens of one sequence attend to each other in one layer.

    Args:
        length: tokens of the sequence, S.
        causal: whether token i attends only to j ≤ i. Without a reach that makes S(S+1)/2 pairs, else S².
        reach: the most |i − j|; None is no limit.
    """
    far = max(length - 1, 0) if reach is None else min(reach, max(length - 1, 0))
    backwards = (far + 1) * length - far * (far + 1) // 2  # Σᵢ min(i, far) + 1
    return backwards if causal else 2 * backwards - length


def attention_flops(shape: ModelShape, length: int) -> int:
    """Return the FLOPs of QKᵀ and AV over all layers for one sequence of `length` tokens."""
    pairs = sum(
        layers * attention_pairs(length, causal=shape.causal, reach=reach)
        for reach, layers in Counter(shape.attention_reach).items()
    )
    return (4 * pairs + 2 * length * _relative_products(shape)) * shape.attention_width


def relative_projection_flops(shape: ModelShape) -> int:
    """Return the FLOPs of projecting the vectors of relative positions, once a pass in every layer."""
    return 2 * _relative_products(shape) * shape.hidden * shape.attention_width


def _relative_products(shape: ModelShape) -> int:
    """Return the rows of relative positions that one query or key is multiplied with, over all layers."""
    return shape.layers * shape.relative_scores * shape.relative_rows


def forward_flops(shape: ModelShape, lengths: Iterable[int]) -> Flops:
    """Return the FLOPs of one forward pass over sequences of these lengths (tokens), without padding."""
    per_token = linear_flops_per_token(shape)
    linear = attention = 0
    for length, texts in Counter(lengths).items():
        linear += per_token * length * texts
        attention += attention_flops(shape, length) * texts
    if attention:
        linear += relative_projection_flops(shape)
    return Flops(linear, attention)


def article_flops(shape: ModelShape, length: int) -> float:
    """Return the FLOPs that the article's own formula gives for one sequence of `length` tokens.

    L·(10·S·h + 25.5·S·h² + 4·S²·h + 5·S²·heads). It is 13 % above ours for Qwen3-Embedding-8B at S = 1024
    (16.4 against 14.5 TFLOP), because 25.5 is Llama-70B's coefficient, 2·(1 + 1/8 + 1/8 + 1 + 3·3.5), while
    Qwen3-8B's is 23.0, 2·(1 + 1/4 + 1/4 + 1 + 3·3); because it counts the full attention matrix where a
    causal model needs half; and because of terms for work that is no matrix product (10·S·h, 5·S²·heads).

    Source: Piotr Mazurek, "Why Are Embeddings So Cheap?", tensoreconomics.com, 2025-09-24.
    """
    s, h = length, shape.hidden
    return shape.layers * (10 * s * h + 25.5 * s * h**2 + 4 * s**2 * h + 5 * s**2 * shape.heads)


@lru_cache(maxsize=4096)
def operations(shape: ModelShape, batch: int, length: int, bytes_per_value: int) -> tuple[Operation, ...]:
    """Return what one forward pass does, operation by operation, each summed over the layers.

    Activation bytes are a lower bound: attention never writes its matrix of scores, an activation or a gate
    is fused into the product before it, a residual sum into the norm beside it. Norms and biases are read
    as weights; of the embedding tables only the rows that the tokens name.

    Args:
        shape: the model.
        batch: texts in the pass, none of them padded.
        length: tokens per text.
        bytes_per_value: bytes of one weight and of one activation.

    Raises:
        InputError: `batch`, `length` or `bytes_per_value` is not positive.
    """
    if min(batch, length, bytes_per_value) <= 0:
        raise InputError(
            f"batch {batch}, length {length} and bytes per value {bytes_per_value} must all be positive"
        )
    tokens, h = batch * length, shape.hidden
    a, kv = shape.attention_width, shape.kv_width
    gather = _embedding(shape, batch, length, bytes_per_value)
    norms = _norms(shape, batch, tokens, bytes_per_value)
    if not shape.layers:
        return gather, norms

    def linear(name: str, inputs: int, outputs: int, biased: bool, written: int) -> Operation:
        return Operation(
            name=name,
            flops=shape.layers * 2 * tokens * inputs * outputs,
            weight_bytes=shape.linear_bytes(shape.layers * inputs * outputs, bytes_per_value)
            + (shape.layers * outputs * bytes_per_value if biased else 0),
            activation_bytes=shape.layers * tokens * (inputs + written) * bytes_per_value,
        )

    projection = Operation(
        name="embedding projection",
        flops=2 * tokens * shape.embedding_size * h,
        weight_bytes=(shape.embedding_size + 1) * h * bytes_per_value,
        activation_bytes=tokens * (shape.embedding_size + h) * bytes_per_value,
    )
    relative = Operation(
        name="relative positions",
        flops=relative_projection_flops(shape),
        weight_bytes=shape.relative_rows * h * bytes_per_value,
        activation_bytes=_relative_products(shape) * 2 * a * bytes_per_value,
    )
    convolution = Operation(
        name="convolution",
        flops=2 * tokens * shape.convolution * h * h,
        weight_bytes=(shape.convolution * h + 1) * h * bytes_per_value,
        activation_bytes=2 * tokens * h * bytes_per_value,
    )
    return (
        gather,
        *([projection] if shape.embedding_size else []),
        *([relative] if shape.relative_rows else []),
        *([convolution] if shape.convolution else []),
        linear("qkv projection", h, a + 2 * kv, shape.attention_bias, a + 2 * kv),
        Operation(
            name="attention",
            flops=batch * attention_flops(shape, length),
            weight_bytes=shape.relative_buckets * shape.heads * bytes_per_value,
            activation_bytes=shape.layers * tokens * (2 * a + 2 * kv) * bytes_per_value,
        ),
        linear("output projection", a, h, shape.output_bias, h),
        *_mlp(shape, tokens, bytes_per_value),
        *_experts(shape, tokens, bytes_per_value),
        norms,
    )


def _mlp(shape: ModelShape, tokens: int, bytes_per_value: int) -> tuple[Operation, ...]:
    """The MLPs of the layers that have no experts."""
    layers, h, m = shape.dense_layers, shape.hidden, shape.intermediate
    if not layers:
        return ()
    up_width = (shape.mlp_matrices - 1) * m
    up_bias, down_bias = up_width if shape.mlp_up_bias else 0, h if shape.mlp_down_bias else 0
    return (
        Operation(
            name="mlp up and gate" if shape.gated_mlp else "mlp up",
            flops=layers * 2 * tokens * h * up_width,
            weight_bytes=shape.linear_bytes(layers * h * up_width, bytes_per_value)
            + layers * up_bias * bytes_per_value,
            activation_bytes=layers * tokens * (h + m) * bytes_per_value,
        ),
        Operation(
            name="mlp down",
            flops=layers * 2 * tokens * m * h,
            weight_bytes=shape.linear_bytes(layers * m * h, bytes_per_value)
            + layers * down_bias * bytes_per_value,
            activation_bytes=layers * tokens * (m + h) * bytes_per_value,
        ),
    )


def touched_experts(shape: ModelShape, tokens: int) -> float:
    """Return how many experts of a layer at least one of `tokens` tokens uses, if each expert is as likely.

    E·(1 − (1 − k/E)ⁿ). Real routers favour some experts, so fewer are touched: this is the most to expect.

    Source: expectation of the number of occupied cells, k distinct ones of E drawn for each token.
    """
    if not shape.experts:
        return 0.0
    untouched = (1 - shape.experts_per_token / shape.experts) ** tokens
    return shape.experts * (1 - untouched)


def _experts(shape: ModelShape, tokens: int, bytes_per_value: int) -> tuple[Operation, ...]:
    """The router and the experts: work for those that each token uses, weights of those that any token uses."""
    layers, h, m, k = (
        len(shape.expert_layers),
        shape.hidden,
        shape.expert_intermediate,
        shape.experts_per_token,
    )
    if not layers:
        return ()
    up_width, touched = (shape.mlp_matrices - 1) * m, touched_experts(shape, tokens)
    bias = h if shape.mlp_down_bias else 0
    return (
        Operation(
            name="router",
            flops=layers * 2 * tokens * h * shape.experts,
            weight_bytes=layers * h * shape.experts * bytes_per_value,
            activation_bytes=layers * tokens * (h + 2 * k) * bytes_per_value,  # chosen experts, their shares
        ),
        Operation(
            name="experts up and gate" if shape.gated_mlp else "experts up",
            flops=layers * 2 * tokens * k * h * up_width,
            weight_bytes=shape.linear_bytes(round(layers * touched * h * up_width), bytes_per_value),
            activation_bytes=layers * tokens * k * (h + m) * bytes_per_value,
        ),
        Operation(
            name="experts down",
            flops=layers * 2 * tokens * k * m * h,
            weight_bytes=shape.linear_bytes(round(layers * touched * m * h), bytes_per_value)
            + layers * bias * bytes_per_value,
            activation_bytes=layers * tokens * (k * m + h) * bytes_per_value,
        ),
    )


def _embedding(shape: ModelShape, batch: int, length: int, bytes_per_value: int) -> Operation:
    """The gather: one row per token, and where there are such tables one per position and one token type."""
    h, tokens = shape.table_width, batch * length
    positions = length if shape.positions == "learned" else 0
    rows = tokens + positions + (1 if shape.token_types else 0)
    return Operation(
        name="embedding gather",
        flops=0,
        weight_bytes=shape.table_bytes(rows * h, bytes_per_value),
        activation_bytes=tokens * h * bytes_per_value,
    )


def _norms(shape: ModelShape, batch: int, tokens: int, bytes_per_value: int) -> Operation:
    """Residual sums with the norms beside them, the norm of queries and keys, rotary positions, pooling.

    The norm before a block also adds the block before it to the residual: it reads both and writes the new
    residual and the normalised values. A norm after the sum writes only the latter; a sandwich's norm after a
    block reads and writes that block's output. One more norm stands over the embeddings, or after the last
    layer, or both.
    """
    h, per_head = shape.hidden, shape.attention_width + shape.kv_width
    moved = {"pre": 2 * 4, "post": 2 * 3, "sandwich": 2 * 4 + 2 * 2}[shape.norm_place] * h
    rotated = per_head if shape.qk_norm or shape.positions == "rotary" else 0
    outside = 2 * h * (int(shape.embedding_norm) + int(shape.norm_place != "post")) if shape.layers else 0
    activations = tokens * (shape.layers * (moved + 2 * rotated) + outside) + (tokens + batch) * h
    return Operation(
        name="norms, residuals, pooling",
        flops=0,
        weight_bytes=shape.norm_parameters * bytes_per_value,
        activation_bytes=activations * bytes_per_value,
    )
