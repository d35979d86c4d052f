"""Graphs of a network, ready to compile: one that gives vectors, one that gives the keys and values of a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from farthing.engine.network.transformer import Network, keys_and_values, vectors
from farthing.engine.openvino.ops import GraphOps, op
from farthing.engine.openvino.runtime import import_openvino
from farthing.theory.shapes import ModelShape

Weights = Mapping[str, npt.NDArray[np.float32]]


def vector_graph(network: Network, weights: Weights, *, dense: bool, prefix: bool) -> Any:
    """Return the graph of a step's vectors; `ops.GraphOps` says what it takes.

    Args:
        network: what is computed.
        weights: by our names; they must outlive what is compiled of the graph.
        dense: whether texts come padded to one length.
        prefix: whether they come behind a prefix, of 0 tokens maybe.
    """
    ops = GraphOps(network.shape, weights, dense=dense, prefix=prefix)
    results = [op.result(vectors(ops, network)), *map(op.result, ops.unread)]
    return import_openvino().Model(results, ops.inputs)


def prefix_graph(shape: ModelShape, weights: Weights) -> Any:
    """Return the graph of the keys and values of one packed text, (layers, 2, tokens, kv)."""
    ops = GraphOps(shape, weights)
    flat = np.array([1, 1, -1, shape.kv_width], np.int32)
    layers = [
        op.concat([op.reshape(part, flat, False) for part in pair], 1) for pair in keys_and_values(ops, shape)
    ]
    return import_openvino().Model([op.result(op.concat(layers, 0))], ops.inputs)
