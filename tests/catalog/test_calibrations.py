"""Kept calibrations: they come back as they were, and never for another machine, version or model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog.calibrations import (
    calibrations_folder,
    discard_calibration,
    load_calibration,
    load_model_calibration,
    save_calibration,
    save_model_calibration,
)
from farthing.theory.devices import Calibration
from makers import make_calibration, make_model_calibration

MACHINE = make_calibration(versions={"torch": "2.13.0", "openvino": "2026.4"})
MODEL = make_model_calibration(model="sentence-transformers/all-MiniLM-L6-v2")
REVISION = "sha256:53aa51172d142c89"


def load_model(name: str = MODEL.model, machine: Calibration = MACHINE, **options: Any) -> object:
    return load_model_calibration(name, machine, **options)


def test_a_machine_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    save_calibration(MACHINE, folder)
    assert load_calibration("fp32", folder=folder) == MACHINE
    same = load_calibration("fp32", machine=MACHINE.machine, versions=dict(MACHINE.versions), folder=folder)
    assert same == MACHINE


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    save_model_calibration(MODEL, MACHINE, REVISION, tmp_path)
    assert load_model(folder=tmp_path, revision=REVISION) == MODEL
    assert load_model(folder=tmp_path) == MODEL


def test_the_default_folder_is_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path in calibrations_folder().parents
    assert load_calibration("fp32") is None
    path = save_calibration(MACHINE)
    assert path.parent == calibrations_folder()
    assert load_calibration("fp32") == MACHINE


def test_nothing_kept_is_none(tmp_path: Path) -> None:
    assert load_calibration("fp32", folder=tmp_path) is None
    assert load_model(folder=tmp_path) is None


def test_another_machine_version_or_dtype_is_none(tmp_path: Path) -> None:
    save_calibration(MACHINE, tmp_path)
    assert load_calibration("bf16", folder=tmp_path) is None
    assert load_calibration("fp32", machine="another", folder=tmp_path) is None
    newer = {**MACHINE.versions, "openvino": "2027.0"}
    assert load_calibration("fp32", versions=newer, folder=tmp_path) is None
    assert load_calibration("fp32", versions={}, folder=tmp_path) is None


def test_a_model_measured_beside_another_machine_is_none(tmp_path: Path) -> None:
    save_model_calibration(MODEL, MACHINE, REVISION, tmp_path)
    assert load_model(folder=tmp_path, machine=replace(MACHINE, machine="another")) is None
    assert load_model(folder=tmp_path, machine=replace(MACHINE, versions={"torch": "3.0"})) is None
    assert load_model(folder=tmp_path, machine=replace(MACHINE, dtype="bf16")) is None
    assert load_model(folder=tmp_path, revision="sha256:0000000000000000") is None
    assert load_model("another model", folder=tmp_path) is None


def test_a_remeasured_machine_forgets_its_models(tmp_path: Path) -> None:
    """What was measured beside a calibration that was discarded is as wrong as that one."""
    save_model_calibration(MODEL, MACHINE, REVISION, tmp_path)
    later = replace(MACHINE, measured_at="2026-12-01T00:00:00+00:00", peak_flops_per_s=1.6e11)
    assert load_model(folder=tmp_path, machine=MACHINE) == MODEL
    assert load_model(folder=tmp_path, machine=later) is None


def test_discarded_and_gone(tmp_path: Path) -> None:
    save_calibration(MACHINE, tmp_path)
    discard_calibration(MACHINE.dtype, tmp_path)
    assert load_calibration(MACHINE.dtype, folder=tmp_path) is None
    discard_calibration(MACHINE.dtype, tmp_path)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save_calibration(MACHINE, tmp_path / "file" / "folder")
    assert load_calibration(MACHINE.dtype, folder=tmp_path / "file" / "folder") is None
    discard_calibration(MACHINE.dtype, tmp_path / "file" / "folder")


def test_names_that_look_alike_on_disk_are_two_models(tmp_path: Path) -> None:
    first = save_model_calibration(replace(MODEL, model="a/b"), MACHINE, REVISION, tmp_path)
    second = save_model_calibration(replace(MODEL, model="a_b"), MACHINE, REVISION, tmp_path)
    assert first != second
    assert first.parent == second.parent == tmp_path


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    save_calibration(MACHINE, tmp_path)
    newer = replace(MACHINE, peak_flops_per_s=2e11)
    save_calibration(newer, tmp_path)
    assert load_calibration("fp32", folder=tmp_path) == newer
    assert len(list(tmp_path.iterdir())) == 1


Damage = Callable[[str], bytes]


def _edited(text: str, **changes: Any) -> bytes:
    return json.dumps({**json.loads(text), **changes}).encode()


DAMAGE: dict[str, Damage] = {
    "empty": lambda _: b"",
    "cut short": lambda text: text[: len(text) // 2].encode(),
    "not UTF-8": lambda _: b"\xff\xfe\x00",
    "no object": lambda _: b"[1, 2]",
    "no keys": lambda _: b"{}",
    "an unknown key": lambda text: _edited(text, extra=1),
    "null": lambda _: b"null",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_none(tmp_path: Path, damage: Damage) -> None:
    path = save_calibration(MACHINE, tmp_path)
    path.write_bytes(damage(path.read_text(encoding="utf-8")))
    assert load_calibration("fp32", folder=tmp_path, machine=MACHINE.machine, versions={}) is None
    path = save_model_calibration(MODEL, MACHINE, REVISION, tmp_path)
    path.write_bytes(damage(path.read_text(encoding="utf-8")))
    assert load_model(folder=tmp_path) is None


@pytest.mark.parametrize(
    "times",
    [
        None,
        3,
        [],
        {},
        {"lengths": 8, "step_tokens": [128], "seconds": [[1.0]]},
        {"lengths": [8], "step_tokens": [128], "seconds": [1.0]},
    ],
)
def test_a_model_without_a_grid_is_none(tmp_path: Path, times: object) -> None:
    path = save_model_calibration(MODEL, MACHINE, REVISION, tmp_path)
    path.write_bytes(_edited(path.read_text(encoding="utf-8"), step_times=times))
    assert load_model(folder=tmp_path) is None


@pytest.mark.parametrize("versions", [None, 3, ["torch"], "2.13.0"])
def test_a_machine_without_versions_is_none(tmp_path: Path, versions: object) -> None:
    path = save_calibration(MACHINE, tmp_path)
    path.write_bytes(_edited(path.read_text(encoding="utf-8"), versions=versions))
    assert load_calibration("fp32", versions=MACHINE.versions, folder=tmp_path) is None


def test_a_folder_in_the_way_is_none(tmp_path: Path) -> None:
    save_calibration(MACHINE, tmp_path).unlink()
    (tmp_path / "machine-fp32.json").mkdir()
    assert load_calibration("fp32", folder=tmp_path) is None
