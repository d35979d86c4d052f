"""`--threads`: as many cores as are asked for; a number that cannot be is bad usage, said in a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farthing.cli.main import main
from farthing.embedding import job
from farthing.engine.calibration import calibrate
from farthing.engine.contract import Engine
from farthing.engine.load import EmbeddingModel
from farthing.theory.devices import Calibration, ModelCalibration
from makers import make_calibration, make_model_calibration


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Return what the lanes of measured engines are noted in; a process of three cores stands around them."""
    noted: list[int] = []

    def machine(engine: Engine, _: object) -> Calibration:
        noted.append(engine.lanes)
        return make_calibration()

    def ensure(model: EmbeddingModel, *_: object) -> tuple[Calibration, ModelCalibration]:
        noted.append(model.engine.lanes)
        return make_calibration(), make_model_calibration(streams=model.engine.lanes)

    monkeypatch.setattr(calibrate, "calibrate_machine", machine)
    monkeypatch.setattr(calibrate, "calibrate_model", lambda *_: make_model_calibration())
    monkeypatch.setattr(job, "ensure_calibrated", ensure)
    monkeypatch.setattr("farthing.engine.openvino.engine.available_cores", lambda: 3)
    monkeypatch.setenv("RAYON_NUM_THREADS", "taken back")
    monkeypatch.delenv("RAYON_NUM_THREADS")
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("a\nb\n")
    return noted


COMMANDS = [["embed", "in.txt", "-o", "out.parquet"], ["calibrate"]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("given", "meant"), [([], 3), (["--threads", "2"], 2), (["--threads", "3"], 3)])
def test_as_many_as_are_asked_for(
    lanes: list[int], tiny_bert: Path, command: list[str], given: list[str], meant: int
) -> None:
    assert main([*command, "-m", str(tiny_bert), *given]) == 0
    assert set(lanes) == {meant}  # on a busy machine a calibration is taken again
    # What the tokenizer's library reads when it starts; the command is the process.
    assert os.environ.get("RAYON_NUM_THREADS") == (str(meant) if given else None)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("4", "threads 4: this process may use 1 to 3 cores"),
        ("0", "0 is not in the range x>=1"),
        ("-1", "-1 is not in the range x>=1"),
        ("two", "'two' is not a valid integer"),
    ],
)
def test_a_number_that_cannot_be(
    lanes: list[int],
    tiny_bert: Path,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    given: str,
    said: str,
) -> None:
    assert main([*command, "-m", str(tiny_bert), "--threads", given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert lanes == []
    assert not Path("out.parquet").exists()
