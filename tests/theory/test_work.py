"""Work: a step priced at its texts' true lengths and at what ran, in all and text by text; works add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enumerated import SHAPES, LastLayer, enumerated
from farthing.errors import InputError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import forward_flops
from farthing.theory.work import StepWork, Work, WorkCounter
from makers import TINY_BERT

CAUSAL = replace(TINY_BERT, causal=True)
TOKEN = 2 * (4 * 8 * 8 + 2 * 8 * 20)
"""FLOPs of one token in the products of one layer of the tiny BERT: Q, K, V, O of 8 · 8, up and down of 8 · 20."""
KEPT = 2 * (2 * 8 * 8 + 2 * 8 * 20)
"""Those that a trimmed layer leaves out: all but K and V."""
PAIR = 4 * 8
"""FLOPs of one token attending to one other, in one layer: a score and a share of the values, of width 8."""

WORKS = st.builds(Work, **dict.fromkeys(Work._fields, st.integers(0, 10**15)))


@dataclass(frozen=True)
class Step:
    """A step of some model, and the arguments that it was made with."""

    shape: str
    trim: bool
    lengths: Sequence[int]
    options: dict[str, Any]

    @property
    def work(self) -> StepWork:
        return WorkCounter(SHAPES[self.shape], trim=self.trim).step(self.lengths, **self.options)

    @property
    def own(self) -> list[int]:
        return [length - self.options["prefix"] for length in self.lengths]

    @property
    def filler(self) -> Sequence[int]:
        filler: Sequence[int] = self.options["filler"]
        return filler


@st.composite
def steps(draw: st.DrawFn, packed: bool = False) -> Step:
    name, trim = draw(st.sampled_from(sorted(SHAPES))), draw(st.booleans())
    prefix = draw(st.integers(0, 5)) if SHAPES[name].causal else 0
    own = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    filler = [] if packed else draw(st.lists(st.integers(1, 7), max_size=3))
    grid = 0 if packed else draw(st.just(0) | st.integers(max([*own, *filler]), 10))
    options = {
        "prefix": prefix,
        "prefix_made": bool(prefix) and draw(st.booleans()),
        "grid": grid,
        "dense": bool(grid) and draw(st.booleans()),
        "filler": filler,
    }
    return Step(name, trim, [prefix + length for length in own], options)


def test_texts_without_padding_by_hand() -> None:
    step = WorkCounter(TINY_BERT, trim=False).step([3, 5, 1])
    flops = [2 * (TOKEN * n + PAIR * n * n) for n in (3, 5, 1)]
    assert step.each() == [
        Work(useful_tokens=n, useful_flops=f) for n, f in zip((3, 5, 1), flops, strict=True)
    ]
    assert step.total == Work(useful_tokens=9, useful_flops=sum(flops))
    assert step.total.executed_flops == sum(flops)


def test_attention_on_a_grid_by_hand() -> None:
    """Of 4 · 4 places in each of two layers, 3 · 3 attend in one text and 4 · 4 in the other."""
    step = WorkCounter(TINY_BERT, trim=False).step([3, 4], grid=4)
    assert [one.padded_flops for one in step.each()] == [2 * PAIR * (16 - 9), 0]
    assert step.total.padded_tokens == 0
    assert step.total.executed_flops == 2 * (TOKEN * 7 + PAIR * 32)


def test_a_dense_grid_by_hand() -> None:
    step = WorkCounter(TINY_BERT, trim=False).step([3, 4], grid=5, dense=True)
    assert [one.padded_tokens for one in step.each()] == [2, 1]
    assert step.total.executed_flops == 2 * (TOKEN * 10 + PAIR * 50)


def test_a_trimmed_dense_grid_by_hand() -> None:
    """The last layer makes keys and values of all places, and the rest of one token."""
    step = WorkCounter(TINY_BERT, trim=True).step([3], grid=5, dense=True)
    first, last = TOKEN * 5 + PAIR * 25, (TOKEN - KEPT) * 5 + KEPT + PAIR * 5
    assert step.total.executed_flops == first + last
    assert step.total.trimmed_tokens == 2
    assert step.total.trimmed_flops == KEPT * 2 + PAIR * (9 - 3)
    assert step.total.padded_flops == first + last - 2 * (TOKEN * 3 + PAIR * 9) + step.total.trimmed_flops


def test_a_reused_prefix_by_hand() -> None:
    """Two texts of 4 and 3 tokens, both behind 2 that are reused: of 10 pairs and of 6, 3 are the prefix's own."""
    reused = 2 * (TOKEN * 2 + PAIR * 3)
    step = WorkCounter(CAUSAL, trim=False).step([4, 3], prefix=2)
    assert step.total == Work(
        useful_tokens=7,
        reused_tokens=4,
        useful_flops=2 * (TOKEN * 7 + PAIR * 16),
        reused_flops=2 * reused,
    )
    assert [one.executed_flops for one in step.each()] == [2 * (TOKEN * 2 + PAIR * 7), 2 * (TOKEN + PAIR * 3)]
    # Made now, it takes back its tokens and all its FLOPs but the last layer's, which makes keys and values alone.
    made = step._replace(prefix_made=True)
    assert made.total.reused_tokens == 2
    assert made.total.executed_flops - step.total.executed_flops == reused - KEPT * 2 - PAIR * 3
    first, second = (
        after.reused_flops - before.reused_flops
        for after, before in zip(made.each(), step.each(), strict=True)
    )
    assert first + second == KEPT * 2 + PAIR * 3 - reused
    assert abs(first - second) <= 1


