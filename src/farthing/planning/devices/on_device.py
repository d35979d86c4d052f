"""A model on one device: as it was measured there, or as its datasheet and published shares say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from farthing.catalog.lookups import LOCAL, default_dtype, find_device
from farthing.catalog.rows import CatalogDevice
from farthing.errors import InputError
from farthing.theory.devices import Calibration, ModelCalibration
from farthing.theory.dtypes import Dtype
from farthing.theory.host import SERVERS
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import USABLE_MEMORY_SHARE, calibrated_rates, datasheet_rates
from farthing.theory.time.steps import StepModel

Measured = tuple[Calibration, ModelCalibration | None]


def asked_dtype(dtype: str | None) -> Dtype | None:
    """Return the dtype that is asked for; None for the device's own.

    Raises:
        InputError: it is unknown.
    """
    if dtype is None or dtype == "auto":
        return None
    if dtype not in get_args(Dtype):
        raise InputError(f"unknown dtype {dtype!r}: use one of {', '.join(get_args(Dtype))}")
    return cast("Dtype", dtype)


def check_server(server: str, threads: int | None, texts_per_request: int) -> None:
    """Refuse a server that is unknown, and numbers below 1.

    Raises:
        InputError: it says which.
    """
    if server not in SERVERS:
        raise InputError(f"unknown server {server!r}: use one of {', '.join(SERVERS)}")
    for option, count in (("host threads", threads), ("texts per request", texts_per_request)):
        if count is not None and count < 1:
            raise InputError(f"{option} is {count}: give a whole number of at least 1")


def read_measured(path: str | Path, model: str) -> Measured:
    """Return what a calibration file says, which is of this model or of none.

    Raises:
        InputError: it cannot be read, or is of another model.
    """
    from farthing.catalog.calibration_file import check_calibrated_model, read_calibration_file

    measured = read_calibration_file(Path(path))
    check_calibrated_model(model, measured[1], path)
    return measured


def kept_measured(model: str, dtype: Dtype | None) -> Measured:
    """Return what `farthing calibrate` kept of this machine and, if it did, of the model.

    Raises:
        InputError: nothing is kept.
    """
    from farthing.catalog.calibrations import kept_calibration, load_model_calibration

    machine = kept_calibration(dtype, model=model)
    return machine, load_model_calibration(model, machine)


def steps_on(
    shape: ModelShape,
    device: str,
    dtype: Dtype | None,
    measured: Measured | None,
    catalog: Sequence[CatalogDevice],
) -> StepModel:
    """Return the step times of a model on a device: measured ones if there are some.

    Raises:
        InputError: the device is unknown, lacks the dtype, or was calibrated in another.
    """
    found = None if device == LOCAL else find_device(catalog, device)
    if measured is None:
        assert found is not None  # this machine has no datasheet
        return StepModel(shape, datasheet_rates(found.spec, dtype or default_dtype(found)))
    machine, model = measured
    if dtype is not None and dtype != machine.dtype:
        raise InputError(
            f"device {device} was calibrated in {machine.dtype}, not in {dtype}: leave dtype out"
        )
    rates = calibrated_rates(machine, device)
    if found is not None:
        rates = replace(rates, memory_bytes=found.memory.value * USABLE_MEMORY_SHARE)
    return StepModel(shape, rates, model)
