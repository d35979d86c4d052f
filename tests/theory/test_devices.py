"""StepTimes: exact at its grid points, and rising beyond them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.theory.devices import StepTimes
from makers import make_model_calibration

LENGTHS, TOKENS = (16, 64, 256), (64, 512, 4096)
TIMES = StepTimes(
    lengths=LENGTHS,
    step_tokens=TOKENS,
    seconds=tuple(tuple(1e-3 + 2e-5 * n * (1 + length / 500) for n in TOKENS) for length in LENGTHS),
)


def test_exact_at_the_grid_points() -> None:
    for i, length in enumerate(LENGTHS):
        for j, tokens in enumerate(TOKENS):
            if tokens % length == 0:
                assert TIMES.step_s(tokens // length, length) == pytest.approx(TIMES.seconds[i][j], rel=1e-12)


@given(st.integers(1, 400), st.integers(1, 1024), st.integers(1, 100))
def test_a_larger_batch_takes_longer_within_and_beyond_the_grid(batch: int, length: int, more: int) -> None:
    assert 0 < TIMES.step_s(batch, length) < TIMES.step_s(batch + more, length)


@given(st.integers(1, 2000))
def test_longer_texts_take_longer_at_the_same_number_of_tokens(factor: int) -> None:
    assert TIMES.step_s(factor * 8, 16) < TIMES.step_s(factor, 128)


@given(st.integers(1, 1000))
def test_beyond_the_largest_step_the_rate_stays(factor: int) -> None:
    """Even where noise made the largest measured step hardly slower than the one before."""
    noisy = StepTimes((64,), (512, 4096), ((0.1, 0.11),))
    assert noisy.step_s(64 * factor, 64) == pytest.approx(0.11 * factor)


def test_a_grid_of_one_point_is_a_constant_rate_from_there() -> None:
    times = StepTimes((32,), (128,), ((0.5,),))
    assert times.step_s(1, 99) == pytest.approx(0.5)
    assert times.step_s(8, 32) == pytest.approx(1.0)


def test_best_step_tokens_is_the_smallest_within_tolerance() -> None:
    flat = make_model_calibration(
        step_times=StepTimes((32,), (100, 200, 400), ((2.0, 2.02, 4.0),)), new_shape_s=0.0
    )
    assert flat.best_step_tokens() == 200
    assert flat.best_step_tokens(tolerance=0.6) == 100


def test_best_step_tokens_counts_the_cost_of_new_shapes() -> None:
    even = StepTimes((32,), (100, 200, 400), ((1.0, 2.0, 4.0),))
    assert make_model_calibration(step_times=even, new_shape_s=0.0).best_step_tokens() == 100
    assert make_model_calibration(step_times=even, new_shape_s=1.0).best_step_tokens() == 400
