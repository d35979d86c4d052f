"""The graph for a few texts at a time: padded to one length, so that nothing is gathered between its layers.

A graph of packed tokens lays them out on a grid before each attention and takes them back after it. Where the tokens
come padded they are such a grid already, and those gathers are reshapes. The weights stay those of the one file.
Knows openvino's nodes and the inputs of a step. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from farthing.engine.network.packing import Ids

_SLOTS, _PLACES = 2, 3
"""Inputs of the graph, in the order of `packing.PackedStep`."""

_ACTIVATIONS = ("Gelu", "Relu", "Swish")


def made_dense(graph: Any) -> bool:
    """Change a graph of packed tokens into one of padded ones, in place.

    It then takes the inputs of `padded`; where it was left as it is, it takes those of `packing.packed`.

    Args:
        graph: openvino's Model, as `graphs.read_graph` gives it.

    Returns:
        Whether all gathers were of the kind that is known, and are gone.
    """
    from openvino import opset13

    slots, places = (graph.inputs[index].get_node() for index in (_SLOTS, _PLACES))
    onto = [target.get_node() for target in slots.output(0).get_target_inputs() if _is_rows(target)]
    back = [target.get_node() for target in places.output(0).get_target_inputs()]
    if not all(_is_rows(target) for target in places.output(0).get_target_inputs()):
        return False
    if not all(_row(node).is_static for node in onto):
        return False
    grid = opset13.shape_of(slots, "i32")
    for node in onto:
        shape = opset13.concat([grid, np.array(_row(node).to_shape(), np.int32)], 0)
        node.output(0).replace(opset13.reshape(node.input_value(0), shape, special_zero=False).output(0))
    for node in back:
        node.output(0).replace(node.input_value(0))
    graph.remove_parameter(places)
    _part_activations(graph)
    graph.validate_nodes_and_infer_types()
    return True


def _part_activations(graph: Any) -> None:
    """Keep activations out of the matrix products before them, by giving each product's output a second reader.

    On AVX-512 a product with an activation in it runs in oneDNN's convolutions, which hold the weights in an order
    more for each range of lengths, and are slower for short texts than those without one (docs/log.md).
    """
    from openvino import opset13

    for node in graph.get_ops():
        if node.get_type_name() in _ACTIVATIONS:
            product = node.input_value(0)
            if product.get_node().get_type_name() in ("Add", "MatMul"):
                graph.add_results([opset13.result(opset13.shape_of(product, "i32"))])


def _is_rows(target: Any) -> bool:
    """Say whether an input is the indices of a gather of whole rows."""
    node = target.get_node()
    if node.get_type_name() != "Gather" or target.get_index() != 1:
        return False
    axis = node.input_value(2).get_node()
    return axis.get_type_name() == "Constant" and int(axis.get_data()) == 0


def _row(node: Any) -> Any:
    """Return the shape of one of the rows that a node gathers."""
    return node.input_value(0).get_partial_shape()[1:]


def padded(texts: Sequence[Ids]) -> list[Ids]:
    """Return the inputs of a dense graph: ids (B·S,), positions (B·S,), slots (B, S) and lengths (B,).

    Args:
        texts: token ids of each text, int32 (tokens,), at least one text and one token each.
    """
    lengths = np.array([len(one) for one in texts], np.int32)
    longest = max(map(len, texts))
    width = _rounded(longest)
    ids = np.zeros((len(texts), width), np.int32)
    for row, one in enumerate(texts):
        ids[row, : len(one)] = one
    slots = np.arange(ids.size, dtype=np.int32)
    # No position that the longest text has not: a table of them may end there.
    positions = np.minimum(slots if len(texts) == 1 else slots % width, np.int32(longest - 1))
    return [ids.reshape(-1), positions, slots.reshape(ids.shape), lengths]


def _rounded(length: int) -> int:
    """Return the length that texts are padded to: one of eight for each doubling past 16, so ⅛ more at most.

    A length that was not met before costs a short text as much again as itself, and memory to remember it
    (docs/log.md).
    """
    step = 1 << max(0, (length - 1).bit_length() - 4)
    return -(-length // step) * step
