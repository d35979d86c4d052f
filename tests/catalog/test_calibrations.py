"""Kept calibrations: they come back as they were, and never for another device, version or model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog.calibrations import (
    RUNS_KEPT,
    calibrations_folder,
    discard_calibration,
    keep_run,
    kept_calibration,
    kept_runs,
    last_runs,
    load_calibration,
    load_model_calibration,
    save_calibration,
    save_model_calibration,
)
from farthing.errors import InputError
from farthing.theory.devices import Calibration, PastRun
from farthing.theory.dtypes import Dtype
from makers import make_calibration, make_model_calibration

MACHINE = make_calibration(versions={"torch": "2.13.0", "openvino": "2026.4"})
CARD = replace(MACHINE, machine="a card", device_type="cuda", measured_at="2026-11-30T00:00:00+00:00")
MODEL = make_model_calibration(model="sentence-transformers/all-MiniLM-L6-v2")
REVISION = "sha256:53aa51172d142c89"


def load(dtype: Dtype = "fp32", *, machine: str = MACHINE.machine, **options: Any) -> Calibration | None:
    return load_calibration(dtype, machine=machine, **options)


def load_model(name: str = MODEL.model, machine: Calibration = MACHINE, **options: Any) -> object:
    return load_model_calibration(name, machine, **options)


def test_a_machine_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    save_calibration(MACHINE, folder)
    assert load(folder=folder) == MACHINE
    assert load(versions=dict(MACHINE.versions), folder=folder) == MACHINE


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    save_model_calibration(MODEL, MACHINE, REVISION, tmp_path)
    assert load_model(folder=tmp_path, revision=REVISION) == MODEL
    assert load_model(folder=tmp_path) == MODEL


def test_the_default_folder_is_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path in calibrations_folder().parents
    assert load() is None
    path = save_calibration(MACHINE)
    assert path.parent == calibrations_folder()
    assert load() == kept_calibration("fp32") == MACHINE


def test_nothing_kept_is_none(tmp_path: Path) -> None:
    assert load(folder=tmp_path) is None
    assert load_model(folder=tmp_path) is None
    with pytest.raises(InputError, match="not calibrated in bf16 yet: run `farthing calibrate --dtype bf16`"):
        kept_calibration("bf16", tmp_path / "nowhere")


def test_another_machine_version_or_dtype_is_none(tmp_path: Path) -> None:
    save_calibration(MACHINE, tmp_path)
    assert load("bf16", folder=tmp_path) is None
    assert load(machine="another", folder=tmp_path) is None
    newer = {**MACHINE.versions, "openvino": "2027.0"}
    assert load(versions=newer, folder=tmp_path) is None
    assert load(versions={}, folder=tmp_path) is None


def test_each_device_and_dtype_is_kept_by_itself(tmp_path: Path) -> None:
    kept = [MACHINE, CARD, replace(CARD, machine="another card"), replace(MACHINE, dtype="bf16")]
    for number, one in enumerate(kept):
        save_calibration(one, tmp_path)
        save_model_calibration(replace(MODEL, dtype=one.dtype, new_shape_s=number), one, REVISION, tmp_path)
    for number, one in enumerate(kept):
        assert load(one.dtype, machine=one.machine, versions=one.versions, folder=tmp_path) == one
        measured = load_model_calibration(MODEL.model, one, revision=REVISION, folder=tmp_path)
        assert measured == replace(MODEL, dtype=one.dtype, new_shape_s=number)
    discard_calibration(CARD, tmp_path)
    assert [load(one.dtype, machine=one.machine, folder=tmp_path) for one in kept] == [
        MACHINE,
        None,
        *kept[2:],
    ]


@pytest.mark.parametrize("cards_last", [True, False])
def test_local_is_the_processor_never_a_card(tmp_path: Path, cards_last: bool) -> None:
    for one in [MACHINE, CARD] if cards_last else [CARD, MACHINE]:
        save_calibration(one, tmp_path)
    assert kept_calibration("fp32", tmp_path) == MACHINE
    discard_calibration(MACHINE, tmp_path)
    with pytest.raises(
        InputError,
        match="device local is not calibrated in fp32 yet: run `farthing calibrate --dtype fp32` first",
    ):
        kept_calibration("fp32", tmp_path)


def test_local_is_the_newest_where_the_cores_have_changed(tmp_path: Path) -> None:
    newer = replace(MACHINE, machine="four cores", measured_at="2026-12-01T00:00:00+00:00")
    for one in (newer, MACHINE):
        save_calibration(one, tmp_path)
    assert kept_calibration("fp32", tmp_path) == newer


def test_what_an_earlier_version_kept_is_measured_again(tmp_path: Path) -> None:
    row = asdict(MACHINE)
    del row["device_type"]
    (tmp_path / "machine-fp32.json").write_text(json.dumps(row), encoding="utf-8")
    assert load(folder=tmp_path) is None
    with pytest.raises(InputError, match="not calibrated"):
        kept_calibration("fp32", tmp_path)


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
    discard_calibration(MACHINE, tmp_path)
    assert load(folder=tmp_path) is None
    discard_calibration(MACHINE, tmp_path)


def test_one_measured_since_is_not_discarded(tmp_path: Path) -> None:
    newer = replace(MACHINE, measured_at="2026-12-01T00:00:00+00:00")
    save_calibration(newer, tmp_path)
    discard_calibration(MACHINE, tmp_path)
    assert load(folder=tmp_path) == newer


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save_calibration(MACHINE, tmp_path / "file" / "folder")
    assert load(folder=tmp_path / "file" / "folder") is None
    discard_calibration(MACHINE, tmp_path / "file" / "folder")


def test_names_that_look_alike_on_disk_are_two_models(tmp_path: Path) -> None:
    first = save_model_calibration(replace(MODEL, model="a/b"), MACHINE, REVISION, tmp_path)
    second = save_model_calibration(replace(MODEL, model="a_b"), MACHINE, REVISION, tmp_path)
    assert first != second
    assert first.parent == second.parent == tmp_path


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    save_calibration(MACHINE, tmp_path)
    newer = replace(MACHINE, peak_flops_per_s=2e11)
    save_calibration(newer, tmp_path)
    assert load(folder=tmp_path) == newer
    assert len(list(tmp_path.iterdir())) == 1


Damage = Callable[[str], bytes]


DAMAGE: dict[str, Damage] = {
    "empty": lambda _: b"",
    "cut short": lambda text: text[: len(text) // 2].encode(),
    "not UTF-8": lambda _: b"\xff\xfe\x00",
    "no object": lambda _: b"[1, 2]",
    "no keys": lambda _: b"{}",
    "another's": lambda text: text.replace(MACHINE.machine, "another").encode(),
    "no measurement": lambda text: text.replace("peak_flops_per_s", "peak").encode(),
    "a negative rate": lambda text: text.replace(
        'bandwidth_bytes_per_s": ', 'bandwidth_bytes_per_s": -'
    ).encode(),
    "null": lambda _: b"null",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_none(tmp_path: Path, damage: Damage) -> None:
    path = save_calibration(MACHINE, tmp_path)
    path.write_bytes(damage(path.read_text(encoding="utf-8")))
    assert load(folder=tmp_path) is None
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
    row = json.loads(path.read_text(encoding="utf-8"))
    row["model"]["step_times"] = times
    path.write_text(json.dumps(row), encoding="utf-8")
    assert load_model(folder=tmp_path) is None


@pytest.mark.parametrize("versions", [None, 3, ["torch"], "2.13.0"])
def test_a_machine_without_versions_is_none(tmp_path: Path, versions: object) -> None:
    path = save_calibration(MACHINE, tmp_path)
    row = json.loads(path.read_text(encoding="utf-8"))
    row["machine"]["versions"] = versions
    path.write_text(json.dumps(row), encoding="utf-8")
    assert load(folder=tmp_path) is None


def test_a_folder_in_the_way_is_none(tmp_path: Path) -> None:
    path = save_calibration(MACHINE, tmp_path)
    path.unlink()
    path.mkdir()
    assert load(folder=tmp_path) is None
    with pytest.raises(InputError, match="not calibrated"):
        kept_calibration("fp32", tmp_path)


def test_runs_are_kept_bounded_beside_their_calibration(tmp_path: Path) -> None:
    runs = [
        PastRun(at=f"{n:02}", kind="file", predicted_s=1.0, wall_s=2.0, beside_s=None, steps=((8, 1.0, 2.0),))
        for n in range(RUNS_KEPT + 5)
    ]
    for run in runs:
        keep_run(run, MACHINE, MODEL, tmp_path)
    assert kept_runs(MACHINE, MODEL, tmp_path) == last_runs(MACHINE, tmp_path) == runs[5:]
    assert kept_runs(MACHINE, replace(MODEL, measured_at="later"), tmp_path) == []
    assert last_runs(replace(MACHINE, measured_at="later"), tmp_path) == []


@pytest.mark.parametrize(
    "rows",
    [
        None,
        3,
        [3],
        [{}],
        [{"at": 1, "steps": [[1]]}],
        {"at": []},
        [
            {
                "at": "1",
                "kind": "file",
                "predicted_s": 1,
                "wall_s": 0,
                "beside_s": 1,
                "steps": [],
                "busy": False,
            }
        ],
    ],
)
def test_damaged_runs_are_none(tmp_path: Path, rows: object) -> None:
    run = PastRun(at="1", kind="file", predicted_s=1.0, wall_s=2.0, beside_s=0.5, steps=(), busy=True)
    keep_run(run, MACHINE, MODEL, tmp_path)
    (path,) = tmp_path.glob("runs-*")
    row = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(row | {"runs": rows}), encoding="utf-8")
    assert kept_runs(MACHINE, MODEL, tmp_path) == []
    keep_run(run, MACHINE, MODEL, tmp_path)
    assert kept_runs(MACHINE, MODEL, tmp_path) == [run]
