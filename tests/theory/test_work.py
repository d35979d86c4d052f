"""Work: a batch priced at its true lengths and at the shape that ran; works add up."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.theory.families import shape_from_config
from farthing.theory.flops import forward_flops
from farthing.theory.work import Work, padded_batch_work

SHAPE = shape_from_config(
    {
        "model_type": "bert",
        "vocab_size": 100,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
    },
    "config.json",
)

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=20)
WORKS = st.builds(Work, **{f.name: st.integers(0, 10**15) for f in fields(Work)})


def test_a_batch_by_hand() -> None:
    work = padded_batch_work(SHAPE, [3, 5, 1])
    assert (work.useful_tokens, work.padded_tokens) == (9, 6)
    assert (work.reused_tokens, work.trimmed_tokens) == (0, 0)
    # Linear, per token: 2 layers of QKVO 4·2·8·8 and MLP 2·2·8·16; attention: 2 layers of 4·S²·8.
    assert work.useful_flops == 9 * 2 * (4 * 2 * 8 * 8 + 2 * 2 * 8 * 16) + 2 * 4 * 8 * (9 + 25 + 1)
    assert work.executed_flops == 15 * 2 * (4 * 2 * 8 * 8 + 2 * 2 * 8 * 16) + 2 * 4 * 8 * 3 * 25


@given(LENGTHS)
def test_what_ran_covers_what_was_asked_for(lengths: list[int]) -> None:
    work = padded_batch_work(SHAPE, lengths)
    assert work.useful_tokens == sum(lengths)
    assert work.useful_tokens + work.padded_tokens == max(lengths) * len(lengths)
    assert work.useful_flops == sum(forward_flops(SHAPE, [length]).total for length in lengths)
    assert work.executed_flops >= work.useful_flops
    assert (work.executed_flops == work.useful_flops) == (len(set(lengths)) == 1)


@given(LENGTHS)
def test_one_text_at_a_time_is_the_same_useful_work_without_padding(lengths: list[int]) -> None:
    together = padded_batch_work(SHAPE, lengths)
    alone = Work()
    for length in lengths:
        alone += padded_batch_work(SHAPE, [length])
    assert (alone.useful_tokens, alone.useful_flops) == (together.useful_tokens, together.useful_flops)
    assert alone.padded_tokens == 0
    assert alone.executed_flops == alone.useful_flops


@given(WORKS, WORKS, WORKS)
def test_works_add_field_by_field_in_any_order(a: Work, b: Work, c: Work) -> None:
    assert a + Work() == a
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    for f in fields(Work):
        assert getattr(a + b, f.name) == getattr(a, f.name) + getattr(b, f.name)


def test_an_empty_batch_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="empty"):
        padded_batch_work(SHAPE, [])
