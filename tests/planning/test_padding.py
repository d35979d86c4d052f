"""Padding waste of the batching policies: by hand, against samples, and in the order that it must have."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.planning.padding import USUAL_BATCH, expected_longest, padding_wastes, waste_of
from farthing.scheduling.batching import Batch
from farthing.theory.lengths import LengthDistribution, counted_lengths, fixed_length, profile_lengths

LENGTHS = st.lists(st.integers(1, 2000), min_size=1, max_size=40).map(lambda n: counted_lengths(n, "test"))


def test_by_hand() -> None:
    assert waste_of([4, 2, 1], [Batch((0, 1), 4), Batch((2,), 1)]) == pytest.approx(1 - 7 / 9)
    assert waste_of([3, 3], [Batch((0, 1), 3)]) == 0


def test_longest_of_two_coins() -> None:
    coin = LengthDistribution((1, 3), (0.5, 0.5), "test")
    assert expected_longest(coin, 1) == pytest.approx(2.0)
    assert expected_longest(coin, 2) == pytest.approx(0.25 * 1 + 0.75 * 3)


def test_equal_lengths_waste_nothing() -> None:
    assert all(entry.waste == pytest.approx(0, abs=1e-12) for entry in padding_wastes(fixed_length(100)))


@pytest.mark.parametrize("profile", ["queries", "abstracts", "conversations"])
def test_arrival_order_is_what_a_random_sample_wastes(profile: str) -> None:
    lengths = profile_lengths(profile)
    rng = random.Random(6)
    sample = rng.choices(lengths.lengths, weights=lengths.probabilities, k=USUAL_BATCH * 2000)
    batches = [
        Batch(tuple(range(start, start + USUAL_BATCH)), max(sample[start : start + USUAL_BATCH]))
        for start in range(0, len(sample), USUAL_BATCH)
    ]
    assert padding_wastes(lengths)[0].waste == pytest.approx(waste_of(sample, batches), abs=0.01)


@given(LENGTHS)
def test_wastes_are_shares_and_sorting_does_not_hurt(lengths: LengthDistribution) -> None:
    by_arrival, by_count, packed = padding_wastes(lengths)
    assert all(entry.waste + 1e-12 >= 0 and entry.waste < 1 for entry in (by_arrival, by_count, packed))
    assert by_count.waste <= by_arrival.waste + 0.02  # the sample's quantiles are not the distribution
    assert packed.waste == 0
