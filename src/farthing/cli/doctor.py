"""`farthing doctor`: is everything here that a run needs, and what would it say it costs?"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from farthing.cli import options

_ENGINE_PACKAGES = ("torch", "openvino", "tokenizers", "numpy", "pyarrow", "safetensors", "huggingface-hub")


def doctor(as_json: options.Json = False) -> None:
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
    for name, value in report.items():
        packages = value.items() if isinstance(value, dict) else ()
        line = ", ".join(f"{package} {installed or 'absent'}" for package, installed in packages)
        table.add_row(name, Text(line or str(value)))
    console().print(table)


def _report() -> dict[str, Any]:
    from farthing.catalog.calibrations import load_calibration
    from farthing.catalog.configuration import load_configuration
    from farthing.engine.locate import DEFAULT_MODEL, default_model_folder
    from farthing.engine.machine import library_versions, this_machine

    machine = this_machine()
    calibration = load_calibration("fp32", machine=machine.identity, versions=library_versions())
    configuration = load_configuration()
    folder = default_model_folder()
    present = (folder / "model.safetensors").is_file()
    packages = {name: _version(name) for name in _ENGINE_PACKAGES}
    return {
        "farthing": version("farthing"),
        "device": f"{machine.identity}, {machine.memory_bytes / 1e9:.0f} GB",
        "extra cpu": packages,
        "ready": "yes" if all(packages.values()) and present else _missing(packages, present),
        "model": f"{DEFAULT_MODEL} in {folder}"
        if present
        else f"{DEFAULT_MODEL}: run `farthing fetch-model`",
        "calibration": "none that is valid here; `embed` measures it (15 s), or run `farthing calibrate`"
        if calibration is None
        else f"{_age(calibration.measured_at)} old, {calibration.peak_source}, "
        f"{calibration.peak_flops_per_s / 1e9:.0f} GFLOP/s",
        "price": f"unknown: give --usd-per-hour, or set [local] usd_per_hour in {configuration.path}"
        if configuration.usd_per_hour is None
        else f"${configuration.usd_per_hour:g}/h from {configuration.path}",
    }


def _missing(packages: dict[str, str | None], model_present: bool) -> str:
    steps = []
    if not all(packages.values()):
        steps.append("pip install 'farthing[cpu]'")
    if not model_present:
        steps.append("farthing fetch-model")
    return "no; run: " + " && ".join(steps)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _age(measured_at: str) -> str:
    age = datetime.now(UTC) - datetime.fromisoformat(measured_at)
    hours = age.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{age.days} days"
