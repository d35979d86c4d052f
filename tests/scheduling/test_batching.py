"""Batching: every text once, within the budget, longest first, hardly any padding."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from farthing.scheduling.batching import SMALLEST_SPLIT_TOKENS, Batch, batches_by_length

LENGTHS = st.lists(st.integers(1, 600), max_size=200)
BUDGETS = st.integers(1, 2048)
STREAMS = st.integers(1, 16)


@given(LENGTHS, BUDGETS, STREAMS)
def test_every_index_exactly_once(lengths: list[int], budget: int, streams: int) -> None:
    rows = [row for batch in batches_by_length(lengths, budget, streams) for row in batch.rows]
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS, STREAMS)
def test_within_the_budget_except_for_a_lone_long_text(lengths: list[int], budget: int, streams: int) -> None:
    for batch in batches_by_length(lengths, budget, streams):
        assert batch.length == max(lengths[row] for row in batch.rows)
        assert batch.tokens == batch.length * len(batch.rows)
        assert batch.tokens <= budget or len(batch.rows) == 1


@given(LENGTHS, BUDGETS, STREAMS)
def test_longest_first_and_like_lengths_together(lengths: list[int], budget: int, streams: int) -> None:
    batches = batches_by_length(lengths, budget, streams)
    in_order = [lengths[row] for batch in batches for row in batch.rows]
    assert in_order == sorted(lengths, reverse=True)


@given(LENGTHS, BUDGETS, STREAMS)
def test_no_step_is_left_emptier_than_need_be(lengths: list[int], budget: int, streams: int) -> None:
    """The next text would not have fitted, so a job is not cut into more steps than it takes."""
    share = -(-sum(lengths) // streams)
    aim = max(min(budget, share), min(SMALLEST_SPLIT_TOKENS, budget))
    for batch in batches_by_length(lengths, budget, streams)[:-1]:
        assert batch.tokens + batch.length > aim


@given(st.lists(st.integers(1, 60), min_size=64, max_size=300), st.integers(2, 8))
def test_a_small_job_is_spread_over_the_streams(lengths: list[int], streams: int) -> None:
    batches = batches_by_length(lengths, 10**9, streams)
    if sum(lengths) >= streams * SMALLEST_SPLIT_TOKENS:
        assert len(batches) >= streams
    share = -(-sum(lengths) // streams)
    assert all(batch.tokens <= max(share, SMALLEST_SPLIT_TOKENS) for batch in batches)


def test_two_streams_get_half_each() -> None:
    assert batches_by_length([100] * 8, 1024, 2) == [Batch((0, 1, 2, 3), 100), Batch((4, 5, 6, 7), 100)]
    assert batches_by_length([100] * 8, 1024, 1) == [Batch(tuple(range(8)), 100)]


def test_a_tiny_job_is_not_split_below_what_a_step_is_worth() -> None:
    assert batches_by_length([10, 10, 10, 10], 1024, 4) == [Batch((0, 1, 2, 3), 10)]
    assert len(batches_by_length([10] * 4, 20, 4)) == 2


def test_a_long_text_runs_alone() -> None:
    assert batches_by_length([3, 900, 4], 512, 1) == [Batch((1,), 900), Batch((2, 0), 4)]


def test_equal_lengths_keep_their_order() -> None:
    assert batches_by_length([5, 5, 5], 10, 1) == [Batch((0, 1), 5), Batch((2,), 5)]


def test_nothing_to_do() -> None:
    assert batches_by_length([], 1024, 2) == []


def test_a_ragged_window_is_hardly_padded() -> None:
    generator = random.Random(0)
    lengths = [min(256, max(3, round(generator.lognormvariate(4, 1)))) for _ in range(8192)]
    batches = batches_by_length(lengths, 1024, 2)
    executed = sum(batch.tokens for batch in batches)
    assert executed <= 1.01 * sum(lengths)
    # In the order of the input, the same steps would be mostly padding.
    in_order = sum(8 * max(lengths[n : n + 8]) for n in range(0, len(lengths), 8))
    assert in_order > 1.5 * sum(lengths)
    # And the steps are well filled.
    assert len(batches) <= 1.15 * executed / 1024
