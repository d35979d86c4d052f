"""A fleet that follows the load a cold start ahead."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.planning.day import following_replicas


def one_per_ten(rate: float) -> int:
    return ceil(rate / 10)


def test_replicas_are_there_a_cold_start_before_they_are_needed_and_go_with_the_load() -> None:
    rates = [5.0, 5.0, 5.0, 35.0, 5.0, 0.0]
    assert following_replicas(rates, 60.0, 0.0, one_per_ten) == (1, 1, 1, 4, 1, 1)
    assert following_replicas(rates, 60.0, 90.0, one_per_ten) == (1, 4, 4, 4, 1, 1)


def test_a_rate_that_no_fleet_serves_is_said() -> None:
    assert following_replicas([1.0, 2.0], 60.0, 0.0, lambda rate: None if rate > 1 else 1) is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30), st.floats(0, 600), st.floats(0, 600))
def test_between_the_load_and_the_peak(rates: list[float], cold: float, colder: float) -> None:
    """Never fewer than the moment takes, never more than the peak; a longer cold start never takes fewer."""
    found = following_replicas(rates, 60.0, cold, one_per_ten)
    longer = following_replicas(rates, 60.0, cold + colder, one_per_ten)
    assert found is not None
    assert longer is not None
    for rate, count, more in zip(rates, found, longer, strict=True):
        assert max(1, one_per_ten(rate)) <= count <= more <= max(1, one_per_ten(max(rates)))


@pytest.mark.parametrize(
    ("rates", "interval", "cold", "message"),
    [
        ([], 60.0, 0.0, "without rates"),
        ([1.0], 0.0, 0.0, "interval"),
        ([1.0], 60.0, -1.0, "cold start is -1"),
    ],
)
def test_bad_input(rates: list[float], interval: float, cold: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        following_replicas(rates, interval, cold, one_per_ten)
