"""A calibration in a file of the user's: it comes back as it was, and a wrong one is refused by file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog.calibration_file import (
    calibration_document,
    check_calibration_path,
    read_calibration_file,
    write_calibration_file,
)
from farthing.errors import InputError
from makers import make_calibration, make_model_calibration

MACHINE = make_calibration(versions={"torch": "2.13.0"})
MODEL = make_model_calibration()


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration_file(path, MACHINE, MODEL)
    assert read_calibration_file(path) == (MACHINE, MODEL)
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(
        json.dumps(calibration_document(MACHINE, MODEL))
    )
    write_calibration_file(path, MACHINE, None)
    assert read_calibration_file(path) == (MACHINE, None)


def _at(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *tables, key = path.split(".")
    row = document
    for name in tables:
        row = row[name]
    if value is MISSING:
        del row[key]
    else:
        row[key] = value
    return document


MISSING = object()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("machine", MISSING),
        ("machine", [1]),
        ("machine.machine", 3),
        ("machine.versions", None),
        ("machine.device_type", "tpu"),
        ("machine.device_type", MISSING),
        ("machine.dtype", "fp5"),
        ("machine.dtype", ["fp32"]),
        ("machine.peak_flops_per_s", MISSING),
        ("machine.peak_flops_per_s", "fast"),
        ("machine.peak_flops_per_s", True),
        ("machine.peak_flops_per_s", 0),
        ("machine.bandwidth_bytes_per_s", float("nan")),
        ("model.model", None),
        ("model.streams", 1.5),
        ("model.streams", 0),
        ("model.new_shape_s", -1),
        ("model.tokenization_s_per_token", float("inf")),
        ("model.step_times", MISSING),
        ("model.step_times.lengths", []),
        ("model.step_times.lengths", [64, 8]),
        ("model.step_times.step_tokens", [128, 512.5]),
        ("model.step_times.seconds", [[0.001, 0.003]]),
        ("model.step_times.seconds", [[0.001], [0.0012]]),
        ("model.step_times.seconds", [[0.001, 0.003], [0.0012, 0]]),
    ],
)
def test_a_bad_file_names_file_and_key(tmp_path: Path, where: str, value: object) -> None:
    path = tmp_path / "bad.json"
    document = json.loads(json.dumps(calibration_document(MACHINE, MODEL)))
    path.write_text(json.dumps(_at(document, where, value)), encoding="utf-8")
    with pytest.raises(InputError, match=rf"bad\.json: {where} is ") as caught:
        read_calibration_file(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'"text"', b"null"])
def test_a_file_that_is_no_calibration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.json: .*JSON"):
        read_calibration_file(path)


def test_where_a_file_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; name a file"):
        check_calibration_path(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        check_calibration_path(tmp_path / "nowhere" / "file.json")
    assert check_calibration_path(tmp_path / "file.json") == tmp_path / "file.json"
    with pytest.raises(InputError, match="cannot be written"):
        write_calibration_file(tmp_path, MACHINE, MODEL)
