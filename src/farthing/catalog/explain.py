"""`explain`: from a model's name and a device's name to an Explanation.

Knows where a configuration is found (catalog, folder, hub) and which rates and price a device has.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from farthing.catalog.calibrations import load_calibration, load_model_calibration
from farthing.catalog.configuration import load_configuration
from farthing.catalog.load import load_devices, load_models, load_rental_quotes
from farthing.catalog.lookups import LOCAL, device_price, find_device, find_model
from farthing.catalog.model_files import hub_config, read_json_object
from farthing.errors import InputError, ModelError
from farthing.theory.devices import Calibration, Dtype, ModelCalibration
from farthing.theory.explaining import build_explanation
from farthing.theory.explanation import Explanation
from farthing.theory.families import shape_from_config
from farthing.theory.pricing import RentalPrice
from farthing.theory.roofline import Rates, calibrated_rates, datasheet_rates
from farthing.theory.shapes import ModelShape

DEFAULT_DEVICE = "h100-sxm"
DEFAULT_LENGTH = 1024
DEFAULT_BATCH = 1


def explain(
    model: str,
    *,
    device: str = DEFAULT_DEVICE,
    length: int | None = None,
    batch: int = DEFAULT_BATCH,
    dtype: str | None = None,
    usd_per_hour: float | None = None,
    utilization: float | None = None,
    today: datetime.date | None = None,
    calibration: Calibration | None = None,
    model_calibration: ModelCalibration | None = None,
) -> Explanation:
    """Explain what one forward pass of a model costs on a device, and why.

    Args:
        model: name in the catalog, a folder with a config.json, or a hub id.
        device: name in the catalog, or `local` for this machine.
        length: tokens per text; None for 1024, or the model's limit if that is lower.
        batch: texts per pass.
        dtype: dtype of weights and activations; None for bf16, or locally what was calibrated.
        usd_per_hour: price of the device; None for the catalog's, which has none for this machine.
        utilization: share of the time that the device is busy, to price at beside 100 % and 10 %.
        today: day for which prices are wanted; None for the current day.
        calibration: what was measured on this machine; None for what `farthing calibrate` kept.
        model_calibration: what was measured of this model on it; None likewise.

    Raises:
        InputError: an argument is out of range, or the device or dtype is unknown.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
        MissingExtraError: a hub id was given, and huggingface-hub is not installed.
    """
    if (length is not None and length <= 0) or batch <= 0:
        raise InputError(f"length is {length} and batch is {batch}: give whole numbers of at least 1")
    if dtype is not None and dtype not in get_args(Dtype):
        raise InputError(f"unknown dtype {dtype!r}: use one of {', '.join(get_args(Dtype))}")
    if usd_per_hour is not None and not 0 <= usd_per_hour < math.inf:
        raise InputError(f"USD per hour is {usd_per_hour}: give a number of at least 0")
    day = today or datetime.date.today()
    local = device.strip().lower() == LOCAL
    if local and calibration is None:
        calibration = load_calibration(cast("Dtype", dtype or "fp32"))
    rates = _rates(device, cast("Dtype | None", dtype), calibration if local else None)
    name, shape = resolve_shape(model)
    if local and calibration is not None and model_calibration is None:
        model_calibration = load_model_calibration(name, calibration)
    if length is None:
        length = min(DEFAULT_LENGTH, shape.max_positions)
    if length > shape.max_positions:
        raise InputError(f"length {length}: {name} knows {shape.max_positions} positions at most; give fewer")
    return build_explanation(
        model=name,
        shape=shape,
        rates=rates,
        batch=batch,
        length=length,
        price=_price(rates.device, usd_per_hour, day),
        utilization=utilization,
        model_calibration=model_calibration if local else None,
    )


def resolve_shape(model: str) -> tuple[str, ModelShape]:
    """Return the name to show for a model and its shape: from a folder, the catalog or the hub.

    Raises:
        ModelError: the folder or the configuration cannot be used, or the name cannot be a hub id.
        ModelUnavailableError: the hub cannot be reached, or has no such model.
        MissingExtraError: the hub is needed, and huggingface-hub is not installed.
    """
    if not model.strip():
        raise ModelError("no model is named; give a folder with a config.json, a hub id or a catalog name")
    path = Path(model).expanduser()
    if path.is_dir():
        name = str(path.resolve())
        return name, shape_from_config(_config_of(path / "config.json"), f"{model}/config.json")
    known = find_model(load_models(), model)
    if known is not None:
        return known.name, shape_from_config(known.config, known.name)
    if path.exists():
        raise ModelError(f"{model}: is a file; give the model's folder")
    names = ", ".join(row.name for row in load_models())
    if model.count("/") != 1 or model.startswith((".", "/", "~")) or model.endswith("/"):
        raise ModelError(
            f"{model}: no such folder; give a folder with a config.json, a hub id or one of {names}"
        )
    return model, shape_from_config(_config_of(hub_config(model)), model)


def _rates(device: str, dtype: Dtype | None, calibration: Calibration | None) -> Rates:
    """Return the rates of `device`; a calibration is only given for this machine."""
    if device.strip().lower() != LOCAL:
        return datasheet_rates(find_device(load_devices(), device).spec, dtype or "bf16")
    if calibration is None:
        raise InputError("device local is not calibrated yet: run `farthing calibrate` first")
    if dtype is not None and dtype != calibration.dtype:
        raise InputError(
            f"device local was calibrated in {calibration.dtype}, not in {dtype}: leave dtype out"
        )
    return calibrated_rates(calibration)


def _price(device: str, usd_per_hour: float | None, today: datetime.date) -> RentalPrice | None:
    if usd_per_hour is None and device == LOCAL:
        usd_per_hour = load_configuration().usd_per_hour
    if usd_per_hour is None:
        return device_price(load_rental_quotes(), device, today)
    return RentalPrice(
        value=usd_per_hour,
        min=usd_per_hour,
        max=usd_per_hour,
        as_of=today.isoformat(),
        quotes=1,
        stale=False,
        sources=("as given",),
    )


def _config_of(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelError(
            f"{path.parent}: no config.json in this folder; give a folder in Hugging Face layout"
        )
    return read_json_object(path)
