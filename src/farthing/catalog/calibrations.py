"""The calibrations of this machine's devices, kept as JSON under the XDG cache directory.

Each is kept by what it holds for: a device and a dtype, and of a model its name too. Versions and revisions are not
part of that: what was measured with others is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farthing.catalog.calibration_file import calibration_document, parse_calibration
from farthing.catalog.configuration import load_configuration
from farthing.catalog.model_files import own_text
from farthing.errors import InputError
from farthing.theory.devices import Calibration, DtypeChoice, ModelCalibration, PastRun
from farthing.theory.dtypes import Dtype


def calibrations_folder() -> Path:
    """Return the folder that calibrations are kept in."""
    from platformdirs import user_cache_path

    return user_cache_path("farthing") / "calibrations"


def save_calibration(calibration: Calibration, folder: Path | None = None) -> Path:
    """Keep a device's calibration, replacing an older one of the same device and dtype."""
    path = _machine_path(calibration.machine, calibration.dtype, folder)
    return _write(path, calibration_document(calibration, None))


def load_calibration(
    dtype: Dtype,
    *,
    machine: str,
    versions: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Calibration | None:
    """Return the kept calibration of a device, or None when there is none.

    Args:
        dtype: dtype of the products.
        machine: identity of the device.
        versions: library versions that it must have; None accepts any.
        folder: where calibrations are kept.
    """
    calibration, _ = _parsed(_row(_machine_path(machine, dtype, folder)))
    if calibration is None or (calibration.machine, calibration.dtype) != (machine, dtype):
        return None
    return calibration if versions is None or calibration.versions == dict(versions) else None


def kept_calibration(dtype: Dtype | None, folder: Path | None = None, *, model: str = "") -> Calibration:
    """Return the kept calibration of the processor, never a card's.

    Without a dtype it is in the configured one, else in one that the processor runs a model in unless it is told. Where
    the cache holds several, because the process may use more or fewer cores than before or because machines share a
    home, it is the newest.

    Raises:
        InputError: the processor was not calibrated in this dtype yet.
    """
    asked, dtype = dtype, dtype or load_configuration().dtype
    paths = (folder or calibrations_folder()).glob(f"machine-{dtype or '*'}-*.json")
    kept = [_parsed(_row(path))[0] for path in paths]
    processors = [one for one in kept if one is not None and one.device_type == "cpu"]
    if dtype is None:
        own = [one for one in processors if one.dtype == run_dtype(model, one.machine, folder)]
        processors = own or processors
    if not processors:
        here, option = f" in {dtype}" if dtype else "", f" --dtype {asked}" if asked else ""
        raise InputError(f"device local is not calibrated{here} yet: run `farthing calibrate{option}` first")
    return max(processors, key=lambda one: one.measured_at)


def run_dtype(model: str, machine: str, folder: Path | None = None) -> Dtype:
    """Return the dtype that a processor runs a model in unless it is told.

    That is what was measured to be the best, else bf16 where there are units for whole matrices of it (AMX).
    """
    choice = load_dtype_choice(model, machine, folder)
    return dtype_by_units(machine) if choice is None else choice.dtype


def dtype_by_units(machine: str) -> Dtype:
    """Return the dtype that a processor is taken to be faster in, by its identity alone."""
    return "bf16" if "amx_bf16" in machine.split() else "fp32"


def discard_calibration(calibration: Calibration, folder: Path | None = None) -> None:
    """Forget a device's calibration, and with it those of its models; the next run measures anew.

    One that was measured later in its place stays, and so do those of other devices and dtypes.
    """
    path = _machine_path(calibration.machine, calibration.dtype, folder)
    if _parsed(_row(path))[0] == calibration:
        with suppress(OSError):
            path.unlink()


def save_model_calibration(
    calibration: ModelCalibration, machine: Calibration, revision: str, folder: Path | None = None
) -> Path:
    """Keep a model's calibration together with the device's that it belongs to."""
    row = {"revision": revision, **calibration_document(machine, calibration)}
    return _write(_model_path(calibration.model, machine, folder), row)


def load_model_calibration(
    model: str, machine: Calibration, *, revision: str | None = None, folder: Path | None = None
) -> ModelCalibration | None:
    """Return the kept calibration of a model, or None when there is none that fits.

    Args:
        model: name of the model.
        machine: the device's calibration; the model's must have been measured beside it. What was measured beside one
            that was discarded is as wrong as that one.
        revision: revision that the model must have; None accepts any.
        folder: where calibrations are kept.
    """
    row = _row(_model_path(model, machine, folder))
    beside, calibration = _parsed(row)
    if calibration is None or beside != machine or calibration.model != model:
        return None
    return calibration if revision in (None, row.get("revision")) else None


RUNS_KEPT = 20


def keep_run(run: PastRun, machine: Calibration, model: ModelCalibration, folder: Path | None = None) -> None:
    """Keep what a job took beside what the calibrations said, with the last ones before it."""
    rows = [asdict(one) for one in (*kept_runs(machine, model, folder), run)][-RUNS_KEPT:]
    _write(_runs_path(machine, model, folder), {"beside": _beside(machine, model), "runs": rows})


def kept_runs(machine: Calibration, model: ModelCalibration, folder: Path | None = None) -> list[PastRun]:
    """Return the last runs that were predicted from these calibrations, oldest first."""
    row = _row(_runs_path(machine, model, folder))
    return _runs(row) if row.get("beside") == _beside(machine, model) else []


def last_runs(machine: Calibration, folder: Path | None = None) -> list[PastRun]:
    """Return the runs of all models that are kept of a device in its dtype, oldest first."""
    paths = (folder or calibrations_folder()).glob(f"runs-*-{machine.dtype}-*.json")
    rows = [row for row in map(_row, paths) if str(row.get("beside")).startswith(_beside(machine, None))]
    return sorted((run for row in rows for run in _runs(row)), key=lambda run: run.at)


def _runs(row: Mapping[str, Any]) -> list[PastRun]:
    """Return the runs of a file, without those that are damaged or that another version wrote."""
    rows, runs = row.get("runs"), []
    for one in rows if isinstance(rows, list) else []:
        with suppress(TypeError, ValueError, KeyError):
            beside_s = one["beside_s"]
            run = PastRun(
                at=str(one["at"]),
                kind=str(one["kind"]),
                predicted_s=float(one["predicted_s"]),
                wall_s=float(one["wall_s"]),
                beside_s=None if beside_s is None else float(beside_s),
                steps=tuple((int(length), float(said), float(took)) for length, said, took in one["steps"]),
                busy=bool(one["busy"]),
            )
            if run.wall_s > 0:
                runs.append(run)
    return runs


def _beside(machine: Calibration, model: ModelCalibration | None) -> str:
    """Return what tells one calibration from the next in its place."""
    return f"{machine.machine} {machine.measured_at} {'' if model is None else model.measured_at}"


def _runs_path(machine: Calibration, model: ModelCalibration, folder: Path | None) -> Path:
    key = _digest(f"{model.model}\n{machine.machine}")
    return (folder or calibrations_folder()) / f"runs-{_file_name(model.model)}-{machine.dtype}-{key}.json"


def save_dtype_choice(choice: DtypeChoice, folder: Path | None = None) -> Path:
    """Keep which dtype a processor runs a model in."""
    return _write(_choice_path(choice.model, choice.machine, folder), asdict(choice))


def load_dtype_choice(model: str, machine: str, folder: Path | None = None) -> DtypeChoice | None:
    """Return which dtype a processor runs a model in, or None where that was not measured."""
    try:
        choice = DtypeChoice(**_row(_choice_path(model, machine, folder)))
    except TypeError:
        return None
    known = (choice.model, choice.machine) == (model, machine) and choice.dtype in ("fp32", "bf16")
    return choice if known else None


def _choice_path(model: str, machine: str, folder: Path | None) -> Path:
    digest = _digest(f"{model}\n{machine}")
    return (folder or calibrations_folder()) / f"dtype-{_file_name(model)}-{digest}.json"


def _file_name(model: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in model)


def _machine_path(machine: str, dtype: Dtype, folder: Path | None) -> Path:
    return (folder or calibrations_folder()) / f"machine-{dtype}-{_digest(machine)}.json"


def _model_path(model: str, machine: Calibration, folder: Path | None) -> Path:
    digest = _digest(f"{model}\n{machine.machine}")
    return (folder or calibrations_folder()) / f"model-{_file_name(model)}-{machine.dtype}-{digest}.json"


def _digest(text: str) -> str:
    # Imported here: what is answered from the catalog alone need not wait for it.
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parsed(row: dict[str, Any]) -> tuple[Calibration, ModelCalibration | None] | tuple[None, None]:
    try:
        return parse_calibration(row, "what was kept")
    except InputError:
        return None, None


def _row(path: Path) -> dict[str, Any]:
    """Return what is in a file; a missing or damaged one is as good as none, since it can be measured again."""
    try:
        row = json.loads(own_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


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
