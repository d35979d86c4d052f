"""Finds a device, a model or a price among rows that are passed in.

Knows no file and no clock: rows and today's date are arguments.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from farthing.catalog.rows import (
    CatalogDevice,
    CatalogModel,
    RentalKind,
    RentalQuote,
    TokensPerCharacter,
)
from farthing.errors import InputError
from farthing.theory.dtypes import Dtype
from farthing.theory.pricing import RentalPrice

FRESH_DAYS = 90
"""Age in days up to which a quote counts as today's price. A choice; an older one is shown and marked."""

UNKNOWN_TOKENIZER = "unknown"
"""Row of tokens per character for a tokenizer that is not to be had: an interval over all that are."""

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
    """Return the first model with this name, alias or part of its name after the slash, or None.

    Upper or lower case. A whole name goes before the others' short ones.
    """
    wanted, short = name.strip().lower(), None
    for model in models:
        full = model.name.lower()
        if wanted == full:
            return model
        if short is None and wanted in (full.rpartition("/")[2], *(alias.lower() for alias in model.aliases)):
            short = model
    return short


def default_dtype(device: CatalogDevice) -> Dtype:
    """Return the dtype to reckon with when none is asked for: bf16, or fp16 on a device without it."""
    return "bf16" if "bf16" in device.peak else "fp16"


def tokens_per_character_of(rows: Iterable[TokensPerCharacter], vocabulary: int) -> TokensPerCharacter:
    """Return the tokens per character of a model's tokenizer, told by the size of its vocabulary.

    A family of models (`model_type`) does not tell: multilingual-e5-small is a BERT with XLM-R's vocabulary.

    Args:
        rows: the known tokenizers, with the one that stands for all others.
        vocabulary: rows of the model's token embedding table.
    """
    known = {row.tokenizer: row for row in rows}
    matching = (row for row in known.values() if vocabulary in row.vocabularies)
    return next(matching, known[UNKNOWN_TOKENIZER])


def age_days(date: datetime.date, today: datetime.date) -> int:
    """Return how old a fact is, in days."""
    return (today - date).days


def is_old(date: datetime.date, today: datetime.date) -> bool:
    """Return whether a price is too old to count as today's."""
    return age_days(date, today) > FRESH_DAYS


def device_price(
    quotes: Iterable[RentalQuote],
    device: str,
    today: datetime.date,
    kind: RentalKind = "on-demand",
    *,
    market: bool | None = None,
) -> RentalPrice | None:
    """Return what an hour of a device costs, or None when there is no quote.

    It is the median offer of the providers that list a price, else of the marketplaces: of each provider its newest
    quote. Those not older than 90 days count, else the newest one, flagged as stale. Kinds never stand in for each
    other. Quotes later than `today` are not known yet and not counted.

    Args:
        quotes: quotes of any device.
        device: short name of the device.
        today: the day for which the price is wanted.
        kind: on demand, or interruptible at any time (spot).
        market: of marketplaces alone, or of the others alone; None for marketplaces where no other has an offer.
    """
    offers = offers_of(quotes, device, today, kind)
    chosen = [offer for offer in offers if market is None or offer.market == market]
    fresh = [offer for offer in chosen if not is_old(offer.date, today)]
    if market is None:
        fresh = [offer for offer in fresh if not offer.market] or fresh
    used = fresh or sorted(chosen, key=lambda offer: offer.date)[-1:]
    if not used:
        return None
    used.sort(key=lambda offer: offer.usd_per_hour)
    median = used[(len(used) - 1) // 2]
    several = len(used) > 1
    return RentalPrice(
        value=median.usd_per_hour,
        provider=median.provider,
        as_of=median.date.isoformat(),
        source=median.source if median.sourced else None,
        min=used[0].usd_per_hour if several else None,
        max=used[-1].usd_per_hour if several else None,
        offers=len(used),
        stale=not fresh,
        market=median.market,
        sold_by=median.sold_by,
    )


def offers_of(
    quotes: Iterable[RentalQuote], device: str, today: datetime.date, kind: RentalKind = "on-demand"
) -> list[RentalQuote]:
    """Return the newest quote of each provider of a device, the cheapest where several are of one day."""
    newest: dict[str, RentalQuote] = {}
    for quote in quotes:
        if quote.device == device and quote.kind == kind and quote.date <= today:
            best = newest.setdefault(quote.company, quote)
            if (quote.date, -quote.usd_per_hour) > (best.date, -best.usd_per_hour):
                newest[quote.company] = quote
    return list(newest.values())
