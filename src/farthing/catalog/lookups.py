"""Finds a device, a model or a price among rows that are passed in.

Knows no file and no clock: rows and today's date are arguments.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable, Sequence

from farthing.catalog.rows import CatalogDevice, CatalogModel, RentalQuote
from farthing.errors import InputError
from farthing.theory.pricing import RentalPrice

FRESH_DAYS = 90
"""Age in days up to which a quote counts as today's price. Source: design/interface.md, "Common words"."""

LOCAL = "local"
"""Name of this machine where a device is asked for."""


def find_device(devices: Sequence[CatalogDevice], name: str) -> CatalogDevice:
    """Return the device called `name`, upper or lower case.

    Raises:
        InputError: there is none; the known ones are listed.
    """
    for device in devices:
        if device.device == name.strip().lower():
            return device
    known = ", ".join([device.device for device in devices] + [LOCAL])
    raise InputError(f"unknown device {name!r}: use one of {known}")


def find_model(models: Iterable[CatalogModel], name: str) -> CatalogModel | None:
    """Return the model with this name or alias, upper or lower case, or None."""
    wanted = name.strip().lower()
    for model in models:
        if wanted in (known.lower() for known in (model.name, *model.aliases)):
            return model
    return None


def device_price(quotes: Iterable[RentalQuote], device: str, today: datetime.date) -> RentalPrice | None:
    """Return what an hour of a device costs, or None when there is no quote.

    It is the median of the on-demand quotes not older than 90 days, else the newest quote (on-demand if
    there is one), flagged as stale. Quotes later than `today` are not known yet and not counted.

    Args:
        quotes: quotes of any device.
        device: short name of the device.
        today: the day for which the price is wanted.
    """
    own = [quote for quote in quotes if quote.device == device and quote.date <= today]
    if not own:
        return None
    on_demand = [quote for quote in own if quote.kind == "on-demand"]
    limit = today - datetime.timedelta(days=FRESH_DAYS)
    used = [quote for quote in on_demand if quote.date >= limit]
    stale = not used
    if stale:
        used = [max(on_demand or own, key=lambda quote: quote.date)]
    prices = [quote.usd_per_hour for quote in used]
    return RentalPrice(
        value=statistics.median(prices),
        min=min(prices),
        max=max(prices),
        as_of=max(quote.date for quote in used).isoformat(),
        quotes=len(used),
        stale=stale,
        sources=tuple(dict.fromkeys(quote.source for quote in used)),
    )
