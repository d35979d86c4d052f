"""Work: a batch priced at its true lengths and at the shape that ran; works add up."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import forward_flops
from farthing.theory.savings import reused_flops, trimmed_flops
from farthing.theory.work import Work, packed_batch_work, padded_batch_work
from makers import TINY_BERT_CONFIG

SHAPE = shape_from_config(
    TINY_BERT_CONFIG | {"intermediate_size": 16, "max_position_embeddings": 64}, "config.json"
)

CAUSAL = replace(SHAPE, causal=True)

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


@given(WORKS)
def test_what_ran_is_useful_and_padded_less_reused_and_trimmed(work: Work) -> None:
    assert (
        work.executed_flops + work.reused_flops + work.trimmed_flops == work.useful_flops + work.padded_flops
    )


@given(LENGTHS, st.booleans())
def test_packing_computes_nothing_beside_the_texts(lengths: list[int], trim: bool) -> None:
    work = packed_batch_work(SHAPE, lengths, trim=trim)
    assert (work.padded_tokens, work.padded_flops, work.reused_tokens, work.reused_flops) == (0, 0, 0, 0)
    assert work.useful_flops == padded_batch_work(SHAPE, lengths).useful_flops
    assert work.trimmed_tokens == (sum(lengths) - len(lengths) if trim else 0)
    assert work.trimmed_flops == (sum(trimmed_flops(SHAPE, length) for length in lengths) if trim else 0)


def test_a_shared_prefix_is_computed_once() -> None:
    work = packed_batch_work(CAUSAL, [10, 12, 7], prefix=5, trim=True)
    assert (work.useful_tokens, work.reused_tokens, work.trimmed_tokens) == (29, 10, 9 + 6 + 1)
    assert work.reused_flops == 2 * forward_flops(CAUSAL, [5]).total == 2 * reused_flops(CAUSAL, 5, 12)
    trimmed = [trimmed_flops(CAUSAL, 10), trimmed_flops(CAUSAL, 12, 5), trimmed_flops(CAUSAL, 7, 5)]
    assert work.trimmed_flops == sum(trimmed)
    # The first text in full, of the others what follows the prefix; then the last layer's rest is cut.
    after = [forward_flops(CAUSAL, [length]).total - forward_flops(CAUSAL, [5]).total for length in (12, 7)]
    assert work.executed_flops == forward_flops(CAUSAL, [10]).total + sum(after) - sum(trimmed)


def test_a_text_that_the_prefix_does_not_fit_in_is_refused() -> None:
    with pytest.raises(InputError, match="prefix of 7 tokens and a text of 7"):
        packed_batch_work(CAUSAL, [7, 9], prefix=7)
    with pytest.raises(InputError, match="both ways"):
        packed_batch_work(SHAPE, [7, 9], prefix=2)
