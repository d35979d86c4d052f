"""Reused and trimmed FLOPs against a pass that is enumerated token by token, layer by layer, pair by pair."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import forward_flops
from farthing.theory.savings import reused_flops, trimmed_flops
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


def enumerated(shape: ModelShape, length: int, *, skipped: int = 0, trim: bool = False) -> int:
    """Return the FLOPs of a pass over one text, added up product by product.

    Args:
        shape: the model.
        length: tokens of the text.
        skipped: tokens at its start whose keys and values are there already.
        trim: whether the last layer is computed for one token alone: the first where tokens attend both ways.
    """
    h, d = shape.hidden, shape.head_size
    pooled = length - 1 if shape.causal else 0
    flops = 0
    for layer in range(shape.layers):
        reach = shape.attention_reach[layer]
        for i in range(skipped, length):
            flops += 2 * 2 * h * shape.kv_heads * d  # keys and values
            if trim and layer == shape.layers - 1 and i != pooled:
                continue
            flops += 2 * 2 * h * shape.heads * d  # queries and the output projection
            for j in range(length):
                if (j <= i or not shape.causal) and (reach is None or abs(i - j) <= reach):
                    flops += 2 * 2 * shape.heads * d  # a score, and its share of the sum over the values
            matrices = 3 if shape.gated_mlp else 2
            if layer in shape.expert_layers:
                flops += 2 * h * shape.experts
                flops += shape.experts_per_token * matrices * 2 * h * shape.expert_intermediate
            else:
                flops += matrices * 2 * h * shape.intermediate
    return flops


texts = st.integers(1, 9)
shapes = st.sampled_from(sorted(SHAPES))


@given(shapes, texts)
def test_the_enumeration_is_the_closed_form(name: str, length: int) -> None:
    assert enumerated(SHAPES[name], length) == forward_flops(SHAPES[name], [length]).total


@given(shapes, texts)
def test_trimmed_by_enumeration(name: str, length: int) -> None:
    shape = SHAPES[name]
    saved = enumerated(shape, length) - enumerated(shape, length, trim=True)
    assert trimmed_flops(shape, length) == saved


@given(shapes.filter(lambda name: SHAPES[name].causal), texts, st.data())
def test_reused_by_enumeration(name: str, length: int, data: st.DataObject) -> None:
    shape, prefix = SHAPES[name], data.draw(st.integers(0, length - 1))
    rest = enumerated(shape, length, skipped=prefix)
    assert reused_flops(shape, prefix, length) == enumerated(shape, length) - rest
    trimmed = enumerated(shape, length, skipped=prefix, trim=True)
    assert trimmed_flops(shape, length, prefix) == rest - trimmed


@given(shapes, texts)
def test_nothing_saved_exceeds_what_there_was(name: str, length: int) -> None:
    shape = SHAPES[name]
    total = forward_flops(shape, [length]).total
    assert 0 <= trimmed_flops(shape, length) < total
    assert trimmed_flops(shape, 1) == 0
    if shape.causal:
        assert 0 <= reused_flops(shape, length - 1, length) + trimmed_flops(shape, length, length - 1) < total


def test_a_static_model_has_no_layer_to_trim() -> None:
    static = shape_from_config({"model_type": "model2vec", "hidden_dim": 4, "vocab_size": 9}, "potion")
    assert trimmed_flops(static, 5) == 0


@pytest.mark.parametrize(("prefix", "length"), [(3, 3), (4, 3), (-1, 3), (0, 0)])
def test_a_prefix_is_shorter_than_its_text(prefix: int, length: int) -> None:
    with pytest.raises(InputError, match="shorter"):
        reused_flops(CAUSAL, prefix, length)
    with pytest.raises(InputError, match="shorter"):
        trimmed_flops(CAUSAL, length, prefix)


def test_only_a_causal_model_has_a_prefix_to_reuse() -> None:
    both = SHAPES["both ways"]
    with pytest.raises(InputError, match=r"both ways.*causal"):
        reused_flops(both, 2, 5)
    with pytest.raises(InputError, match=r"both ways.*causal"):
        trimmed_flops(both, 5, 2)
