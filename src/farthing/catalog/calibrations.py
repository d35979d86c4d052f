"""The calibrations of this machine, kept as JSON under the XDG cache directory.

Knows where they lie and when they no longer hold. Measures nothing: `engine.calibration` does. Knows no file of the
user's: `calibration_file` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farthing.errors import InputError
from farthing.theory.devices import Calibration, Dtype, ModelCalibration, StepTimes


def calibrations_folder() -> Path:
    """Return the folder that calibrations are kept in."""
    from platformdirs import user_cache_path

    return user_cache_path("farthing") / "calibrations"


def save_calibration(calibration: Calibration, folder: Path | None = None) -> Path:
    """Keep a machine's calibration, replacing an older one of the same dtype."""
    return _write(_machine_path(calibration.dtype, folder), asdict(calibration))


def load_calibration(
    dtype: Dtype,
    *,
    machine: str | None = None,
    versions: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Calibration | None:
    """Return the kept calibration, or None when there is none or it is of another machine.

    Args:
        dtype: dtype of the products.
        machine: identity that it must have; None accepts any.
        versions: library versions that it must have; None accepts any.
        folder: where calibrations are kept.
    """
    row = _read(_machine_path(dtype, folder))
    try:
        calibration = None if row is None else Calibration(**row)
    except TypeError:
        return None
    if calibration is None or not isinstance(calibration.versions, dict):
        return None
    same = (machine is None or calibration.machine == machine) and (
        versions is None or dict(calibration.versions) == dict(versions)
    )
    return calibration if same else None


def kept_calibration(dtype: Dtype) -> Calibration:
    """Return this machine's kept calibration.

    Raises:
        InputError: it was not calibrated in this dtype yet.
    """
    calibration = load_calibration(dtype)
    if calibration is None:
        option = "" if dtype == "fp32" else f" --dtype {dtype}"
        raise InputError(
            f"device local is not calibrated in {dtype} yet: run `farthing calibrate{option}` first"
        )
    return calibration


def discard_calibration(dtype: Dtype, folder: Path | None = None) -> None:
    """Forget a machine's calibration, and with it those of its models; the next run measures anew."""
    with suppress(OSError):
        _machine_path(dtype, folder).unlink()


def save_model_calibration(
    calibration: ModelCalibration, machine: Calibration, revision: str, folder: Path | None = None
) -> Path:
    """Keep a model's calibration beside the machine's that it belongs to."""
    row = {"machine": _fingerprint(machine), "revision": revision, **asdict(calibration)}
    return _write(_model_path(calibration.model, calibration.dtype, folder), row)


def load_model_calibration(
    model: str, machine: Calibration, *, revision: str | None = None, folder: Path | None = None
) -> ModelCalibration | None:
    """Return the kept calibration of a model, or None when there is none that fits.

    Args:
        model: name of the model.
        machine: the machine's calibration; the model's must have been measured beside it.
        revision: revision that the model must have; None accepts any.
        folder: where calibrations are kept.
    """
    row = _read(_model_path(model, machine.dtype, folder))
    if row is None or row.pop("machine", None) != _fingerprint(machine):
        return None
    if row.pop("revision", None) != revision and revision is not None:
        return None
    try:
        grid = row.pop("step_times")
        times = StepTimes(
            tuple(grid["lengths"]), tuple(grid["step_tokens"]), tuple(tuple(line) for line in grid["seconds"])
        )
        return ModelCalibration(step_times=times, **row)
    except (KeyError, TypeError):
        return None


def _digest(text: str, digits: int) -> str:
    # Imported here: what is answered from the catalog alone need not wait for it.
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _fingerprint(machine: Calibration) -> str:
    # The time too: what was measured beside a calibration that was discarded is as wrong as that one.
    text = json.dumps([machine.machine, dict(machine.versions), machine.measured_at], sort_keys=True)
    return _digest(text, 16)


def _machine_path(dtype: Dtype, folder: Path | None) -> Path:
    return (folder or calibrations_folder()) / f"machine-{dtype}.json"


def _model_path(model: str, dtype: Dtype, folder: Path | None) -> Path:
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in model)
    return (folder or calibrations_folder()) / f"model-{name}-{_digest(model, 8)}-{dtype}.json"


def _read(path: Path) -> dict[str, Any] | None:
    """Return the row in a file; a missing or damaged file is as good as none, since it can be measured again."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if isinstance(row, dict) else None


def _write(path: Path, row: Mapping[str, Any]) -> Path:
    """Write a row; where the cache cannot be written, what was measured lives as long as the process."""
    import tempfile

    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".", delete=False, encoding="utf-8"
        ) as file:
            json.dump(row, file, indent=1)
        Path(file.name).replace(path)
    return path
