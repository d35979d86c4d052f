"""The network's operations as OpenVINO's nodes, over packed tokens or padded ones, and the graphs made of them.

The graph is dynamic in the tokens, the texts and the longest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from farthing.engine.folder.head import DenseActivation, Pooling
from farthing.engine.network.ops import Sight
from farthing.engine.network.positions import BIASES, biases_by_distance
from farthing.engine.network.transformer import Network, keys_and_values, score_scale, vectors
from farthing.engine.openvino.runtime import import_openvino
from farthing.theory.dtypes import Dtype
from farthing.theory.shapes import ModelShape, Norm

op = import_openvino().opset13

Weights = Mapping[str, npt.NDArray[np.float32]]

MASKED = np.float32(-1e9)
"""Added to the score of a key that is not seen: far below any real score, and finite, so that no row becomes NaN."""


class GraphOps:
    """The operations of one graph.

    Attributes:
        inputs: what the graph takes: the arrays of `packing.PackedStep`; or where texts come padded to one length, ids
            and positions of (B·S,), slots and lengths. Behind them, where some are left out of the pooling, the number
            of those, (1,); where there is a prefix, its keys and values, float32 (layers, 2, P, kv).
        unread: results that nobody reads.
    """

    def __init__(
        self,
        shape: ModelShape,
        weights: Weights,
        dtype: Dtype,
        *,
        dense: bool = False,
        prefix: bool = False,
        left_out: bool = False,
    ) -> None:
        """Make the inputs.

        Args:
            shape: the model.
            weights: by our names. The graph reads them where they lie: they must outlive it.
            dtype: of the matrix products.
            dense: whether texts come padded to one length.
            prefix: whether they come behind a prefix.
            left_out: whether tokens at the start of each may be left out of the pooling.
        """
        self._shape, self._weights, self._dtype, self._dense = shape, weights, dtype, dense
        self.ids, own = _input(-1), _input(-1)
        self._slots, self._places, self._lengths = _input(-1, -1), _input(-1), _input(-1)
        self.inputs = [self.ids, own, self._slots, *([] if dense else [self._places]), self._lengths]
        self._left_out = _input(1) if left_out else None
        if self._left_out is not None:
            self.inputs.append(self._left_out)
        self.unread: list[Any] = []
        self._grid = op.shape_of(self._slots, "i32")
        self._texts, width = _size(self._grid, 0), _size(self._grid, 1)
        self._past, self.positions, before = None, own, op.constant(np.int32(0))
        if prefix:
            self._past = op.parameter([shape.layers, 2, -1, shape.kv_width], np.float32)
            self.inputs.append(self._past)
            before = _size(op.shape_of(self._past, "i32"), 2)
            self.positions = op.add(own, before)
        self._prefix = before
        # Places of queries, (S,), and of keys, (P + S,). A range costs a short text half a percent, slots are at hand.
        if dense and not prefix:
            self._asking = self._seen = op.gather(self._slots, np.int32(0), _AXIS_0)
        else:
            self._asking = op.range(before, op.add(before, width), np.int32(1), "i32")
            self._seen = op.range(np.int32(0), op.add(before, width), np.int32(1), "i32")
        self._known: dict[object, Any] = {}

    def _once(self, key: object, make: Callable[[], Any]) -> Any:
        """Return a node that several layers share."""
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    def _weight(self, name: str) -> Any:
        return self._once(name, lambda: op.constant(self._weights[name], shared_memory=True))

    def _scaled(self, name: str) -> Any:
        """Return a weight, that of queries with the scale of their scores in it, which the runtime works out once."""
        carrier = "attention.query_norm." if self._shape.qk_norm else "attention.query."
        node = self._weight(name)
        if carrier not in name:
            return node
        return self._once(("scaled", name), lambda: op.multiply(node, np.float32(score_scale(self._shape))))

    def ranks(self, padding: int) -> Any:
        counted = op.convert(op.not_equal(self.ids, np.int32(padding)), "i32")
        grid = (
            op.reshape(counted, self._grid, False)
            if self._dense
            else op.gather(counted, self._slots, _AXIS_0)
        )
        ranks = op.reshape(op.cum_sum(grid, np.int32(1)), _ints(-1), False)
        if self._dense:  # no rank that the longest text has not: the table may end there
            ranks = op.minimum(ranks, op.add(self.positions, np.int32(1)))
        else:
            ranks = op.gather(ranks, self._places, _AXIS_0)
        return op.multiply(ranks, counted)

    def embedded(self, name: str, rows: Any) -> Any:
        return op.gather(self._weight(f"{name}.weight"), rows, _AXIS_0)

    def first_row(self, name: str) -> Any:
        return op.constant(self._weights[f"{name}.weight"][0])

    def add(self, left: Any, right: Any) -> Any:
        return op.add(left, right)

    def multiply(self, left: Any, right: Any) -> Any:
        return op.multiply(left, np.float32(right) if isinstance(right, float) else right)

    def linear(self, x: Any, names: Sequence[str]) -> list[Any]:
        found = []
        for name in names:
            product = op.matmul(x, self._scaled(f"{name}.weight"), False, True)
            biased = f"{name}.bias" in self._weights
            found.append(op.add(product, self._scaled(f"{name}.bias")) if biased else product)
        return found

    def norm(self, x: Any, name: str, kind: Norm, epsilon: float) -> Any:
        if kind == "rms_norm":
            mean = op.reduce_mean(op.power(x, np.float32(2)), _ints(-1), True)
            root = op.sqrt(op.add(mean, np.float32(epsilon)))
            scaled = op.multiply(x, op.divide(np.float32(1), root))
        else:
            scaled = op.mvn(x, _ints(-1), True, epsilon, "inside_sqrt")
        scaled = op.multiply(scaled, self._scaled(f"{name}.weight"))
        return op.add(scaled, self._weight(f"{name}.bias")) if f"{name}.bias" in self._weights else scaled

    def activated(self, x: Any, kind: DenseActivation) -> Any:
        if self._dense and kind != "tanh":
            # A second reader keeps the activation out of the product before it. With one in it, a product runs in
            # oneDNN's convolutions on AVX-512, which hold the weights in an order more for each range of lengths, and
            # are slower for short texts (docs/log.md).
            self.unread.append(op.shape_of(x, "i32"))
        if kind in ("gelu", "gelu_tanh"):
            return op.gelu(x, "erf" if kind == "gelu" else "tanh")
        return {"relu": op.relu, "silu": op.swish, "tanh": op.tanh}[kind](x)

    def heads(self, x: Any, count: int) -> Any:
        return op.reshape(x, _ints(-1, count, self._shape.head_size), False)

    def rotation(self, theta: float, size: int) -> tuple[Any, Any]:
        def rotation() -> tuple[Any, Any]:
            pace = theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
            at = op.unsqueeze(op.convert(self.positions, "f32"), _ints(1, 2))
            angles = op.multiply(at, pace.astype(np.float32).reshape(1, 1, -1))
            return op.cos(angles), op.sin(angles)

        found: tuple[Any, Any] = self._once(("rotation", theta, size), rotation)
        return found

    def rotated(self, heads: Any, rotation: tuple[Any, Any]) -> Any:
        cos, sin = rotation
        half = int(self._shape.head_size * self._shape.rotary_share) // 2
        rest = self._shape.head_size - 2 * half
        left, right, *still = op.variadic_split(
            heads, np.int32(2), [half, half, *([rest] if rest else [])]
        ).outputs()
        turned = [
            op.subtract(op.multiply(left, cos), op.multiply(right, sin)),
            op.add(op.multiply(right, cos), op.multiply(left, sin)),
        ]
        return op.concat([*turned, *still], 2)

    def pooled_rows(self, pooling: Pooling) -> Any:
        if pooling == "cls":
            return self._once("first", lambda: op.gather(self._slots, np.int32(0), np.int32(1)))
        last = op.subtract(self._lengths, np.int32(1))
        return self._once("last", lambda: op.gather(self._slots, last, np.int32(1), 1))

    def rows(self, x: Any, rows: Any) -> Any:
        return op.gather(x, rows, _AXIS_0)

    def attend(self, query: Any, key: Any, value: Any, sight: Sight, kept: Pooling | None) -> Any:
        shape = self._shape
        queries = self._on_grid(query, shape.heads) if kept is None else op.unsqueeze(query, _ints(1))
        keys, values = (self._behind_prefix(one, sight.layer, part) for part, one in enumerate((key, value)))
        queries, keys, values = (op.transpose(one, _ints(0, 2, 1, 3)) for one in (queries, keys, values))
        # Four axes and no more: the runtime then never holds all scores, which at 8,192 tokens are gigabytes.
        keys, values = self._repeated(keys), self._repeated(values)
        scores = op.matmul(queries, keys, False, True)
        if sight.cap is not None:
            cap = np.float32(sight.cap)
            scores = op.multiply(op.tanh(op.divide(scores, cap)), cap)
        scores = op.add(scores, self._mask(sight, kept))
        mixed = op.matmul(op.softmax(scores, -1), values, False, False)
        mixed = op.reshape(op.transpose(mixed, _ints(0, 2, 1, 3)), _ints(-1, shape.attention_width), False)
        return mixed if self._dense or kept is not None else op.gather(mixed, self._places, _AXIS_0)

    def pooled(self, x: Any, pooling: Pooling) -> Any:
        if pooling == "last_token" or (pooling == "cls" and self._left_out is None):
            return self.rows(x, self.pooled_rows(pooling))
        rows, own = self._on_grid(x), self._seen
        if self._past is not None:
            own = op.range(np.int32(0), _size(self._grid, 1), np.int32(1), "i32")
        read = self._before_end(own)
        if self._left_out is not None:
            behind = op.equal if pooling == "cls" else op.greater_equal
            read = op.logical_and(read, op.unsqueeze(behind(own, self._left_out), _ints(0)))
        weight = op.select(read, np.float32(1), np.float32(0))  # a conversion is four times as slow
        # A product, up to which the runtime lets all be bf16 that may be; for few texts in fp32 a sum is faster.
        if pooling in ("mean", "cls") and not (self._dense and self._dtype == "fp32"):
            summed = op.squeeze(op.matmul(op.unsqueeze(weight, _ints(1)), rows, False, False), _ints(1))
        else:
            if pooling == "weighted_mean":
                weight = op.multiply(weight, op.convert(op.add(own, np.int32(1)), "f32"))
            summed = op.reduce_sum(op.multiply(rows, op.unsqueeze(weight, _ints(2))), _ints(1), False)
        return op.divide(summed, op.reduce_sum(weight, _ints(1), True))

    def _before_end(self, places: Any) -> Any:
        """Return which places, (K,), come before the end of each text, (B, K)."""
        own = op.unsqueeze(self._lengths, _ints(1))
        return self._once(("before end", places), lambda: op.less(op.unsqueeze(places, _ints(0)), own))

    def scaled_to_one(self, x: Any) -> Any:
        length = op.sqrt(op.reduce_sum(op.multiply(x, x), _ints(1), True))
        return op.divide(x, op.maximum(length, np.float32(1e-12)))

    def _on_grid(self, x: Any, *heads: int) -> Any:
        """Return (T, …) at the places of the grid, (B, S, …)."""
        if not self._dense:
            return op.gather(x, self._slots, _AXIS_0)
        rest = (*heads, self._shape.head_size) if heads else (self._shape.hidden,)
        return op.reshape(x, op.concat([self._grid, _ints(*rest)], 0), False)

    def _behind_prefix(self, x: Any, layer: int, part: int) -> Any:
        """Return keys (part 0) or values (1) on the grid, those of the prefix before them, (B, P + S, heads, size)."""
        heads, size = self._shape.kv_heads, self._shape.head_size
        own = self._on_grid(x, heads)
        if self._past is None:
            return own
        past = op.gather(op.gather(self._past, np.int32(layer), _AXIS_0), np.int32(part), _AXIS_0)
        many = op.concat(
            [op.unsqueeze(self._texts, _ints(0)), op.unsqueeze(self._prefix, _ints(0)), _ints(heads, size)], 0
        )
        return op.concat([op.broadcast(op.reshape(past, _ints(1, -1, heads, size), False), many), own], 1)

    def _repeated(self, heads: Any) -> Any:
        """Return (B, heads, K, size) with each key head as often as it is asked."""
        groups = self._shape.heads // self._shape.kv_heads
        if groups == 1:
            return heads
        many = op.broadcast(
            op.unsqueeze(heads, _ints(2)), _ints(1, 1, groups, 1, 1), broadcast_spec="BIDIRECTIONAL"
        )
        return op.reshape(many, _ints(0, self._shape.heads, -1, self._shape.head_size), True)

    def _mask(self, sight: Sight, kept: Pooling | None) -> Any:
        """Return what is added to the scores, (B or 1, heads or 1, queries, keys)."""
        key = (sight.causal, sight.reach, kept)
        return self._once(key, lambda: self._new_mask(sight, kept))

    def _new_mask(self, sight: Sight, kept: Pooling | None) -> Any:
        keys = op.unsqueeze(self._seen, _ints(0, 1))  # (1, 1, K)
        if kept is None:
            asking = op.unsqueeze(self._asking, _ints(0, 2))  # (1, Q, 1)
        else:
            asking = op.unsqueeze(
                op.gather(self.positions, self.pooled_rows(kept), _AXIS_0), _ints(1, 2)
            )  # (B, 1, 1)
        ahead = op.subtract(keys, asking)
        seen = []
        if sight.causal:  # no text's own token sees the places behind its last one
            seen.append(op.less_equal(ahead, np.int32(0)))
        else:
            seen.append(op.unsqueeze(self._before_end(self._seen), _ints(1)))
        if sight.reach is not None:
            seen.append(op.less_equal(op.abs(ahead), np.int32(sight.reach)))
        mask = op.select(seen[0] if len(seen) == 1 else op.logical_and(*seen), np.float32(0), MASKED)
        mask = op.unsqueeze(mask, _ints(1))
        biases = biases_by_distance(self._shape, self._weights.get(BIASES))
        if biases is None:
            return mask
        bias = op.gather(op.constant(biases), op.add(ahead, np.int32(len(biases) // 2)), _AXIS_0)
        return op.add(mask, op.transpose(bias, _ints(0, 3, 1, 2)))  # from (B or 1, Q, K, heads)


_AXIS_0 = np.int32(0)


def _input(*sizes: int) -> Any:
    return op.parameter(list(sizes), np.int32)


def _ints(*values: int) -> npt.NDArray[np.int32]:
    return np.array(values, np.int32)


def _size(shape: Any, axis: int) -> Any:
    return op.gather(shape, np.int32(axis), _AXIS_0)


def vector_graph(network: Network, weights: Weights, dtype: Dtype, *, dense: bool, prefix: bool) -> Any:
    """Return the graph of a step's vectors; `GraphOps` says what it takes.

    Args:
        network: what is computed.
        weights: by our names; they must outlive what is compiled of the graph.
        dtype: of the matrix products.
        dense: whether texts come padded to one length.
        prefix: whether they come behind a prefix, of 0 tokens maybe.
    """
    ops = GraphOps(
        network.shape, weights, dtype, dense=dense, prefix=prefix, left_out=not network.pools_prompt
    )
    results = [op.result(vectors(ops, network)), *map(op.result, ops.unread)]
    return import_openvino().Model(results, ops.inputs)


def prefix_graph(shape: ModelShape, weights: Weights, dtype: Dtype) -> Any:
    """Return the graph of the keys and values of one packed text, (layers, 2, tokens, kv)."""
    ops = GraphOps(shape, weights, dtype)
    flat = np.array([1, 1, -1, shape.kv_width], np.int32)
    layers = [
        op.concat([op.reshape(part, flat, False) for part in pair], 1) for pair in keys_and_values(ops, shape)
    ]
    return import_openvino().Model([op.result(op.concat(layers, 0))], ops.inputs)
