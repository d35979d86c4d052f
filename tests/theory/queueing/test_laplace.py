"""Laplace inversion: functions whose transforms are known come back."""

from __future__ import annotations

import cmath
import math

import pytest

from farthing.theory.queueing.laplace import EULER_AVERAGED, euler_weights, inverted


@pytest.mark.parametrize("t", [1e-3, 0.1, 1.0, 7.0])
def test_smooth_functions_come_back(t: float) -> None:
    assert inverted(lambda s: 1 / (s + 1), t) == pytest.approx(math.exp(-t), abs=1e-7)
    assert inverted(lambda s: 1 / (s + 1) ** 2, t) == pytest.approx(t * math.exp(-t), abs=1e-7)
    assert inverted(lambda s: 1 / s, t) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("t", [0.5, 0.99, 1.5, 3.0])
def test_a_corner_is_only_roughly_inverted(t: float) -> None:
    ramp = inverted(lambda s: cmath.exp(-s) / s**2, t)
    assert ramp == pytest.approx(max(0.0, t - 1), abs=0.01)


def test_weights_alternate_and_fade() -> None:
    weights = euler_weights(5)
    assert len(weights) == 1 + 5 + EULER_AVERAGED
    assert weights[0] == 0.5
    assert all(w < 0 if k % 2 else w > 0 for k, w in enumerate(weights))
    assert [abs(w) for w in weights[1:6]] == [1] * 5
    assert abs(weights[-1]) == pytest.approx(2.0**-EULER_AVERAGED)
