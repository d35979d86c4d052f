"""Calibrations as JSON: those of this machine under the XDG cache directory, and those in a file of the user's.

Knows files and their validity. Measures nothing: `engine.calibration` does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, get_args

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


def calibration_document(machine: Calibration, model: ModelCalibration | None) -> dict[str, Any]:
    """Return the document that `farthing calibrate` writes: one machine, and one model on it if there is one."""
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
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as JSON ({error}): give what `farthing calibrate --output FILE` wrote"
        ) from error
    root = _Table(str(path), "", document)
    machine = root.table("machine")
    calibration = Calibration(
        machine=machine.text("machine"),
        versions={str(name): str(version) for name, version in machine.table("versions").row.items()},
        measured_at=machine.text("measured_at"),
        dtype=machine.dtype(),
        peak_flops_per_s=machine.number("peak_flops_per_s"),
        peak_source=machine.text("peak_source"),
        bandwidth_bytes_per_s=machine.number("bandwidth_bytes_per_s"),
    )
    if root.row.get("model") is None:
        return calibration, None
    model = root.table("model")
    return calibration, ModelCalibration(
        model=model.text("model"),
        dtype=model.dtype(),
        streams=model.count("streams"),
        step_times=_step_times(model.table("step_times")),
        new_shape_s=model.number("new_shape_s", zero=True),
        tokenization_s_per_token=model.number("tokenization_s_per_token", zero=True),
        job_overhead_s=model.number("job_overhead_s", zero=True),
        measured_at=model.text("measured_at"),
    )


@dataclass(frozen=True)
class _Table:
    """An object of a JSON file that knows where it stands, so that an error can name file and key."""

    path: str
    name: str
    row: Any

    def __post_init__(self) -> None:
        if not isinstance(self.row, dict):
            raise InputError(f"{self.path}: {self.name or 'the document'}: expected a JSON object")

    def wrong(self, key: str, expected: str) -> InputError:
        name = f"{self.name}.{key}" if self.name else key
        found = f"is {str(self.row[key])[:40]!r}" if key in self.row else "is missing"
        return InputError(f"{self.path}: {name} {found}: expected {expected}")

    def table(self, key: str) -> _Table:
        if not isinstance(self.row.get(key), dict):
            raise self.wrong(key, "a JSON object")
        return _Table(self.path, f"{self.name}.{key}" if self.name else key, self.row[key])

    def text(self, key: str) -> str:
        if not isinstance(self.row.get(key), str):
            raise self.wrong(key, "text")
        return str(self.row[key])

    def dtype(self) -> Dtype:
        if self.row.get("dtype") not in get_args(Dtype):
            raise self.wrong("dtype", f"one of {', '.join(get_args(Dtype))}")
        return cast(Dtype, self.row["dtype"])

    def number(self, key: str, zero: bool = False) -> float:
        if not _is_number(self.row.get(key), zero):
            raise self.wrong(key, f"a number {'of at least' if zero else 'above'} 0")
        return float(self.row[key])

    def count(self, key: str) -> int:
        if not _is_number(self.row.get(key)) or self.row[key] != int(self.row[key]):
            raise self.wrong(key, "a whole number above 0")
        return int(self.row[key])

    def rising(self, key: str) -> tuple[int, ...]:
        values = self.row.get(key)
        if (
            not isinstance(values, list)
            or not values
            or not all(_is_number(value) and value == int(value) for value in values)
            or any(left >= right for left, right in pairwise(values))
        ):
            raise self.wrong(key, "a rising list of whole numbers above 0")
        return tuple(int(value) for value in values)


def _step_times(table: _Table) -> StepTimes:
    lengths, tokens = table.rising("lengths"), table.rising("step_tokens")
    rows = table.row.get("seconds")
    if (
        not isinstance(rows, list)
        or len(rows) != len(lengths)
        or not all(isinstance(row, list) and len(row) == len(tokens) for row in rows)
        or not all(_is_number(value) for row in rows for value in row)
    ):
        raise table.wrong("seconds", f"{len(lengths)} rows of {len(tokens)} numbers above 0")
    return StepTimes(lengths, tokens, tuple(tuple(float(value) for value in row) for row in rows))


def _is_number(value: object, zero: bool = False) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value >= 0 if zero else value > 0


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


def check_calibrated_model(name: str, measured: ModelCalibration | None, path: str | Path) -> None:
    """Refuse a calibration file of another model.

    Raises:
        InputError: it is of another one.
    """
    # By the last part: a model may be a folder on one machine and a hub id on another.
    if measured is not None and Path(measured.model).name.lower() != Path(name).name.lower():
        raise InputError(f"{path}: model.model is {measured.model!r}, not {name}: calibrate that model")
