"""`farthing explain` and its files: pictures and calibrations, and one clear line when one cannot be had."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from farthing.catalog.calibration_file import write_calibration_file
from farthing.cli.main import main
from makers import make_calibration, make_model_calibration

MODEL = "all-MiniLM-L6-v2"
MACHINE = make_calibration()
MEASURED = make_model_calibration(model="/another/machine/all-MiniLM-L6-v2")


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_is_drawn(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"roofline.{suffix}"
    assert main(["explain", MODEL, "--plot", str(path), "--json"]) == 0
    assert path.stat().st_size > 10_000
    assert json.loads(capsys.readouterr().out)["model"].endswith(MODEL)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--plot", "roofline.pdf"], 2, "roofline.pdf: cannot draw this kind of file"),
        (["--plot", "nowhere/roofline.svg"], 2, "there is no folder nowhere"),
        (["--calibration", "nowhere.json"], 2, "nowhere.json: cannot be read as JSON"),
        (
            ["--device", "t4", "--dtype", "bf16"],
            2,
            "device t4 has no bf16 peak in the catalog: use one of fp16, int8",
        ),
    ],
)
def test_one_clear_line(
    arguments: list[str],
    code: int,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", MODEL, *arguments]) == code
    captured = capsys.readouterr()
    assert named in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out
    assert not list(tmp_path.iterdir())


def test_a_picture_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["explain", MODEL, "--plot", str(tmp_path / "a.svg")]) == 1
    assert "farthing[report]" in capsys.readouterr().err


def test_a_calibration_of_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "there.json"
    write_calibration_file(path, MACHINE, MEASURED)
    words = [
        "explain",
        MODEL,
        "--calibration",
        str(path),
        "--device",
        "l4",
        "--length",
        "128",
        "--batch",
        "16",
    ]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["device"], document["dtype"], document["basis"]) == ("l4", "fp32", "calibration")
    assert document["seconds"]["step"] == pytest.approx(0.4)
    assert main(words) == 0
    assert "measured 2026-11-21" in " ".join(capsys.readouterr().out.split())


def test_what_is_drawn_for_people_is_on_stdout_and_nothing_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", MODEL]) == 0
    captured = capsys.readouterr()
    assert not captured.err
    assert "Where the time goes" in captured.out
