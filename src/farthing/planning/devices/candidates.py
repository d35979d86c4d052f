"""The devices that could serve a model: step times, host and price of each."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.catalog import facts
from farthing.catalog.lookups import LOCAL, device_price, find_device, offers_of
from farthing.catalog.rows import RentalQuote
from farthing.errors import InputError
from farthing.planning.devices.on_device import (
    Measured,
    asked_dtype,
    check_server,
    kept_measured,
    read_measured,
    steps_on,
)
from farthing.theory.dtypes import DTYPE_BYTES
from farthing.theory.host import DEFAULT_SERVER, HostPath, bulk_host_path, host_path
from farthing.theory.pricing import SPOT_TERMS, RentalPrice, check_positive, given_price, spot_usd_per_hour
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import memory_needed_bytes
from farthing.theory.time.steps import StepModel
from farthing.units import SECONDS_PER_HOUR, format_si

EVERY = "all"
MARKET = "market"
"""What `providers` may say beside names: a row for each provider, or the marketplaces' prices."""

MEMORY = "from memory"
"""What stands in the source of a figure of the catalog that has none."""

ACTIVATIONS_ERROR = 2.4
"""How much more than the least the activations of real runners take. Source: of published peaks of memory at batch 64,
16 to 58 % were not what was reckoned (docs/facts.md, Memory): 1 / (1 − .58)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A device that could serve the demand, at one price.

    Attributes:
        steps: step times of the model on it.
        host: the host beside it.
        price: what an hour of it costs.
        spot: whether it can be taken away.
        named: whether it was asked for by name.
    """

    steps: StepModel
    host: HostPath
    price: RentalPrice
    spot: bool = False
    named: bool = False

    @property
    def device(self) -> str:
        """Short name of the device."""
        return self.steps.rates.device

    def offered(self, tokens_per_s: float) -> dict[str, Any]:
        """Return the fields of `Offered`."""
        price = self.price
        return {
            "device": self.device,
            "provider": price.provider,
            "usd_per_hour": price.value,
            "usd_per_hour_min": price.min,
            "usd_per_hour_max": price.max,
            "price_as_of": price.as_of,
            "price_stale": price.stale,
            "price_source": price.source,
            "marketplace": price.market,
            "spot": self.spot,
            "basis": self.steps.basis,
            "tokens_per_s": tokens_per_s,
        }

    def usd_per_hour(self, quoted: float | None = None) -> float:
        """Return what a useful hour costs at a quote: for spot devices, interruptions are paid for."""
        quoted = self.price.value if quoted is None else quoted
        return spot_usd_per_hour(quoted, SPOT_TERMS) if self.spot else quoted

    def rented(self, replicas: int) -> int:
        """Return how many devices are paid for: as many as are sold together, or a multiple."""
        return -(-replicas // self.price.sold_by) * self.price.sold_by

    def memory_shortage(self, tokens: int, activations: float = 1.0) -> str | None:
        """Return why the model does not fit the device with a step of `tokens`, or None when it does.

        Args:
            tokens: of the largest step.
            activations: what is taken for them over the least that they need.
        """
        rates = self.steps.rates
        if rates.memory_bytes is None:
            return None
        least, weights = (
            memory_needed_bytes(self.steps.shape, n, DTYPE_BYTES[rates.dtype]) for n in (tokens, 0)
        )
        needed = weights + activations * (least - weights)
        if needed <= rates.memory_bytes:
            return None
        return (
            f"does not fit: needs {format_si(needed, 'B')} of {format_si(rates.memory_bytes, 'B')} of memory"
        )


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
        notes=(*_measured_notes(measured), *_notes(candidates, choice.spot)),
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


def _measured_notes(measured: dict[str, Measured]) -> list[str]:
    """Return which step times are measured ones, and where."""
    notes = []
    for name, (machine, model) in measured.items():
        what = (
            "this model's step times"
            if model is not None
            else "the matrix peak and bandwidth, not this model,"
        )
        notes.append(f"{name}: {what} were measured on {machine.machine}, {machine.measured_at}")
    return notes


def _notes(candidates: Sequence[Candidate], spot: bool) -> list[str]:
    sheet = [c for c in candidates if c.steps.basis == "datasheet"]
    notes = []
    if sheet:
        notes.append(
            "step times of datasheets × published shares, not measured: up to a third longer or more; where they were "
            "off, they were mostly too short"
        )
    unmeasured = dict.fromkeys(c.device for c in sheet if not c.steps.rates.share_published)
    if unmeasured:
        notes.append(
            f"no one has published what {', '.join(unmeasured)} really reach: the median share of the measured devices "
            "is taken, with a wide interval"
        )
    remembered = dict.fromkeys(c.device for c in sheet if MEMORY in c.steps.rates.peak_source)
    if remembered:
        notes.append(f"the datasheet of {', '.join(remembered)} has figures from memory, without a source")
    if sheet and sheet[0].host.assumed:
        notes.append(f"the server is assumed: {sheet[0].host.source}; --server names another")
    unsourced = dict.fromkeys(c.device for c in candidates if c.price.source is None)
    if unsourced:
        notes.append(f"prices without a source of their own: {', '.join(unsourced)}")
    stale = dict.fromkeys(c.device for c in candidates if c.price.stale)
    if stale:
        notes.append(f"old prices, their newest quote is over 90 days old: {', '.join(stale)}")
    if spot:
        hours = SPOT_TERMS.mean_time_between_s / SECONDS_PER_HOUR
        notes.append(
            f"spot: an interruption every {hours:g} hours that costs "
            f"{SPOT_TERMS.lost_s + SPOT_TERMS.drain_s:g} s is assumed and paid for"
        )
    return notes
