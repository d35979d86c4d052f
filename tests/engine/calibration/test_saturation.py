"""The step limit: found on a device whose step time is a line, by few steps; measured once, and only for large jobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.calibrations import save_calibration, save_model_calibration
from farthing.engine.calibration.kept import best_step_tokens
from farthing.engine.calibration.saturation import measured_steps, saturating_tokens, timed_step
from farthing.engine.contract import Ids, Lane
from farthing.engine.load import EmbeddingModel, load_model
from farthing.engine.machine import library_versions, this_machine
from farthing.errors import EngineError
from farthing.theory.devices import StepTimes
from makers import make_calibration, make_model_calibration
from staged_engine import staged_model


class Device:
    """A device and its clock: a step takes τ₀ + α·tokens, and a shape it has not seen many times as long."""

    def __init__(self, overhead_s: float, token_s: float, first_times: float = 10.0) -> None:
        self.now = 0.0
        self.steps: list[int] = []
        self._overhead_s, self._token_s, self._first_times = overhead_s, token_s, first_times
        self._seen: set[tuple[int, ...]] = set()

    def run(self, texts: Sequence[Ids], past: Any = None) -> Any:
        shape = tuple(map(len, texts))
        self.steps.append(sum(shape))
        step_s = self._overhead_s + self._token_s * sum(shape)
        self.now += step_s if shape in self._seen else self._first_times * step_s
        self._seen.add(shape)
        return SimpleNamespace(failed={})


def measured(device: Device, longest: int) -> list[tuple[int, float]]:
    return measured_steps(cast(Lane, device), 50, longest, lambda: device.now)


@given(st.floats(1e-8, 1e-6), st.floats(0.01, 2000), st.integers(4, 4096))
def test_the_saturation_point_of_a_line(overhead_s: float, overhead_tokens: float, longest: int) -> None:
    """19·τ₀/α (where 5 % more are to be had), wherever the steps tell it: the overhead is up to 2,000 tokens' time."""
    token_s = overhead_s / overhead_tokens
    device = Device(overhead_s, token_s)
    points = measured(device, longest)
    for tokens, seconds in points:
        assert seconds == pytest.approx(overhead_s + token_s * tokens, rel=1e-6)
    assert device.steps == [tokens for tokens, _ in points for _ in range(3)]
    assert points[-1][1] > 4 * points[0][1]
    expected = 19 * overhead_s / token_s
    assert saturating_tokens(points) == pytest.approx(max(1, math.ceil(expected)), rel=1e-3, abs=1)


def test_two_steps_of_a_slow_device_are_enough() -> None:
    assert saturating_tokens([(32, 0.42), (64, 0.74)]) == 190
    assert saturating_tokens([(32, 0.42), (64, 0.53)]) == 8 * 64  # 17 times as far: not from these
    assert saturating_tokens([(32, 0.42)]) == 32


def test_measuring_stops_where_steps_have_grown_or_time_is_up() -> None:
    quick, slow = Device(1e-3, 1e-5), Device(0.1, 0.01)
    grown = measured(quick, 512)
    assert grown[-2][1] <= 4 * grown[0][1] < grown[-1][1]
    assert len(measured(slow, 512)) == 2


def test_compiling_for_a_size_counts_as_no_step() -> None:
    """A card that compiles for seconds at each new size was taken to be saturated by its first step."""
    slow_to_start = Device(1e-4, 1e-7, first_times=100_000)
    points = measured(slow_to_start, 512)
    assert points[-1][0] > 2000
    assert saturating_tokens(points) > 10_000


def test_a_device_that_no_step_fills() -> None:
    device = Device(1e-5, 0.0)
    points = measured(device, 512)
    assert saturating_tokens(points) == points[-1][0] > 10_000


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> EmbeddingModel:
    return load_model(str(tiny_bert))


@pytest.fixture
def _own_calibrations(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model.engine.warm("throughput")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("_own_calibrations")
@pytest.mark.parametrize("step_tokens", [512, 1024, 8192])
def test_a_device_has_a_floor_of_its_own(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch, step_tokens: int
) -> None:
    monkeypatch.setattr(type(model.engine), "step_tokens", step_tokens)
    assert best_step_tokens(model) == step_tokens


@pytest.mark.usefixtures("_own_calibrations")
def test_a_kept_calibration_is_believed(model: EmbeddingModel) -> None:
    machine = make_calibration(machine=this_machine().identity, versions=library_versions())
    times = StepTimes((8, 64), (300, 600, 900), ((3.0, 4.0, 5.0), (3.0, 4.0, 5.0)))
    measured = make_model_calibration(model=model.checkpoint.name, step_times=times, new_shape_s=0.0)
    save_calibration(machine)
    save_model_calibration(measured, machine, model.checkpoint.revision)
    assert best_step_tokens(model) == measured.best_step_tokens() == 900


@pytest.mark.usefixtures("_own_calibrations")
def test_measured_on_a_real_lane(model: EmbeddingModel) -> None:
    points = measured_steps(model.engine.lane(), model.checkpoint.shape.vocabulary, 7)
    assert [tokens for tokens, _ in points] == [7 * 2**power for power in range(len(points))]
    assert np.isfinite([seconds for _, seconds in points]).all()


def test_a_step_with_a_text_that_fails_is_not_timed(tiny_bert: Path) -> None:
    _, engine = staged_model(tiny_bert)
    texts = [np.arange(1, 4, dtype=np.int32), np.arange(1, 6, dtype=np.int32)]
    assert timed_step(engine.lane(), texts, clock=iter([1.0, 3.5]).__next__) == 2.5
    engine.refuses = lambda ids: len(ids) == 5
    with pytest.raises(EngineError, match="choked"):
        timed_step(engine.lane(), texts)
