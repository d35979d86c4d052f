"""`farthing doctor`: is everything here that a run needs, and what would it say it costs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from farthing.cli import options
from farthing.theory.devices import DtypeChoice
from farthing.units import SECONDS_PER_HOUR, format_si

if TYPE_CHECKING:
    from farthing.theory.devices import PastRun

_LATELY = 10
"""Runs that tell how far off predictions are."""

_ENGINE_PACKAGES = ("openvino", "tokenizers", "numpy", "pyarrow", "huggingface-hub")


@click.command("doctor")
@options.as_json
def doctor(as_json: bool) -> None:
    """Show the device, the extras, the default model, the calibration's age and the price that would be used."""
    from rich.table import Table
    from rich.text import Text

    from farthing.cli.output import console, print_json

    report = _report()
    if as_json:
        print_json(report)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, line in _lines(report).items():
        table.add_row(name, Text(line))
    console().print(table)


def _report() -> dict[str, Any]:
    """Return what was found, as plain values in SI units."""
    from farthing.catalog.calibrations import last_runs, load_calibration, load_dtype_choice, run_dtype
    from farthing.catalog.configuration import load_configuration
    from farthing.catalog.model_files import DEFAULT_MODEL
    from farthing.engine.folder.locate import default_model_folder
    from farthing.engine.machine import library_versions, this_machine

    machine = this_machine()
    configuration = load_configuration()
    choice = load_dtype_choice(DEFAULT_MODEL, machine.identity)
    dtype = configuration.dtype or run_dtype(DEFAULT_MODEL, machine.identity)
    calibration = load_calibration(dtype, machine=machine.identity, versions=library_versions())
    folder = default_model_folder()
    present = (folder / "model.safetensors").is_file()
    packages = {name: _version(name) for name in _ENGINE_PACKAGES}
    return {
        "farthing": version("farthing"),
        "device": machine.identity,
        "memory_bytes": machine.memory_bytes,
        "packages": packages,
        "ready": all(packages.values()) and present,
        "model": {"name": DEFAULT_MODEL, "folder": str(folder), "present": present},
        "dtype": {
            "runs_in": dtype,
            "configured": configuration.dtype is not None,
            "measured": None if choice is None else asdict(choice),
        },
        "calibration": None
        if calibration is None
        else {
            "measured_at": calibration.measured_at,
            "age_s": _age_s(calibration.measured_at),
            "peak_flops_per_s": calibration.peak_flops_per_s,
            "peak_source": calibration.peak_source,
        },
        "predictions": _predictions([] if calibration is None else last_runs(calibration)),
        "usd_per_hour": configuration.usd_per_hour,
        "configuration": str(configuration.path),
    }


def _predictions(runs: Sequence[PastRun]) -> dict[str, Any]:
    """Return how far off the last runs were predicted: fractions of the wall seconds."""
    errors = [run.error for run in runs][-_LATELY:]
    return {
        "runs": len(errors),
        "last_error": errors[-1] if errors else None,
        "median_error": median(errors) if errors else None,
    }


def _lines(report: dict[str, Any]) -> dict[str, str]:
    """Return the report as people read it."""
    packages, model, calibration = report["packages"], report["model"], report["calibration"]
    price, path = report["usd_per_hour"], report["configuration"]
    return {
        "farthing": report["farthing"],
        "device": f"{report['device']}, {format_si(report['memory_bytes'], 'B')}",
        "extra cpu": ", ".join(f"{name} {installed or 'absent'}" for name, installed in packages.items()),
        "ready": "yes" if report["ready"] else "no; run: " + " && ".join(_steps(report)),
        "model": f"{model['name']} in {model['folder']}"
        if model["present"]
        else f"{model['name']}: run `farthing fetch-model`",
        "dtype": f"{report['dtype']['runs_in']}, {_why(report)}",
        "calibration": "none that is valid here; `embed` measures it (15 s), or run `farthing calibrate`"
        if calibration is None
        else f"{_age(calibration['age_s'])} old, {calibration['peak_source']}, "
        f"{format_si(calibration['peak_flops_per_s'], 'FLOP/s')}",
        "predictions": "none yet"
        if not (lately := report["predictions"])["runs"]
        else f"off by {lately['last_error']:.1%} in the last run, {lately['median_error']:.1%} in the median of "
        f"{lately['runs']}",
        "price": f"unknown: give --usd-per-hour, or set [local] usd_per_hour in {path}"
        if price is None
        else f"${price:g}/h from {path}",
    }


def _why(report: dict[str, Any]) -> str:
    """Return why the default model runs in its dtype."""
    measured = report["dtype"]["measured"]
    if report["dtype"]["configured"]:
        return "as configured"
    return (
        "by the processor's units; `embed` measures it"
        if measured is None
        else DtypeChoice(**measured).reason
    )


def _steps(report: dict[str, Any]) -> list[str]:
    """Return the commands that make a machine ready."""
    install = [] if all(report["packages"].values()) else ["pip install 'farthing[cpu]'"]
    return [*install, *([] if report["model"]["present"] else ["farthing fetch-model"])]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _age_s(measured_at: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(measured_at)).total_seconds()


def _age(age_s: float) -> str:
    hours = age_s / SECONDS_PER_HOUR
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"
