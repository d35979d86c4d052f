"""The one transformer: the layers, in the order in which they run, over whatever does the arithmetic.

A family is a choice of parts: the kind and place of norms, of positions, of the attention's reach, of the MLP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.folder.head import DenseActivation, Pooling
from farthing.engine.network.ops import Ops, Sight, T
from farthing.theory.shapes import ModelShape


@dataclass(frozen=True, slots=True)
class Network:
    """What is computed of a text.

    Attributes:
        shape: the transformer.
        pooling: how token vectors become one.
        normalize: whether the vector is scaled to length one.
        dense: activation of each matrix behind the pooling, in order.
        trim: whether the last layer computes only the token that the pooling reads.
        pools_prompt: whether the pooling reads the tokens of a prompt.
    """

    shape: ModelShape
    pooling: Pooling
    normalize: bool
    dense: tuple[DenseActivation | None, ...] = ()
    trim: bool = False
    pools_prompt: bool = True

    def kept(self, layer: int) -> Pooling | None:
        """Return which token of each text a layer computes alone; None for all."""
        return self.pooling if self.trim and layer == self.shape.layers - 1 else None


def network_of(checkpoint: Checkpoint) -> Network:
    """Return the network of a checkpoint, trimmed where its pooling allows it."""
    return Network(
        checkpoint.shape,
        checkpoint.pooling,
        checkpoint.normalize,
        tuple(one.activation for one in checkpoint.dense),
        checkpoint.trimmable,
        checkpoint.pools_prompt,
    )


def vectors(ops: Ops[T], network: Network) -> T:
    """Return the vectors of a step's texts, (B, dimension): embedded, after all layers, read out."""
    x = embedded(ops, network.shape)
    for layer in range(network.shape.layers):
        x = after_layer(ops, network, x, layer)
    return read_out(ops, network, x)


def after_layer(ops: Ops[T], network: Network, x: T, layer: int) -> T:
    """Return (T, hidden) after a layer; after the last one, where the network is trimmed, (B, hidden)."""
    return _Layers(ops, network.shape).layer(x, layer, network.kept(layer))


def read_out(ops: Ops[T], network: Network, x: T) -> T:
    """Return the vectors of what the last layer left, (B, dimension)."""
    shape = network.shape
    if shape.norm_place != "post":
        x = ops.norm(x, "norm", shape.norm, shape.norm_epsilon)
    vectors = x if network.trim else ops.pooled(x, network.pooling)
    for index, activation in enumerate(network.dense):
        (vectors,) = ops.linear(vectors, [f"dense.{index}"])
        vectors = vectors if activation is None else ops.activated(vectors, activation)
    return ops.scaled_to_one(vectors) if network.normalize else vectors


def keys_and_values(ops: Ops[T], shape: ModelShape) -> Iterator[tuple[T, T]]:
    """Yield each layer's keys and values of a step of one text, (T, KV heads, size) each."""
    x, parts = embedded(ops, shape), _Layers(ops, shape)
    for layer in range(shape.layers):
        pair = parts.key_and_value(parts.attention_input(x, layer), layer)
        yield pair
        if layer < shape.layers - 1:
            x = parts.layer(x, layer, None, pair)


def rotary(shape: ModelShape, layer: int) -> tuple[float, int] | None:
    """Return the base of a layer's rotary positions and the channels of a head that they turn; None without them."""
    if shape.positions != "rotary" or shape.rotary_theta is None:
        return None
    local = None if shape.attention_reach[layer] is None else shape.rotary_theta_local
    return local or shape.rotary_theta, int(shape.head_size * shape.rotary_share)


def sight_of(shape: ModelShape, layer: int) -> Sight:
    """Return what a layer's queries see."""
    return Sight(layer, score_scale(shape), shape.causal, shape.attention_reach[layer], shape.score_cap)


def score_scale(shape: ModelShape) -> float:
    """Return the factor on the scores."""
    return shape.head_size**-0.5 if shape.attention_scale is None else shape.attention_scale


def embedded(ops: Ops[T], shape: ModelShape) -> T:
    """Return (T, hidden): token embeddings, with those of positions and types, summed and normalised."""
    x = ops.embedded("embeddings.tokens", ops.ids)
    if shape.embedding_scale != 1:
        x = ops.multiply(x, shape.embedding_scale)
    if shape.positions == "learned":
        offset = shape.position_offset  # the row behind that of the padding id
        rows = ops.ranks(offset - 1) if offset else ops.positions
        x = ops.add(x, ops.embedded("embeddings.positions", rows))
    if shape.token_types:  # every text is a single segment, so each token's type is 0
        x = ops.add(x, ops.first_row("embeddings.types"))
    if shape.embedding_norm:
        x = ops.norm(x, "embeddings.norm", shape.norm, shape.norm_epsilon)
    return ops.linear(x, ["embeddings.projection"])[0] if shape.embedding_size else x


