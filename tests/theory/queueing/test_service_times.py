"""Service times: moments, quantiles, merging, the truncated lognormal, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.queueing.service_times import (
    ServiceTimes,
    constant,
    from_weights,
    truncated_lognormal,
)

weights = st.dictionaries(st.floats(1e-3, 1e3), st.floats(1e-3, 1.0), min_size=1, max_size=60)


def moment(service: ServiceTimes, order: int) -> float:
    return math.fsum(p * d**order for d, p in zip(service.seconds, service.probabilities, strict=True))


def test_moments_of_two_values() -> None:
    service = from_weights({1.0: 3, 5.0: 1})
    assert service.probabilities == (0.75, 0.25)
    assert service.mean_s == pytest.approx(2)
    assert service.second_moment_s2 == pytest.approx(7)
    assert service.cv2 == pytest.approx(0.75)
    assert service.longest_s == 5
    assert constant(0.3).cv2 == 0


def test_quantiles_of_two_values() -> None:
    service = from_weights({1.0: 3, 5.0: 1})
    assert [service.quantile_s(p) for p in (0, 0.75, 0.76, 1)] == [1, 1, 5, 5]
    with pytest.raises(InputError, match=r"quantile 1\.5"):
        service.quantile_s(1.5)


@pytest.mark.parametrize(
    ("seconds", "probabilities", "named"),
    [
        ((), (), "0 values"),
        ((1.0, 2.0), (1.0,), "2 values with 1 probabilities"),
        ((0.0, 1.0), (0.5, 0.5), "seconds above 0"),
        ((1.0, math.inf), (0.5, 0.5), "seconds above 0 and finite"),
        ((1.0, 1.0), (0.5, 0.5), "do not rise"),
        ((1.0, math.nan, 2.0), (0.4, 0.3, 0.3), "do not rise"),
        ((1.0, 2.0), (0.5, 0.4), r"sum 0\.9"),
        ((1.0, 2.0), (1.1, -0.1), "above 0 of sum 1"),
    ],
)
def test_bad_distributions_are_named(
    seconds: tuple[float, ...], probabilities: tuple[float, ...], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        ServiceTimes(seconds, probabilities)


def test_weights_need_one_above_0() -> None:
    for bad in ({1.0: 0.0}, {}, {1.0: 2.0, 2.0: -1.0}):
        with pytest.raises(InputError, match="weights"):
            from_weights(bad)


@given(weights, st.integers(2, 30))
def test_merging_keeps_three_moments_and_the_range(pairs: dict[float, float], atoms: int) -> None:
    service = from_weights(pairs)
    merged = service.merged(atoms)
    assert len(merged.seconds) <= max(atoms, 2)
    for order in (1, 2, 3):
        assert moment(merged, order) == pytest.approx(moment(service, order), rel=1e-6)
    assert merged.seconds[0] >= service.seconds[0] * (1 - 1e-9)
    assert merged.longest_s <= service.longest_s * (1 + 1e-9)


def test_merging_into_one_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        constant(1.0).merged(1)


@given(weights, st.floats(1e-3, 1e3))
def test_scaling_scales(pairs: dict[float, float], factor: float) -> None:
    service = from_weights(pairs)
    scaled = service.scaled(factor)
    assert scaled.mean_s == pytest.approx(factor * service.mean_s)
    assert scaled.cv2 == pytest.approx(service.cv2, abs=1e-9)
    assert scaled.quantile_s(0.9) == factor * service.quantile_s(0.9)


@given(weights, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_rise(pairs: dict[float, float], one: float, other: float) -> None:
    service = from_weights(pairs)
    low, high = sorted((one, other))
    assert service.quantile_s(low) <= service.quantile_s(high)


@pytest.mark.parametrize("cv2", [0.1, 0.9, 4.0])
@pytest.mark.parametrize("cut", [0.5, 2.0, 8.0, 32.0])
def test_truncated_lognormal_has_the_moments_of_its_integral(cv2: float, cut: float) -> None:
    sigma = math.sqrt(math.log1p(cv2))
    z = np.linspace(-12, 12, 400_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    texts = np.minimum(2.0 * np.exp(sigma * z - sigma**2 / 2), cut * 2.0)
    mean, square = (texts * density).sum(), (texts**2 * density).sum()
    service = truncated_lognormal(2.0, cv2, cut)
    assert service.mean_s == pytest.approx(mean, rel=1e-4)
    assert service.cv2 == pytest.approx(square / mean**2 - 1, rel=2e-3)
    assert service.longest_s <= cut * 2.0


@pytest.mark.parametrize("cut", [1e3, 1e6, math.inf])
def test_a_cut_that_nothing_reaches_changes_nothing(cut: float) -> None:
    # The mass that the followed range leaves out once stood at the cut: CV² 1.38 instead of .1.
    service = truncated_lognormal(1.0, 0.1, cut)
    assert service.mean_s == pytest.approx(1, rel=1e-6)
    assert service.cv2 == pytest.approx(0.1, rel=1e-4)


def test_a_cut_below_everything_is_a_constant() -> None:
    assert truncated_lognormal(1.0, 0.01, 0.01) == constant(0.01)


def test_bad_lognormals_are_named() -> None:
    for bad in ((0.0, 1.0, 8.0), (1.0, 0.0, 8.0), (1.0, 1.0, 0.0), (1.0, math.nan, 8.0)):
        with pytest.raises(InputError, match="lognormal of mean"):
            truncated_lognormal(*bad)
