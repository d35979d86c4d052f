"""The line through step times, and where larger steps stop paying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.time.saturation import StepLine, fit_step_line, saturation_tokens


@given(st.floats(0.0, 1.0), st.floats(1e-7, 1e-2), st.lists(st.integers(1, 10**6), min_size=2, unique=True))
def test_points_on_a_line_give_the_line(overhead: float, token: float, tokens: list[int]) -> None:
    fitted = fit_step_line([(n, overhead + token * n) for n in tokens])
    for n in (min(tokens), max(tokens)):
        assert fitted.seconds(n) == pytest.approx(overhead + token * n, rel=1e-6)


def test_small_steps_count_as_much_as_large_ones() -> None:
    """An error of 10 % of the largest step would move τ₀ by several times itself if squares were absolute."""
    points = [(n, 1e-3 + 1e-5 * n) for n in (8, 16, 32, 64, 10_000)]
    points[-1] = (10_000, points[-1][1] * 1.1)
    assert fit_step_line(points).overhead_s == pytest.approx(1e-3, rel=0.05)


def test_overhead_is_never_negative() -> None:
    line = fit_step_line([(10, 0.5e-3), (100, 10e-3), (1000, 120e-3)])
    assert line.overhead_s == 0
    assert 50e-6 < line.token_s < 120e-6
    assert saturation_tokens(line) == 0


@given(st.floats(1e-6, 1.0), st.floats(1e-8, 1e-2))
def test_saturation_is_where_the_throughput_is_95_percent(overhead: float, token: float) -> None:
    line = StepLine(overhead, token)
    tokens = saturation_tokens(line)
    assert tokens / line.seconds(tokens) == pytest.approx(0.95 / token)
    assert tokens == pytest.approx(19 * overhead / token)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="two different"):
        fit_step_line([(8, 1.0), (8, 1.1)])
    with pytest.raises(InputError, match="do not grow"):
        fit_step_line([(8, 1.0), (16, 0.5)])
    with pytest.raises(InputError, match="above 0"):
        fit_step_line([(8, 0.0), (16, 0.5)])
    with pytest.raises(InputError, match="step line of"):
        StepLine(-1.0, 1.0)
