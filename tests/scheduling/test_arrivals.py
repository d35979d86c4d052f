"""Arrivals: what is no stream of texts is refused, and traces and draws are what they say."""

from __future__ import annotations

import random

import pytest

from drawn_arrivals import poisson_times
from farthing.errors import InputError
from farthing.scheduling.arrivals import Arrivals, trace_times


def test_no_texts_sequences_that_differ_and_falling_times_are_refused() -> None:
    with pytest.raises(InputError, match="sequences of"):
        Arrivals([], [])
    with pytest.raises(InputError, match="sequences of"):
        Arrivals([0.0], [1.0, 2.0])
    with pytest.raises(InputError, match="sequences of"):
        Arrivals([0.0], [1.0], [0, 1])
    with pytest.raises(InputError, match="order of arrival"):
        Arrivals([1.0, 0.0], [1.0, 1.0])


def test_rates_and_traces_that_cannot_be() -> None:
    with pytest.raises(InputError, match="above 0"):
        poisson_times(0.0, 5, random.Random(0))
    with pytest.raises(InputError, match="in order"):
        trace_times([1.0, 0.5])
    with pytest.raises(InputError, match="rate above 0"):
        trace_times([0.0, 0.5], 0.0)


def test_a_trace_starts_at_zero_and_is_stretched() -> None:
    assert trace_times([5.0, 6.0, 9.0]) == [0.0, 1.0, 4.0]
    assert trace_times([5.0, 6.0, 9.0], 4.0) == [0.0, 0.125, 0.5]