class _Layers(Generic[T]):
    """The layers of a shape over one step."""

    def __init__(self, ops: Ops[T], shape: ModelShape) -> None:
        self._ops, self._shape = ops, shape

    def layer(self, x: T, layer: int, kept: Pooling | None, known: tuple[T, T] | None = None) -> T:
        """Return (T, hidden) after a layer, or (B, hidden) of the kept tokens; its keys and values may be known."""
        ops, name, place = self._ops, self._name(layer), self._shape.norm_place
        moved = self._attention(self.attention_input(x, layer), layer, kept, known)
        if place == "sandwich":
            moved = self.norm(moved, f"{name}.attention_out_norm")
        x = ops.add(x if kept is None else ops.rows(x, ops.pooled_rows(kept)), moved)
        if place == "post":
            x = self.norm(x, f"{name}.attention_norm")
            return self.norm(ops.add(x, self._mlp(x, name)), f"{name}.mlp_norm")
        moved = self._mlp(self.norm(x, f"{name}.mlp_norm"), name)
        if place == "sandwich":
            moved = self.norm(moved, f"{name}.mlp_out_norm")
        return ops.add(x, moved)

    def attention_input(self, x: T, layer: int) -> T:
        """Return what a layer's attention reads of the residual stream."""
        unnormed = self._shape.norm_place == "post" or (layer == 0 and not self._shape.first_attention_norm)
        return x if unnormed else self.norm(x, f"{self._name(layer)}.attention_norm")

    def _name(self, layer: int) -> str:
        """Return what a layer's weights are named after."""
        return f"layers.{self._shape.stored_layer(layer)}"

    def norm(self, x: T, name: str) -> T:
        """Return the norm of the residual stream."""
        return self._ops.norm(x, name, self._shape.norm, self._shape.norm_epsilon)

    def key_and_value(self, x: T, layer: int) -> tuple[T, T]:
        """Return the keys and values of all tokens, (T, KV heads, size) each."""
        name = f"{self._name(layer)}.attention"
        key, value = self._ops.linear(x, [f"{name}.key", f"{name}.value"])
        return self._turned(key, layer, "key"), self._ops.heads(value, self._shape.kv_heads)

    def _attention(self, x: T, layer: int, kept: Pooling | None, known: tuple[T, T] | None) -> T:
        ops, shape, name = self._ops, self._shape, f"{self._name(layer)}.attention"
        if kept is None and known is None:
            query, key, value = ops.linear(x, [f"{name}.query", f"{name}.key", f"{name}.value"])
            keys, values = self._turned(key, layer, "key"), ops.heads(value, shape.kv_heads)
        else:
            (query,) = ops.linear(
                x if kept is None else ops.rows(x, ops.pooled_rows(kept)), [f"{name}.query"]
            )
            keys, values = known or self.key_and_value(x, layer)
        turned = self._turned(query, layer, "query", kept)
        mixed = ops.attend(turned, keys, values, sight_of(shape, layer), kept)
        (moved,) = ops.linear(mixed, [f"{name}.output"])
        return moved

    def _turned(self, x: T, layer: int, part: str, kept: Pooling | None = None) -> T:
        """Return queries or keys as heads, normalised and rotated where the model does so."""
        ops, shape = self._ops, self._shape
        heads = ops.heads(x, shape.heads if part == "query" else shape.kv_heads)
        if shape.qk_norm:
            name = f"{self._name(layer)}.attention.{part}_norm"
            heads = ops.norm(heads, name, "rms_norm", shape.norm_epsilon)
        turning = rotary(shape, layer)
        if turning is None:
            return heads
        rotation = ops.rotation(*turning)
        if kept is not None:
            rows = ops.pooled_rows(kept)
            rotation = ops.rows(rotation[0], rows), ops.rows(rotation[1], rows)
        return ops.rotated(heads, rotation)

    def _mlp(self, x: T, name: str) -> T:
        ops, kind = self._ops, self._shape.activation
        if self._shape.gated_mlp:
            gate, inner = ops.linear(x, [f"{name}.mlp.gate", f"{name}.mlp.up"])
            inner = ops.multiply(ops.activated(gate, kind), inner)
        else:
            (inner,) = ops.linear(x, [f"{name}.mlp.up"])
            inner = ops.activated(inner, kind)
        (down,) = ops.linear(inner, [f"{name}.mlp.down"])
        return down
