"""The devices that could serve a model: step times, host and price of each.

Knows where devices, quotes and calibrations are found. Plans nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from farthing.catalog import facts
from farthing.catalog.lookups import LOCAL, default_dtype, device_price, find_device
from farthing.catalog.rows import CatalogDevice, RentalQuote
from farthing.errors import InputError
from farthing.theory.devices import Calibration, ModelCalibration
from farthing.theory.dtypes import Dtype
from farthing.theory.host import bulk_host_path, host_path
from farthing.theory.planning.candidate import Candidate
from farthing.theory.planning.sensitivity import QuoteSpread
from farthing.theory.pricing import SPOT_TERMS, RentalPrice, check_positive, given_price
from farthing.theory.roofline import USABLE_MEMORY_SHARE, calibrated_rates, datasheet_rates
from farthing.theory.shapes import ModelShape
from farthing.theory.steps import StepModel
from farthing.units import SECONDS_PER_HOUR

QUOTES_KNOWN_DAYS = 365
"""A provider's newest quote counts towards the spread of what is asked for a device when it is no older."""

_Measured = tuple[Calibration, ModelCalibration | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChoice:
    """Which devices take part, and at what price; the arguments of `plan` of the same names.

    A calibration without a device is one of this machine.
    """

    devices: Sequence[str] | None = None
    spot: bool = False
    dtype: str | None = None
    usd_per_hour: float | None = None
    calibration: str | Path | None = None
    host_threads: int | None = None

    @property
    def names(self) -> tuple[str, ...] | None:
        """The devices that are named, once each; None for all that have a price."""
        if self.devices is None:
            return None if self.calibration is None else (LOCAL,)
        return tuple(dict.fromkeys(name.strip().lower() for name in self.devices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """The devices that take part.

    Attributes:
        candidates: each with step times, host and price.
        unpriced: those of the catalog that no one has given a price for.
        newest_quotes: device → the spread of the newest quote on demand of each of its providers.
        notes: what a reader should know of prices and step times.
    """

    candidates: tuple[Candidate, ...]
    unpriced: tuple[str, ...]
    newest_quotes: Mapping[str, QuoteSpread]
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
        choice: which devices, dtype and prices.
        day: day for which prices are wanted.
        in_bulk: whether texts come from a file, so that the host only tokenizes, instead of by requests.

    Raises:
        InputError: a device, dtype or option is unknown or does not fit, or a named device has no price.
    """
    _check(choice)
    names = choice.names
    measured = _measured(model, choice, names or ())
    catalog = facts.devices()
    quotes = facts.rental_quotes()
    asked = names if names is not None else [device.device for device in catalog]
    candidates: list[Candidate] = []
    unpriced: list[str] = []
    for name in asked:
        prices = _prices(name, choice, quotes, day)
        if not prices:
            unpriced.append(name)
        if not prices and names is None:
            continue
        wanted = cast("Dtype | None", choice.dtype)
        if names is None and wanted is not None and wanted not in find_device(catalog, name).peak:
            continue
        steps = _steps(shape, name, wanted, measured.get(name), catalog)
        host = (bulk_host_path if in_bulk else host_path)(steps.model_calibration)
        if choice.host_threads is not None:
            host = replace(host, threads=choice.host_threads)
        candidates += [
            Candidate(steps=steps, host=host, price=price, provider=provider, spot=spot)
            for price, provider, spot in prices
        ]
    if names is not None and unpriced:
        what, file = ("[local] usd_per_hour", "config") if LOCAL in unpriced else ("a price", "prices")
        raise InputError(
            f"no price is known for {', '.join(unpriced)}: give --usd-per-hour for one device, or put "
            f"{what} into {facts.user_folders().configuration / f'{file}.toml'}"
        )
    if not candidates:
        raise InputError(f"no device of the catalog has both a price and {choice.dtype}: use another dtype")
    return Field(
        candidates=tuple(candidates),
        unpriced=tuple(unpriced),
        newest_quotes={} if choice.usd_per_hour is not None else _newest_quotes(quotes, day),
        notes=(*_measured_notes(measured), *_notes(candidates, choice.spot)),
    )


def _newest_quotes(quotes: Sequence[RentalQuote], day: datetime.date) -> dict[str, QuoteSpread]:
    """Return the spread of the newest quote of each provider, as old as a year."""
    newest: dict[tuple[str, str], RentalQuote] = {}
    for quote in quotes:
        key = quote.device, quote.provider
        if quote.kind != "on-demand" or not 0 <= (day - quote.date).days <= QUOTES_KNOWN_DAYS:
            continue
        if key not in newest or newest[key].date < quote.date:
            newest[key] = quote
    spreads: dict[str, QuoteSpread] = {}
    for (device, _), quote in newest.items():
        known = spreads.get(device)
        usd, since = quote.usd_per_hour, quote.date.isoformat()
        spreads[device] = QuoteSpread(
            low=usd if known is None else min(known.low, usd),
            high=usd if known is None else max(known.high, usd),
            since=since if known is None else min(known.since, since),
        )
    return spreads


def _check(choice: DeviceChoice) -> None:
    if choice.dtype is not None and choice.dtype not in get_args(Dtype):
        raise InputError(f"unknown dtype {choice.dtype!r}: use one of {', '.join(get_args(Dtype))}")
    if choice.host_threads is not None and choice.host_threads < 1:
        raise InputError(f"host threads is {choice.host_threads}: give a whole number of at least 1")
    if choice.devices is not None and not choice.devices:
        raise InputError("no device is named: leave devices out for all that have a price")
    single = choice.names is not None and len(choice.names) == 1
    for option, value in (("usd per hour", choice.usd_per_hour), ("calibration", choice.calibration)):
        if value is not None and not single:
            raise InputError(f"{option} belongs to one device: name that device alone")
    if choice.usd_per_hour is not None:
        check_positive("USD per hour", choice.usd_per_hour)


def _measured(model: str, choice: DeviceChoice, names: Sequence[str]) -> dict[str, _Measured]:
    """Return device → what was measured of it: the file given, or what is kept of this machine."""
    if choice.calibration is not None:
        from farthing.catalog.calibration_file import check_calibrated_model, read_calibration_file

        measured = read_calibration_file(Path(choice.calibration))
        check_calibrated_model(model, measured[1], choice.calibration)
        return {names[0]: measured}
    if LOCAL not in names:
        return {}
    from farthing.catalog.calibrations import kept_calibration, load_model_calibration

    machine = kept_calibration(cast("Dtype | None", choice.dtype), model=model)
    return {LOCAL: (machine, load_model_calibration(model, machine))}


def _steps(
    shape: ModelShape,
    name: str,
    dtype: Dtype | None,
    measured: _Measured | None,
    catalog: Sequence[CatalogDevice],
) -> StepModel:
    if measured is not None:
        machine, model = measured
        if dtype is not None and dtype != machine.dtype:
            raise InputError(f"the calibration is in {machine.dtype}, not in {dtype}: leave the dtype out")
        rates = calibrated_rates(machine, name)
        if name != LOCAL:
            memory = find_device(catalog, name).memory.value
            rates = replace(rates, memory_bytes=memory * USABLE_MEMORY_SHARE)
        return StepModel(shape, rates, model)
    device = find_device(catalog, name)
    return StepModel(shape, datasheet_rates(device.spec, dtype or default_dtype(device)))


def _prices(
    device: str, choice: DeviceChoice, quotes: Sequence[RentalQuote], day: datetime.date
) -> list[tuple[RentalPrice, str, bool]]:
    """Return (price, whose, whether spot) of a device."""
    if choice.usd_per_hour is not None:
        return [(given_price(choice.usd_per_hour, day), "as given", False)]
    if device == LOCAL:
        from farthing.catalog.configuration import load_configuration

        configured = load_configuration()
        if configured.usd_per_hour is None:
            return []
        usd = check_positive(f"{configured.path}: [local] usd_per_hour", configured.usd_per_hour)
        return [(given_price(usd, day), "as configured", False)]
    found = []
    price = device_price(quotes, device, day, "on-demand")
    if price is not None:
        found.append((price, _provider(price, "on-demand"), False))
    interruptible = device_price(quotes, device, day, "spot") if choice.spot else None
    if interruptible is not None:
        found.append((interruptible, _provider(interruptible, "spot"), True))
    return found


def _provider(price: RentalPrice, kind: str) -> str:
    return f"one {kind} quote" if price.quotes == 1 else f"median of {price.quotes} {kind} quotes"


def _measured_notes(measured: Mapping[str, _Measured]) -> list[str]:
    notes = []
    for device, (machine, model) in measured.items():
        what = "the model itself" if model is not None else "its matrix peak and bandwidth, not the model"
        notes.append(f"step times of {device} measured on {machine.machine} ({machine.measured_at}): {what}")
    return notes


def _notes(candidates: Sequence[Candidate], spot: bool) -> tuple[str, ...]:
    stale = dict.fromkeys(f"{c.device} ({c.price.as_of})" for c in candidates if c.price.stale)
    notes = [f"prices older than 90 days: {', '.join(stale)}"] if stale else []
    single = dict.fromkeys(
        c.device for c in candidates if c.price.quotes == 1 and c.price.sources != ("as given",)
    )
    if single:
        notes.append(f"one quote only, so its spread is not known: {', '.join(single)}")
    if any(candidate.steps.basis == "datasheet" for candidate in candidates):
        notes.append("step times from datasheets × published shares, not measured: expect them 12–30 % off")
    notes += [f"host: {source}" for source in dict.fromkeys(c.host.source for c in candidates)]
    if spot:
        terms = SPOT_TERMS
        notes.append(
            f"spot, an assumption: interrupted every {terms.mean_time_between_s / SECONDS_PER_HOUR:g} h, "
            f"{terms.lost_s + terms.drain_s:g} s lost each time; p99 is that of the replicas that are up"
        )
    return tuple(notes)