def test_filler_by_hand() -> None:
    """Five tokens that nobody asked for, three for the one text and two for the other."""
    step = WorkCounter(CAUSAL, trim=False).step([4, 4], filler=[2, 3])
    assert sorted(one.padded_tokens for one in step.each()) == [2, 3]
    assert step.total.padded_flops == 2 * (TOKEN * 5 + PAIR * (3 + 6))
    trimmed = WorkCounter(CAUSAL, trim=True).step([4, 4], filler=[2, 3])
    assert trimmed.total.padded_flops == TOKEN * 5 + PAIR * 9 + (TOKEN - KEPT) * 5 + KEPT * 2 + PAIR * 5


def test_a_static_model_has_tokens_and_no_flops() -> None:
    static = shape_from_config({"model_type": "model2vec", "hidden_dim": 4, "vocab_size": 9}, "potion")
    step = WorkCounter(static, trim=False).step([3, 5])
    assert step.each() == [Work(useful_tokens=3), Work(useful_tokens=5)]
    assert step.total == Work(useful_tokens=8)


@given(steps())
def test_the_texts_are_the_total(step: Step) -> None:
    each = step.work.each()
    assert len(each) == len(step.lengths)
    assert sum(each, Work()) == step.work.total
    assert [one.useful_tokens for one in each] == list(step.lengths)


@given(steps())
def test_what_ran_by_enumeration(step: Step) -> None:
    shape, last = SHAPES[step.shape], _last(step)
    prefix, grid, dense = (step.options[name] for name in ("prefix", "grid", "dense"))
    flops = sum(
        enumerated(shape, length, skipped=prefix, last=last, grid=grid, dense=dense)
        for length in (*step.lengths, *(prefix + length for length in step.filler))
    )
    flops += enumerated(shape, prefix, last="keys and values") if step.options["prefix_made"] else 0
    assert step.work.total.executed_flops == flops


@given(steps())
def test_what_was_asked_for_does_not_depend_on_how_it_ran(step: Step) -> None:
    total = step.work.total
    assert total.useful_tokens == sum(step.lengths)
    assert total.useful_flops == forward_flops(SHAPES[step.shape], step.lengths).total
    assert [one.useful_flops for one in step.work.each()] == [
        forward_flops(SHAPES[step.shape], [length]).total for length in step.lengths
    ]


