"""`explain`: from a model's name and a device's name to an Explanation.

Knows which rates and price a device has; where a model is found, `resolve` knows.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from pathlib import Path

from farthing.catalog import facts
from farthing.catalog.configuration import load_configuration
from farthing.catalog.lookups import LOCAL, device_price, find_device
from farthing.catalog.resolve import resolve_model
from farthing.errors import InputError
from farthing.planning.asked.arguments import checked
from farthing.planning.devices.on_device import (
    asked_dtype,
    check_server,
    kept_measured,
    read_measured,
    steps_on,
)
from farthing.planning.explanation import Explanation
from farthing.planning.one_pass import build_explanation
from farthing.theory.host import DEFAULT_SERVER, host_path
from farthing.theory.pricing import RentalPrice, given_price

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
    calibration: str | Path | None = None,
    server: str = DEFAULT_SERVER,
    host_threads: int | None = None,
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
        calibration: file that `farthing calibrate --output` wrote where the device is: it then says how fast the
            device is, and the catalog only what it costs; None for what is kept of this machine.
        server: kind of server before the device, of `theory.host.SERVERS`.
        host_threads: threads of the server's host path; None for what was published or measured.

    Raises:
        InputError: an argument is out of range, the device or dtype is unknown, or the calibration file is
            of another model.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
        MissingExtraError: a hub id was given, and huggingface-hub is not installed.
    """
    if (length is not None and length <= 0) or batch <= 0:
        raise InputError(f"length is {length} and batch is {batch}: give whole numbers of at least 1")
    wanted = asked_dtype(dtype)
    check_server(server, host_threads, 1)
    if usd_per_hour is not None and not 0 <= usd_per_hour < math.inf:
        raise InputError(f"USD per hour is {usd_per_hour}: give a number of at least 0")
    where = (device or (LOCAL if calibration is not None else DEFAULT_DEVICE)).strip().lower()
    catalog = facts.devices()
    found = None if where == LOCAL else find_device(catalog, where)
    resolved = resolve_model(model)
    name, shape, limit = resolved.name, resolved.shape, resolved.limit
    measured = None
    if calibration is not None:
        measured = read_measured(calibration, name)
    elif found is None:
        measured = kept_measured(name, wanted)
    steps = steps_on(shape, where, wanted, measured, catalog)
    if length is None:
        length = min(DEFAULT_LENGTH, limit.tokens)
    if length > shape.max_positions:
        raise InputError(f"length {length}: {name} knows {shape.max_positions} positions at most; give fewer")
    explanation = build_explanation(
        steps,
        host_path(steps.model_calibration, server, host_threads),
        model=name,
        batch=batch,
        length=length,
        price=_price(where, usd_per_hour, today or datetime.date.today()),
        utilization=utilization,
        power_w=None if found is None else found.spec.power_w,
    )
    explanation = replace(explanation, notes=(*resolved.notes, *explanation.notes))
    if length <= limit.tokens:
        return explanation
    cut = f"the model's own pipeline cuts texts at {limit.tokens} tokens ({limit.source}): longer ones are not its use"
    return replace(explanation, notes=(*explanation.notes, cut))


def _price(device: str, usd_per_hour: float | None, today: datetime.date) -> RentalPrice | None:
    if usd_per_hour is None and device == LOCAL:
        usd_per_hour = load_configuration().usd_per_hour
    if usd_per_hour is None:
        return device_price(facts.rental_quotes(), device, today)
    return given_price(usd_per_hour, today)
