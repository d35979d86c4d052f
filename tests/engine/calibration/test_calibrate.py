"""Calibration: a grid that rises with the work, measured once and then loaded."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.catalog.calibrations import calibrations_folder, load_calibration, load_model_calibration
from farthing.engine.calibration import calibrate as calibration
from farthing.engine.calibration import kept
from farthing.engine.calibration.calibrate import (
    STILL_BUSY,
    calibrate_machine,
    calibrate_model,
    ensure_calibrated,
    when_free,
)
from farthing.engine.calibration.gemm_peak import GemmRate
from farthing.engine.contract import Engine
from farthing.engine.load import EmbeddingModel, load_model
from farthing.engine.machine import OtherLoad, library_versions, this_machine
from farthing.engine.torch.engine import TorchEngine
from farthing.errors import EngineError
from farthing.theory.devices import Calibration, ModelCalibration
from makers import make_calibration


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> EmbeddingModel:
    return load_model(str(tiny_bert))


@pytest.fixture(autouse=True)
def own_cache(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep each test's calibrations apart and the peak quick."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "_ROUNDS", 1)
    monkeypatch.setattr(calibration, "BUSY_SHARE", 2)  # whatever else runs here
    monkeypatch.setattr(calibration, "_COPY_BYTES", 16_000_000)

    def peak(dtype: str, device: str, cores: int) -> list[GemmRate]:
        return [GemmRate("openvino", (8, 4, 2), 1.5e11), GemmRate("numpy", (1, 1, 1), 1e9)]

    monkeypatch.setattr(calibration, "measure_gemm_peak", peak)


MACHINE = make_calibration()


def no_text(_: str) -> None:
    """Stand for a job of one text."""


def test_the_grid_of_a_model(model: EmbeddingModel) -> None:
    lines: list[str] = []
    measured = calibrate_model(model, MACHINE, no_text, lines.append)
    times = measured.step_times
    assert (measured.model, measured.dtype) == (model.checkpoint.name, "fp32")
    assert measured.streams == model.engine.lanes
    assert times.lengths == (8, 16, 32)
    assert times.step_tokens == (256, 512, 1024)
    assert [len(row) for row in times.seconds] == [3, 3, 3]
    assert all(0 < seconds < math.inf for row in times.seconds for seconds in row)
    for row in times.seconds:
        # Four times the tokens take longer on any machine, however noisy.
        assert row[0] < row[-1]
    assert 0 <= measured.new_shape_s < math.inf
    assert 0 < measured.tokenization_s_per_token < math.inf
    assert measured.best_step_tokens() in times.step_tokens
    assert len(lines) == 1
    assert model.checkpoint.name in lines[0]
    kept = load_model_calibration(model.checkpoint.name, MACHINE, revision=model.checkpoint.revision)
    assert kept == measured


def test_the_grid_is_the_models_whatever_the_users_limit(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_LENGTHS", (8,))
    monkeypatch.setattr(calibration, "_SMALLEST_STEP_TOKENS", 9)
    short = load_model(str(tiny_bert), max_length=11)
    times = calibrate_model(short, MACHINE, no_text).step_times
    assert times.lengths == (8, 32)
    # A step holds one text of the longest kind at least.
    assert times.step_tokens == (32, 64, 128)


def test_the_machine(model: EmbeddingModel) -> None:
    lines: list[str] = []
    measured = calibrate_machine(model.engine, lines.append)
    assert (measured.machine, dict(measured.versions)) == (this_machine().identity, library_versions())
    assert measured.peak_flops_per_s == 1.5e11
    assert "openvino 8×4×2" in measured.peak_source
    assert "fp32" in measured.peak_source
    assert 0 < measured.bandwidth_bytes_per_s < math.inf
    assert len(lines) == 2
    assert measured.device_type == "cpu"
    assert load_calibration("fp32", machine=measured.machine) == measured


def test_a_card(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "card_identity", lambda name: f"the card {name}")
    monkeypatch.setattr(calibration, "copy_bandwidth", lambda _: 4e12)
    card = TorchEngine(model.checkpoint, "bf16", "cpu")
    card.device = "cuda:1"
    measured = calibrate_machine(card)
    assert (measured.machine, measured.device_type) == ("the card cuda:1", "cuda")
    assert (measured.peak_flops_per_s, measured.bandwidth_bytes_per_s) == (1.5e11, 4e12)
    assert measured.peak_source == "measured GEMM, bf16: openvino 8×4×2"


def test_the_steps_of_a_card_reach_past_its_saturation(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_LENGTHS", (8,))
    monkeypatch.setattr(calibration, "saturating_tokens", lambda _: 700)
    engine = TorchEngine(model.checkpoint, "fp32", "cpu")
    card = replace(model, engine=engine)
    card.engine.lane()  # while it is still the processor
    monkeypatch.setattr(calibration, "PROCESSOR", "another")
    assert calibrate_model(card, MACHINE, no_text).step_times.step_tokens == (700, 1400, 2800)


def test_measured_once_and_then_loaded(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real_machine, real_model = calibrate_machine, calibrate_model

    def count_machine(engine: Engine, _: object) -> Calibration:
        asked.append("machine")
        return real_machine(engine)

    def count_model(loaded: EmbeddingModel, machine: Calibration, *_: object) -> ModelCalibration:
        asked.append("model")
        return real_model(loaded, machine, no_text)

    monkeypatch.setattr(calibration, "calibrate_machine", count_machine)
    monkeypatch.setattr(calibration, "calibrate_model", count_model)
    monkeypatch.setattr(calibration, "_LENGTHS", (8,))
    first = ensure_calibrated(model, no_text)
    assert asked == ["machine", "model"]
    assert ensure_calibrated(model, no_text) == first
    assert asked == ["machine", "model"]

    # Kept by another version of a library: the machine is measured again, and so is what was beside it.
    (kept,) = calibrations_folder().glob("machine-*.json")
    row = json.loads(kept.read_text())
    row["machine"]["versions"]["openvino"] = "1.0"
    kept.write_text(json.dumps(row))
    again = ensure_calibrated(model, no_text)
    assert asked == ["machine", "model"] * 2
    assert ensure_calibrated(model, no_text) == again

    # A damaged one of the model: only that.
    (kept,) = calibrations_folder().glob("model-*.json")
    kept.write_text("{")
    ensure_calibrated(model, no_text)
    assert asked[4:] == ["model"]


def test_calibrations_of_other_thread_counts_do_not_mix(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one core can do says nothing of two: each has its own, measured with as many lanes and kept beside."""
    monkeypatch.setattr(calibration, "_LENGTHS", (8,))
    monkeypatch.setattr("farthing.engine.openvino.engine.available_cores", lambda: 2)
    asked: list[int] = []

    def peak(dtype: str, device: str, cores: int) -> list[GemmRate]:
        asked.append(cores)
        return [GemmRate("openvino", (8, 4, 2), 1e11 * cores)]

    monkeypatch.setattr(calibration, "measure_gemm_peak", peak)
    measured = {}
    for threads in (1, 2, None):
        machine, of_model = ensure_calibrated(load_model(str(tiny_bert), threads=threads), no_text)
        measured[threads] = machine, of_model
        assert f"{threads or 2} cores" in machine.machine
        assert (machine.peak_flops_per_s, of_model.streams) == (1e11 * (threads or 2), threads or 2)
    assert asked == [1, 2]
    assert measured[None] == measured[2]
    assert len(list(calibrations_folder().glob("machine-*.json"))) == 2
    assert len(list(calibrations_folder().glob("model-*.json"))) == 2


