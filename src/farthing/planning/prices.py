"""The price list: what each device and API costs, how old that is, and who says so.

Knows which prices count, by `facts` and `lookups`. Draws nothing.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from farthing.catalog import facts
from farthing.catalog.lookups import FRESH_DAYS, LOCAL, age_days, device_price, find_device, is_old
from farthing.catalog.rows import ApiPrice, CatalogDevice, RentalKind, RentalQuote
from farthing.errors import InputError
from farthing.planning.asked.arguments import checked
from farthing.theory.pricing import RentalPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePrices:
    """What is known of the price of one device.

    Attributes:
        device: the device.
        price: what an hour of it costs; None when no one says.
        quotes: the quotes of this kind, the newest first.
    """

    device: CatalogDevice
    price: RentalPrice | None
    quotes: tuple[RentalQuote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Prices on one day.

    Attributes:
        day: the day.
        kind: on demand, or spot.
        devices: the cheapest first, those without a price last; None when not asked for.
        apis: the cheapest per character at list prices first; None when not asked for.
    """

    day: datetime.date
    kind: RentalKind
    devices: tuple[DevicePrices, ...] | None
    apis: tuple[ApiPrice, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the list as plain JSON types; what was not asked for has no key."""
        document: dict[str, Any] = {
            "as_of": self.day.isoformat(),
            "kind": self.kind,
            "old_after_days": FRESH_DAYS,
        }
        if self.devices is not None:
            document["devices"] = [self._device(row) for row in self.devices]
        if self.apis is not None:
            document["apis"] = [self._api(row) for row in self.apis]
        return document

    def _device(self, row: DevicePrices) -> dict[str, Any]:
        price = row.price
        return {
            "device": row.device.device,
            "name": row.device.name,
            "usd_per_hour": None
            if price is None
            else {
                "value": price.value,
                "min": price.min,
                "max": price.max,
                "provider": price.provider,
                "marketplace": price.market,
                "quotes": price.offers,
                **self._age(datetime.date.fromisoformat(price.as_of)),
                "sources": [] if price.source is None else [price.source],
            },
            "quotes": [
                {
                    "provider": quote.provider,
                    "usd_per_hour": quote.usd_per_hour,
                    **self._age(quote.date),
                    "marketplace": quote.market,
                    "sold_by": quote.sold_by,
                    "source": quote.source if quote.sourced else None,
                    "note": quote.note,
                }
                for quote in row.quotes
            ],
        }

    def _api(self, row: ApiPrice) -> dict[str, Any]:
        rate = row.tokens_per_character
        mid, low, high = row.usd_per_million_characters
        return {
            "provider": row.provider,
            "model": row.model,
            "usd_per_million_tokens": row.usd_per_million_tokens,
            "usd_per_million_tokens_batch": None if row.batch is None else row.batch.usd_per_million_tokens,
            "batch_as_of": None if row.batch is None else row.batch.date.isoformat(),
            "batch_source": None if row.batch is None else row.batch.source,
            "tokens_per_character": {
                "mid": rate.mid,
                "low": rate.low,
                "high": rate.high,
                "tokenizer": rate.tokenizer,
                "source": rate.source,
                "as_of": rate.date.isoformat(),
            },
            "usd_per_million_characters": {"mid": mid, "low": low, "high": high},
            **self._age(row.date),
            "source": row.source,
            "note": row.note,
        }

    def _age(self, date: datetime.date) -> dict[str, Any]:
        return {
            "as_of": date.isoformat(),
            "age_days": age_days(date, self.day),
            "old": is_old(date, self.day),
        }


@checked
def price_list(
    day: datetime.date,
    *,
    kind: RentalKind = "on-demand",
    device: str | None = None,
    devices: bool = True,
    apis: bool = True,
    folders: facts.Folders | None = None,
) -> PriceList:
    """Return the prices that count on a day.

    Args:
        day: the day.
        kind: which rental prices: on demand, or spot.
        device: this device alone, and no APIs; None for all.
        devices: whether devices are asked for.
        apis: whether APIs are asked for.
        folders: where files beside the packaged ones lie; None for the XDG directories.

    Raises:
        InputError: the device is unknown, or a row of the user's files is wrong.
    """
    rows = None
    if devices or device is not None:
        wanted = facts.devices(folders) if device is None else (one_device(device, folders),)
        quotes = facts.rental_quotes(folders)
        rows = tuple(sorted((_of_device(row, quotes, kind, day) for row in wanted), key=_cost))
    listed = None
    if apis and device is None:
        listed = tuple(sorted(facts.api_prices(folders), key=lambda row: row.usd_per_million_characters))
    return PriceList(day=day, kind=kind, devices=rows, apis=listed)


def one_device(device: str, folders: facts.Folders | None = None) -> CatalogDevice:
    """Return one device of the catalog.

    Raises:
        InputError: there is none of this name, or it is this machine.
    """
    if device.strip().lower() == LOCAL:
        raise InputError(
            "device local is this machine, not in the catalog: `farthing doctor` shows its price"
        )
    return find_device(facts.devices(folders), device)


def _of_device(
    device: CatalogDevice, quotes: tuple[RentalQuote, ...], kind: RentalKind, day: datetime.date
) -> DevicePrices:
    own = [row for row in quotes if row.device == device.device and row.kind == kind]
    return DevicePrices(
        device=device,
        price=device_price(own, device.device, day, kind),
        quotes=tuple(sorted(own, key=lambda row: row.date, reverse=True)),
    )


def _cost(row: DevicePrices) -> float:
    return float("inf") if row.price is None else row.price.value
