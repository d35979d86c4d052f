"""A calibration as a JSON document: what `farthing calibrate --output` writes, on this machine or another.

A wrong key is refused by file and key. Those that are kept (`calibrations`) are such documents too.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from sys import float_info
from typing import Any, cast, get_args

from farthing.catalog.fields import Fields, table
from farthing.catalog.model_files import small_text
from farthing.errors import InputError
from farthing.theory.devices import Calibration, DeviceType, ModelCalibration, StepTimes
from farthing.theory.dtypes import Dtype


def calibration_document(machine: Calibration, model: ModelCalibration | None) -> dict[str, Any]:
    """Return the document that `parse_calibration` reads: one device, and one model on it if there is one."""
    return {"machine": asdict(machine), "model": None if model is None else asdict(model)}


def check_calibration_path(path: Path) -> Path:
    """Return the path of a file to be written; asked before anything is measured.

    Raises:
        InputError: its folder does not exist, or it is a folder itself.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: create it first")
    return path


def write_calibration_file(path: Path, machine: Calibration, model: ModelCalibration | None) -> None:
    """Write what `read_calibration_file` reads.

    Raises:
        InputError: the file cannot be written.
    """
    text = json.dumps(calibration_document(machine, model), indent=1)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_calibration_file(path: Path) -> tuple[Calibration, ModelCalibration | None]:
    """Return what is in a file that `farthing calibrate --json` or `--output` wrote, on this machine or another.

    Raises:
        InputError: the file cannot be read, or something in it is missing or makes no sense; file and key are
            named.
    """
    try:
        document = json.loads(small_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read as JSON ({error}): give what `farthing calibrate --output FILE` wrote"
        ) from error
    return parse_calibration(document, path)


def parse_calibration(document: object, path: str | Path) -> tuple[Calibration, ModelCalibration | None]:
    """Return the device and the model, if there is one, of a document that came from a file.

    Raises:
        InputError: something in it is missing or makes no sense; file and key are named.
    """
    root = table(str(path), "", document, "a JSON object")
    machine = root.table("machine", "a JSON object")
    versions = machine.table("versions", "a JSON object").values
    calibration = Calibration(
        machine=machine.text("machine"),
        device_type=cast(DeviceType, machine.choice("device_type", get_args(DeviceType))),
        versions={str(name): str(version) for name, version in versions.items()},
        measured_at=machine.text("measured_at"),
        dtype=cast(Dtype, machine.choice("dtype", get_args(Dtype))),
        peak_flops_per_s=machine.number("peak_flops_per_s"),
        peak_source=machine.text("peak_source"),
        bandwidth_bytes_per_s=machine.number("bandwidth_bytes_per_s"),
    )
    if root.values.get("model") is None:
        return calibration, None
    model = root.table("model", "a JSON object")
    return calibration, ModelCalibration(
        model=model.text("model"),
        dtype=cast(Dtype, model.choice("dtype", get_args(Dtype))),
        streams=model.count("streams"),
        step_times=_step_times(model.table("step_times", "a JSON object")),
        new_shape_s=model.number("new_shape_s", zero=True),
        tokenization_s_per_token=model.number("tokenization_s_per_token", zero=True),
        job_overhead_s=model.number("job_overhead_s", zero=True),
        measured_at=model.text("measured_at"),
    )


def check_calibrated_model(name: str, measured: ModelCalibration | None, path: str | Path) -> None:
    """Refuse a calibration file of another model.

    Raises:
        InputError: it is of another one.
    """
    # By the last part: a model may be a folder on one machine and a hub id on another.
    if measured is not None and Path(measured.model).name.lower() != Path(name).name.lower():
        raise InputError(f"{path}: model.model is {measured.model!r}, not {name}: calibrate that model")


def _step_times(times: Fields) -> StepTimes:
    lengths, tokens = times.rising("lengths"), times.rising("step_tokens")
    rows = times.values.get("seconds")
    cells = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    if [len(row) for row in cells] != [len(tokens)] * len(lengths) or len(cells) != len(rows or ()):
        raise times.unlike("seconds", f"{len(lengths)} rows of {len(tokens)} numbers above 0")
    for value in (value for row in cells for value in row):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= float_info.max:
            raise times.unlike("seconds", f"{len(lengths)} rows of {len(tokens)} numbers above 0")
    return StepTimes(lengths, tokens, tuple(tuple(map(float, row)) for row in cells))