def test_the_copy_is_made_by_as_many_cores_as_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[int] = []
    copy = np.copyto

    def count(target: Any, source: Any) -> None:
        copies.append(threading.get_ident())
        time.sleep(0.02)  # or one thread would be done with it before the next begins
        copy(target, source)

    monkeypatch.setattr(np, "copyto", count)
    monkeypatch.setattr(calibration, "_COPY_BYTES_PER_CORE", 8_000)
    for cores in (1, 3):
        copies.clear()
        assert 0 < calibration._copy_bandwidth(cores) < math.inf
        assert len(copies) == 5 * cores
        assert len(set(copies)) == cores


def test_the_error_of_a_lane_is_raised(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A19: it resurfaced as an IndexError of the thread that had no times."""

    class Broken:
        def run(self, _: object) -> None:
            raise EngineError("the device is gone")

    monkeypatch.setattr(model.engine, "lane", Broken)
    with pytest.raises(EngineError, match="the device is gone"):
        calibrate_model(model, MACHINE, no_text)


@pytest.mark.parametrize(("shares", "times", "said"), [([0.0], 1, 0), ([0.5, 0.0], 2, 1), ([0.5, 0.4], 2, 2)])
def test_beside_others_it_is_said_and_measured_once_more(
    monkeypatch: pytest.MonkeyPatch, shares: list[float], times: int, said: int
) -> None:
    monkeypatch.setattr(calibration, "BUSY_SHARE", 0.15)
    readings = [reading for share in shares for reading in ((0.0, 0.0, 0.0), (0.0, 10.0, 10 * (1 - share)))]
    measured: list[int] = []
    lines: list[str] = []

    def measure() -> int:
        measured.append(len(measured) + 1)
        return measured[-1]

    assert when_free(measure, lines.append, lambda: OtherLoad(lambda: readings.pop(0))) == times
    assert (len(measured), len(lines)) == (times, said)
    assert all("others used" in line for line in lines)
    assert any(line.startswith(STILL_BUSY) for line in lines) == (said == 2)