@given(steps())
def test_places_and_tokens(step: Step) -> None:
    total, grid = step.work.total, step.options["grid"]
    ran = sum(step.own) + sum(step.filler)
    if step.options["dense"]:
        ran = grid * (len(step.lengths) + len(step.filler))
    assert total.padded_tokens == ran - sum(step.own)
    assert total.reused_tokens == step.options["prefix"] * (len(step.lengths) - step.options["prefix_made"])
    assert total.trimmed_tokens == (sum(step.own) - len(step.lengths) if step.trim else 0)
    assert min(total.padded_flops, total.reused_flops, total.trimmed_flops) >= 0


@given(steps(packed=True))
def test_texts_that_run_as_long_as_they_are_have_no_padding(step: Step) -> None:
    assert (step.work.total.padded_tokens, step.work.total.padded_flops) == (0, 0)
    assert [one.padded_flops for one in step.work.each()] == [0] * len(step.lengths)


@given(steps(packed=True))
def test_alone_or_together_is_the_same_work(step: Step) -> None:
    alone = Work()
    options = step.options | {"prefix_made": False}
    for length in step.lengths:
        alone += replace(step, lengths=[length], options=options).work.total
    assert alone == replace(step, options=options).work.total


@given(steps())
def test_a_text_pays_its_own_row_and_an_equal_part_of_what_all_share(step: Step) -> None:
    """Whatever runs beside it: a long text makes a short one's grid wider, and no more than that."""
    each = step.work.each()
    options = step.options | {"prefix_made": False, "filler": []}
    for length, one in zip(step.lengths, each, strict=True):
        own = replace(step, lengths=[length], options=options).work.total
        shared = step.work.total.executed_flops - sum(
            replace(step, lengths=[other], options=options).work.total.executed_flops
            for other in step.lengths
        )
        assert 0 <= one.executed_flops - own.executed_flops - shared // len(step.lengths) <= 2


@given(steps())
def test_done_again_is_padding_and_costs_the_same(step: Step) -> None:
    total = step.work.total
    again = total.again()
    assert again == Work(padded_tokens=again.padded_tokens, padded_flops=total.executed_flops)
    assert again.executed_flops == total.executed_flops
    ran = sum(step.own) + total.padded_tokens + step.options["prefix"] * step.options["prefix_made"]
    assert again.padded_tokens == ran
    assert sum((one.again() for one in step.work.each()), Work()) == again


@given(WORKS, WORKS, WORKS)
def test_works_add_field_by_field_in_any_order(a: Work, b: Work, c: Work) -> None:
    assert a + Work() == a
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    for name in Work._fields:
        assert getattr(a + b, name) == getattr(a, name) + getattr(b, name)


@given(WORKS)
def test_what_ran_is_useful_and_padded_less_reused_and_trimmed(work: Work) -> None:
    assert (
        work.executed_flops + work.reused_flops + work.trimmed_flops == work.useful_flops + work.padded_flops
    )


@pytest.mark.parametrize(
    ("lengths", "prefix", "said"),
    [
        ([7, 9], 7, "prefix of 7 tokens and a text of 7"),
        ([9, 7], 8, "prefix of 8 tokens and a text of 7"),
        ([3, 0], 0, "a text of 0"),
        ([3], -1, "prefix of -1"),
    ],
)
def test_a_step_that_cannot_have_run_is_refused(lengths: list[int], prefix: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        WorkCounter(CAUSAL, trim=True).step(lengths, prefix=prefix)


def test_a_prefix_of_a_model_that_attends_both_ways_is_refused() -> None:
    with pytest.raises(InputError, match="both ways"):
        WorkCounter(TINY_BERT, trim=True).step([7, 9], prefix=2)


def _last(step: Step) -> LastLayer:
    return "pooled" if step.trim else "all"
