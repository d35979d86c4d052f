"""The devices that are asked for, and what becomes of them: candidates with prices, and what a reader should know."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from farthing.catalog import facts
from farthing.catalog.lookups import LOCAL, device_price, find_device, offers_of
from farthing.catalog.rows import RentalQuote
from farthing.errors import InputError
from farthing.planning.devices.candidate import Candidate
from farthing.planning.devices.notes import candidate_notes
from farthing.planning.devices.on_device import (
    Measured,
    asked_dtype,
    check_server,
    kept_measured,
    read_measured,
    steps_on,
)
from farthing.theory.host import DEFAULT_SERVER, bulk_host_path, host_path
from farthing.theory.pricing import RentalPrice, check_positive, given_price
from farthing.theory.shapes import ModelShape

EVERY = "all"
MARKET = "market"
"""What `providers` may say beside names: a row for each provider, or the marketplaces' prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """Which devices take part, at what price and behind which server; the arguments of `plan` of the same names."""

    devices: Sequence[str] | None = None
    providers: Sequence[str] | None = None
    spot: bool = False
    dtype: str | None = None
    usd_per_hour: float | None = None
    calibration: str | Path | None = None
    server: str = DEFAULT_SERVER
    host_threads: int | None = None
    texts_per_request: int = 1

    @property
    def names(self) -> tuple[str, ...] | None:
        """The devices that are named, once each; None for all that have a price."""
        if self.devices is None:
            return None if self.calibration is None else (LOCAL,)
        return tuple(dict.fromkeys(name.strip().lower() for name in self.devices))

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: it says what.
        """
        asked_dtype(self.dtype)
        check_server(self.server, self.host_threads, self.texts_per_request)
        if self.devices is not None and not self.devices:
            raise InputError("no device is named: leave devices out for all that have a price")
        single = self.names is not None and len(self.names) == 1
        for option, value in (("usd per hour", self.usd_per_hour), ("calibration", self.calibration)):
            if value is not None and not single:
                raise InputError(f"{option} belongs to one device: name that device alone")
        if self.usd_per_hour is not None:
            check_positive("USD per hour", self.usd_per_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The devices that take part, those that no one has given a price for, and what a reader should know of both."""

    candidates: tuple[Candidate, ...]
    unpriced: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def dtype(self) -> str:
        """The dtypes that they run in, in words."""
        return ", ".join(dict.fromkeys(candidate.steps.rates.dtype for candidate in self.candidates))


def find_candidates(
    model: str, shape: ModelShape, choice: DeviceChoice, day: datetime.date, in_bulk: bool = False
) -> Field:
    """Return the devices in question with their prices: all that have one, or those that are named.

    Args:
        model: name of the model.
        shape: its shape.
        choice: which devices, dtype, prices and server.
        day: day for which prices are wanted.
        in_bulk: whether texts come from a file, so that the host only tokenizes, instead of by requests.

    Raises:
        InputError: a device, dtype or option is unknown or does not fit, or a named device has no price.
    """
    choice.check()
    names, wanted = choice.names, asked_dtype(choice.dtype)
    measured = _measured(model, choice, names or ())
    catalog, quotes = facts.devices(), facts.rental_quotes()
    candidates: list[Candidate] = []
    unpriced: list[str] = []
    for name in names if names is not None else [device.device for device in catalog]:
        prices = _prices(name, choice, quotes, day)
        if not prices:
            unpriced.append(name)
        if not prices and names is None:
            continue
        if names is None and wanted is not None and wanted not in find_device(catalog, name).peak:
            continue
        steps = steps_on(shape, name, wanted, measured.get(name), catalog)
        host = (
            bulk_host_path(steps.model_calibration, choice.host_threads)
            if in_bulk
            else host_path(
                steps.model_calibration, choice.server, choice.host_threads, choice.texts_per_request
            )
        )
        candidates += [
            Candidate(steps=steps, host=host, price=price, spot=spot, named=names is not None)
            for price, spot in prices
        ]
    if names is not None and unpriced:
        what, file = ("[local] usd_per_hour", "config") if LOCAL in unpriced else ("a price", "prices")
        whose = f" of {', '.join(choice.providers)}" if choice.providers else ""
        raise InputError(
            f"no price{whose} is known for {', '.join(unpriced)}: give --usd-per-hour for one device, or put "
            f"{what} into {facts.user_folders().configuration / f'{file}.toml'}"
        )
    if not candidates:
        why = (
            f"a price of {', '.join(choice.providers)}"
            if choice.providers
            else f"both a price and {choice.dtype}"
        )
        raise InputError(f"no device of the catalog has {why}: use another")
    return Field(
        candidates=tuple(candidates),
        unpriced=tuple(unpriced) if choice.providers is None else (),
        notes=candidate_notes(candidates, measured, catalog, spread=choice.providers is None),
    )


def _measured(model: str, choice: DeviceChoice, names: Sequence[str]) -> dict[str, Measured]:
    """Return device → what was measured of it: the file given, or what is kept of this machine."""
    if choice.calibration is not None:
        return {names[0]: read_measured(choice.calibration, model)}
    return {LOCAL: kept_measured(model, asked_dtype(choice.dtype))} if LOCAL in names else {}


def _prices(
    device: str, choice: DeviceChoice, quotes: Sequence[RentalQuote], day: datetime.date
) -> list[tuple[RentalPrice, bool]]:
    """Return the prices of a device, each with whether it is spot."""
    if choice.usd_per_hour is not None:
        return [(given_price(choice.usd_per_hour, day), False)]
    if device == LOCAL:
        from farthing.catalog.configuration import load_configuration

        configured = load_configuration()
        if configured.usd_per_hour is None:
            return []
        usd = check_positive(f"{configured.path}: [local] usd_per_hour", configured.usd_per_hour)
        return [(given_price(usd, day, "as configured"), False)]
    found: list[tuple[RentalPrice, bool]] = []
    for kind in ("on-demand", "spot") if choice.spot else ("on-demand",):
        prices: list[RentalPrice | None]
        if choice.providers is None:
            prices = [device_price(quotes, device, day, kind)]
        elif [*choice.providers] == [MARKET]:
            prices = [device_price(quotes, device, day, kind, market=True)]
        else:
            asked = {name.strip().lower() for name in choice.providers}
            prices = [
                device_price([offer], device, day, kind)
                for offer in offers_of(quotes, device, day, kind)
                if EVERY in asked or asked & {offer.provider.lower(), offer.company, offer.company.split()[0]}
            ]
        found += [(price, kind == "spot") for price in prices if price is not None]
    return found
