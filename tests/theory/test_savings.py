"""Reused and trimmed FLOPs against a pass that is enumerated token by token, layer by layer, pair by pair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumerated import CAUSAL, SHAPES, enumerated
from farthing.errors import InputError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import forward_flops
from farthing.theory.savings import kept_block_flops, prefix_flops, reused_flops, trimmed_flops
from makers import TINY_BERT

texts = st.integers(1, 9)
shapes = st.sampled_from(sorted(SHAPES))
causal = shapes.filter(lambda name: SHAPES[name].causal)


@given(shapes, texts)
def test_the_enumeration_is_the_closed_form(name: str, length: int) -> None:
    assert enumerated(SHAPES[name], length) == forward_flops(SHAPES[name], [length]).total


@given(shapes, texts)
def test_trimmed_by_enumeration(name: str, length: int) -> None:
    shape = SHAPES[name]
    saved = enumerated(shape, length) - enumerated(shape, length, last="pooled")
    assert trimmed_flops(shape, length) == saved


@given(causal, texts, st.data())
def test_reused_by_enumeration(name: str, length: int, data: st.DataObject) -> None:
    shape, prefix = SHAPES[name], data.draw(st.integers(0, length - 1))
    rest = enumerated(shape, length, skipped=prefix)
    assert reused_flops(shape, prefix, length) == enumerated(shape, length) - rest
    trimmed = enumerated(shape, length, skipped=prefix, last="pooled")
    assert trimmed_flops(shape, length, prefix) == rest - trimmed


@given(causal, texts)
def test_a_prefix_is_made_without_what_only_a_vector_needs(name: str, prefix: int) -> None:
    shape = SHAPES[name]
    assert prefix_flops(shape, prefix) == enumerated(shape, prefix, last="keys and values")
    # So one that is made and reused once costs a little less than a text that computes it as its own.
    assert 0 < prefix_flops(shape, prefix) < reused_flops(shape, prefix, prefix + 1)


def test_a_last_layer_by_hand() -> None:
    """A BERT of width 8 with an MLP of 20: Q and O of 8 · 8, up and down of 8 · 20, two FLOPs each."""
    assert kept_block_flops(TINY_BERT) == 2 * (2 * 8 * 8 + 2 * 8 * 20)
    # Four of five tokens have none of that, nor their 4 · 5 pairs of attention.
    assert trimmed_flops(TINY_BERT, 5) == 4 * kept_block_flops(TINY_BERT) + 4 * 20 * 8


def test_experts_of_the_last_layer_count_where_it_has_them() -> None:
    """Width 6, two of five experts of three matrices to 3, and the router."""
    attention = 2 * 2 * 6 * 8
    assert kept_block_flops(SHAPES["causal with experts"]) == attention + 2 * (2 * 3 * 6 * 3 + 6 * 5)
    assert kept_block_flops(CAUSAL) == attention + 2 * 3 * 6 * 7


@given(shapes, texts)
def test_nothing_saved_exceeds_what_there_was(name: str, length: int) -> None:
    shape = SHAPES[name]
    total = forward_flops(shape, [length]).total
    assert 0 <= trimmed_flops(shape, length) < total
    assert trimmed_flops(shape, 1) == 0
    if shape.causal:
        assert 0 <= reused_flops(shape, length - 1, length) + trimmed_flops(shape, length, length - 1) < total


def test_nothing_to_save() -> None:
    static = shape_from_config({"model_type": "model2vec", "hidden_dim": 4, "vocab_size": 9}, "potion")
    assert (trimmed_flops(static, 5), prefix_flops(static, 0)) == (0, 0)
    assert (reused_flops(CAUSAL, 0, 5), prefix_flops(CAUSAL, 0)) == (0, 0)


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
