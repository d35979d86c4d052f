"""`explain`: from a model's name and a device's name to an Explanation.

Knows which rates and price a device has; where a model is found, `resolve` knows.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from farthing.catalog import facts
from farthing.catalog.configuration import load_configuration
from farthing.catalog.lookups import LOCAL, default_dtype, device_price, find_device
from farthing.catalog.resolve import resolve_model
from farthing.errors import InputError
from farthing.planning.asked.arguments import checked
from farthing.planning.explanation import Explanation
from farthing.planning.one_pass import build_explanation
from farthing.theory.devices import Calibration, DeviceSpec, ModelCalibration
from farthing.theory.dtypes import Dtype
from farthing.theory.pricing import RentalPrice, given_price
from farthing.theory.roofline import USABLE_MEMORY_SHARE, Rates, calibrated_rates, datasheet_rates
from farthing.theory.steps import StepModel

DEFAULT_DEVICE = "h100-sxm"
DEFAULT_LENGTH = 1024
DEFAULT_BATCH = 1


@checked
def explain(
    model: str,
    *,
    device: str | None = None,
    length: int | None = None,
    batch: int = DEFAULT_BATCH,
    dtype: str | None = None,
    usd_per_hour: float | None = None,
    utilization: float | None = None,
    today: datetime.date | None = None,
    calibration_file: str | Path | None = None,
    calibration: Calibration | None = None,
    model_calibration: ModelCalibration | None = None,
) -> Explanation:
    """Explain what one forward pass of a model costs on a device, and why.

    Args:
        model: name in the catalog, a folder with a config.json, or a hub id.
        device: name in the catalog, or `local` for this machine; None for h100-sxm, or local when a
            calibration file is given.
        length: tokens per text; None for 1024, or the most that the model takes if that is less.
        batch: texts per pass.
        dtype: dtype of weights and activations; None for bf16 (fp16 where there is none), or what was
            calibrated.
        usd_per_hour: price of the device; None for the catalog's, which has none for this machine.
        utilization: share of the time that the device is busy, to price at beside 100 % and 10 %.
        today: day for which prices are wanted; None for the current day.
        calibration_file: what `farthing calibrate --output` wrote where the device is: it then says how fast
            the device is, and the catalog only what it costs.
        calibration: what was measured on this machine; None for what `farthing calibrate` kept.
        model_calibration: what was measured of this model on it; None likewise.

    Raises:
        InputError: an argument is out of range, the device or dtype is unknown, or the calibration file is
            of another model.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
        MissingExtraError: a hub id was given, and huggingface-hub is not installed.
    """
    if (length is not None and length <= 0) or batch <= 0:
        raise InputError(f"length is {length} and batch is {batch}: give whole numbers of at least 1")
    dtype = None if dtype == "auto" else dtype
    if dtype is not None and dtype not in get_args(Dtype):
        raise InputError(f"unknown dtype {dtype!r}: use one of {', '.join(get_args(Dtype))}")
    if usd_per_hour is not None and not 0 <= usd_per_hour < math.inf:
        raise InputError(f"USD per hour is {usd_per_hour}: give a number of at least 0")
    day = today or datetime.date.today()
    where = (device or (LOCAL if calibration_file is not None else DEFAULT_DEVICE)).strip().lower()
    wanted = cast("Dtype | None", dtype)
    if calibration_file is not None:
        from farthing.catalog.calibration_file import read_calibration_file

        calibration, model_calibration = read_calibration_file(Path(calibration_file))
    elif where != LOCAL:
        calibration = model_calibration = None
    elif calibration is None:
        from farthing.catalog.calibrations import kept_calibration

        calibration = kept_calibration(wanted, model=resolve_model(model).name)
    spec = None
    if where != LOCAL:
        found = find_device(facts.devices(), where)
        spec, wanted = found.spec, wanted or (default_dtype(found) if calibration is None else None)
    rates = _rates(spec, wanted, calibration)
    resolved = resolve_model(model)
    name, shape, limit = resolved.name, resolved.shape, resolved.limit
    if calibration_file is not None:
        from farthing.catalog.calibration_file import check_calibrated_model

        check_calibrated_model(name, model_calibration, calibration_file)
    elif calibration is not None and model_calibration is None:
        from farthing.catalog.calibrations import load_model_calibration

        model_calibration = load_model_calibration(name, calibration)
    if length is None:
        length = min(DEFAULT_LENGTH, limit.tokens)
    if length > shape.max_positions:
        raise InputError(f"length {length}: {name} knows {shape.max_positions} positions at most; give fewer")
    explanation = build_explanation(
        StepModel(shape, rates, model_calibration),
        model=name,
        batch=batch,
        length=length,
        price=_price(rates.device, usd_per_hour, day),
        utilization=utilization,
        power_w=None if spec is None else spec.power_w,
    )
    explanation = replace(explanation, notes=(*resolved.notes, *explanation.notes))
    if length <= limit.tokens:
        return explanation
    cut = f"the model's own pipeline cuts texts at {limit.tokens} tokens ({limit.source}): longer ones are not its use"
    return replace(explanation, notes=(*explanation.notes, cut))


def _rates(spec: DeviceSpec | None, dtype: Dtype | None, calibration: Calibration | None) -> Rates:
    """Return the rates of a device: measured if there is a calibration; no datasheet is that of this machine."""
    if calibration is None and spec is not None:
        return datasheet_rates(spec, dtype or "bf16")
    assert calibration is not None  # only a device of the catalog has none
    name = LOCAL if spec is None else spec.device
    if dtype is not None and dtype != calibration.dtype:
        raise InputError(
            f"device {name} was calibrated in {calibration.dtype}, not in {dtype}: leave dtype out"
        )
    rates = calibrated_rates(calibration, name)
    return rates if spec is None else replace(rates, memory_bytes=spec.memory_bytes * USABLE_MEMORY_SHARE)


def _price(device: str, usd_per_hour: float | None, today: datetime.date) -> RentalPrice | None:
    if usd_per_hour is None and device == LOCAL:
        usd_per_hour = load_configuration().usd_per_hour
    if usd_per_hour is None:
        return device_price(facts.rental_quotes(), device, today)
    return given_price(usd_per_hour, today)
