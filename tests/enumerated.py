"""FLOPs of a pass over one text, added up product by product, for models of every kind that matters to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from farthing.theory.families.configs import shape_from_config
from farthing.theory.shapes import ModelShape

CAUSAL = shape_from_config(
    {
        "model_type": "qwen3",
        "vocab_size": 50,
        "hidden_size": 6,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 2,
        "intermediate_size": 7,
        "max_position_embeddings": 64,
    },
    "qwen3",
)
SHAPES = {
    "causal": CAUSAL,
    "causal with windows": replace(CAUSAL, attention_reach=(2, None, 3)),
    "causal with experts": replace(
        CAUSAL, experts=5, experts_per_token=2, expert_intermediate=3, expert_layers=(0, 2)
    ),
    "both ways": replace(CAUSAL, causal=False, gated_mlp=False),
    "both ways with windows": replace(CAUSAL, causal=False, attention_reach=(2, None, 3)),
}

LastLayer = Literal["all", "pooled", "keys and values"]
"""Which tokens the last layer is computed for: all, the pooled one, or none, so that only keys and values come out."""


def enumerated(
    shape: ModelShape,
    length: int,
    *,
    skipped: int = 0,
    last: LastLayer = "all",
    grid: int = 0,
    dense: bool = False,
) -> int:
    """Return the FLOPs of a pass.

    Args:
        shape: the model.
        length: tokens of the text.
        skipped: tokens at its start whose keys and values are there already.
        last: what the last layer is computed for; the pooled token is the first where tokens attend both ways.
        grid: places that attention runs on, whoever attends to whom; 0 for none.
        dense: whether the other products run on all of those, too.
    """
    h, d = shape.hidden, shape.head_size
    own = length - skipped
    pooled = own - 1 if shape.causal else 0
    score = 2 * 2 * shape.heads * d  # and its share of the sum over the values
    flops = 0
    for layer in range(shape.layers):
        reach = shape.attention_reach[layer]
        for place in range(max(own, grid)):
            kept = last == "all" or layer < shape.layers - 1 or (last == "pooled" and place == pooled)
            if place < own or dense:
                flops += 2 * 2 * h * shape.kv_heads * d  # keys and values
                flops += kept * _rest(shape, layer)
            if kept and grid:
                flops += score * (skipped + grid)
            elif kept:
                i = skipped + place
                attended = [j for j in range(length) if j <= i or not shape.causal]
                flops += score * len([j for j in attended if reach is None or abs(i - j) <= reach])
    return flops


def _rest(shape: ModelShape, layer: int) -> int:
    """Return the FLOPs of one token in the products of a layer other than keys, values and attention."""
    h, matrices = shape.hidden, 3 if shape.gated_mlp else 2
    flops = 2 * 2 * h * shape.heads * shape.head_size  # queries and the output projection
    if layer not in shape.expert_layers:
        return flops + matrices * 2 * h * shape.intermediate
    return (
        flops + 2 * h * shape.experts + shape.experts_per_token * matrices * 2 * h * shape.expert_intermediate
    )
