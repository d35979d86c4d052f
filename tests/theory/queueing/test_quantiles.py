"""Quantiles from tails: smooth ones, jumps, plateaus, and what is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.queueing.quantiles import LEAST_PROBABILITY, tail_quantile


@given(
    rate=st.floats(1e-6, 1e6),
    probability=st.floats(LEAST_PROBABILITY, 0.999),
    step=st.floats(1e-3, 1e3),
)
def test_exponential_tail(rate: float, probability: float, step: float) -> None:
    found = tail_quantile(lambda t: math.exp(-rate * t), probability, 0.0, step / rate)
    assert found == pytest.approx(-math.log(probability) / rate, rel=2e-5, abs=2e-6 / rate)


def staircase(jumps: list[tuple[float, float]], t: float) -> float:
    """Return a tail that falls by the given sizes at the given times, and smoothly between them."""
    left = 1 - sum(size for _, size in jumps)
    return left * math.exp(-t) + sum(size for at, size in jumps if at > t)


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.001, 0.09)), max_size=10, unique_by=lambda j: j[0]),
    st.floats(1e-4, 0.9),
)
def test_jumps_are_found_with_and_without_being_told(
    jumps: list[tuple[float, float]], probability: float
) -> None:
    jumps.sort()
    for told in (jumps, []):
        found = tail_quantile(lambda t: staircase(jumps, t), probability, 0.0, 1.0, told)
        assert staircase(jumps, found * (1 + 2e-5) + 1e-12) <= probability * (1 + 2e-6)
        assert staircase(jumps, found * (1 - 2e-5) - 1e-12) >= probability * (1 - 2e-6)


def test_a_jump_that_is_told_is_exact_and_cheap() -> None:
    calls = []
    jumps = [(1.0, 0.5), (2.0, 0.2), (3.3, 0.28)]

    def tail(t: float) -> float:
        calls.append(t)
        return staircase(jumps, t)

    assert tail_quantile(tail, 0.01, 0.0, 1.0, jumps) == 3.3
    assert len(calls) <= 7


def test_it_begins_at_low() -> None:
    assert tail_quantile(lambda t: 0.005, 0.01, 2.5, 1.0) == 2.5


@pytest.mark.parametrize("probability", [1e-7, 0.0, -1.0, math.nan])
def test_what_an_inversion_cannot_tell_is_refused(probability: float) -> None:
    with pytest.raises(InputError, match="give at most"):
        tail_quantile(lambda t: math.exp(-t), probability, 0.0, 1.0)
