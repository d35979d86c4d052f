"""Work of one forward pass: in total, and operation by operation with the bytes that it moves.

One multiply-add is 2 FLOPs. Only matrix products count: biases, norms, activations, rotary positions,
softmax and pooling cost bytes. There is no LM head and no KV cache. Knows no time and no device.

Source: the transformer's own matrix products; design/theory.md, "Work of one forward pass".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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


def attention_flops(shape: ModelShape, length: int) -> int:
    """Return the FLOPs of QKᵀ and AV over all layers for one sequence.

    Args:
        shape: the model.
        length: tokens of the sequence, S. A causal model has S(S+1)/2 pairs of tokens, others S².
    """
    pairs = length * (length + 1) // 2 if shape.causal else length * length
    return shape.layers * 4 * pairs * shape.attention_width


def forward_flops(shape: ModelShape, lengths: Iterable[int]) -> Flops:
    """Return the FLOPs of one forward pass over sequences of these lengths (tokens), without padding."""
    per_token = linear_flops_per_token(shape)
    linear = attention = 0
    for length in lengths:
        linear += per_token * length
        attention += attention_flops(shape, length)
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
    tokens = batch * length
    layers, h, m = shape.layers, shape.hidden, shape.intermediate
    a, kv = shape.attention_width, shape.kv_width
    up_width = 2 * m if shape.gated_mlp else m

    def linear(name: str, inputs: int, outputs: int, biased: bool, written: int) -> Operation:
        return Operation(
            name=name,
            flops=layers * 2 * tokens * inputs * outputs,
            weight_bytes=layers * (inputs * outputs + (outputs if biased else 0)) * bytes_per_value,
            activation_bytes=layers * tokens * (inputs + written) * bytes_per_value,
        )

    return (
        _embedding(shape, batch, length, bytes_per_value),
        linear("qkv projection", h, a + 2 * kv, shape.attention_bias, a + 2 * kv),
        Operation(
            name="attention",
            flops=batch * attention_flops(shape, length),
            weight_bytes=0,
            activation_bytes=layers * tokens * (2 * a + 2 * kv) * bytes_per_value,
        ),
        linear("output projection", a, h, shape.attention_bias, h),
        linear("mlp up and gate" if shape.gated_mlp else "mlp up", h, up_width, shape.mlp_bias, m),
        linear("mlp down", m, h, shape.mlp_bias, h),
        _norms(shape, batch, tokens, bytes_per_value),
    )


def _embedding(shape: ModelShape, batch: int, length: int, bytes_per_value: int) -> Operation:
    """The gather: one row per token, and where there are such tables one per position and one token type."""
    h, tokens = shape.hidden, batch * length
    positions = length if shape.positions == "learned" else 0
    rows = tokens + positions + (1 if shape.token_types else 0)
    return Operation(
        name="embedding gather",
        flops=0,
        weight_bytes=rows * h * bytes_per_value,
        activation_bytes=tokens * h * bytes_per_value,
    )


def _norms(shape: ModelShape, batch: int, tokens: int, bytes_per_value: int) -> Operation:
    """Residual sums with the norms beside them, the norm of queries and keys, rotary positions, pooling.

    Two norms per layer, each reading the block's output and the residual. A pre-norm writes the new residual
    and the normalised values, a post-norm only the latter. One more norm stands before the first layer
    (post, over the embeddings) or after the last (pre).
    """
    h, per_head = shape.hidden, shape.attention_width + shape.kv_width
    pre = shape.norm_place == "pre"
    norm_weights = (2 if shape.norm == "layer_norm" else 1) * h
    rotated = per_head if shape.qk_norm or shape.positions == "rotary" else 0
    per_layer = 2 * (4 if pre else 3) * h + 2 * rotated
    qk_weights = 2 * shape.head_size if shape.qk_norm else 0
    weights = shape.layers * (2 * norm_weights + qk_weights) + norm_weights
    activations = tokens * (shape.layers * per_layer + 2 * h) + (tokens + batch) * h
    return Operation(
        name="norms, residuals, pooling",
        flops=0,
        weight_bytes=weights * bytes_per_value,
        activation_bytes=activations * bytes_per_value,
    )
