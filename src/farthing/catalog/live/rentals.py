"""From gpuhunt's offers to rental quotes: which device an offer is of, and what a provider asks for one.

Knows how gpuhunt names accelerators, and how each cloud's instance names tell SXM from PCIe. What cannot be told
is left out: an H100 PCIe does three quarters of an H100 SXM for less money, so a guess would make either price
wrong. Knows no file.

Source: gpuhunt 0.1.34, `providers/*.py` (names, instance names, price of the whole instance).
"""

from __future__ import annotations

import datetime
import logging
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from farthing.catalog.rows import CatalogDevice, RentalKind, RentalQuote

if TYPE_CHECKING:
    from gpuhunt import Catalog, CatalogItem  # type: ignore[import-untyped]

_DEVICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("h100", "sxm"): ("h100-sxm",),
    ("h100", "pcie"): ("h100-pcie",),
    ("h200", ""): ("h200",),
    ("b200", ""): ("b200",),
    ("b300", ""): ("b300",),
    ("gb200", ""): ("gb200",),
    ("a100", "sxm"): ("a100-80g", "a100-40g"),
    ("v100", "sxm"): ("v100",),
    ("l40s", ""): ("l40s",),
    ("l4", ""): ("l4",),
    ("a10", ""): ("a10",),
    ("t4", ""): ("t4",),
    ("rtx3090", ""): ("rtx-3090",),
    ("rtx4090", ""): ("rtx-4090",),
    ("rtx5090", ""): ("rtx-5090",),
    ("rtx6000ada", ""): ("rtx-6000-ada",),
    ("rtxpro6000", ""): ("rtx-pro-6000",),
    ("mi300x", ""): ("mi300x",),
    ("mi325x", ""): ("mi325x",),
    ("mi355x", ""): ("mi355x",),
    ("gaudi3", ""): ("gaudi3",),
    ("a10g", ""): ("a10g",),
    ("a6000", ""): ("rtx-a6000",),
    ("h100nvl", ""): ("h100-nvl",),
    ("gh200", ""): ("gh200",),
    ("mi210", ""): ("mi210",),
    ("rtx4080", ""): ("rtx-4080",),
    ("rtx4070ti", ""): ("rtx-4070-ti",),
    ("rtx4060ti", ""): ("rtx-4060-ti",),
    ("rtx5080", ""): ("rtx-5080",),
    ("rtx5070", ""): ("rtx-5070",),
}
"""gpuhunt's name in lower case, and the form where it has several → our devices, told apart by their memory."""

_TPUS = {"v5litepod": "tpu-v5e", "v6e": "tpu-v6e"}
"""gpuhunt's version of a slice, `v5litepod-8` → our device; the number is that of its chips."""

_NAMES = sorted({name for name, _ in _DEVICES})
_FORMED = frozenset(name for name, form in _DEVICES if form)

_FORMS: tuple[tuple[str, str, str], ...] = (
    ("", r"sxm|hbm3", "sxm"),
    ("", r"pcie", "pcie"),
    ("aws", r"p[345]", "sxm"),
    ("azure", r"standard_nd", "sxm"),
    ("azure", r"standard_nc", "pcie"),
    ("gcp", r"a[23]-", "sxm"),
    ("oci", r"[bv]m\.gpu", "sxm"),
    ("verda", r"\d+[ahv]\d+\.\d+s\.", "sxm"),
    ("digitalocean", r"gpu-h100", "sxm"),
)
"""Provider ("" for any), start or part of its instance's name, and the form that this says."""

_LEAST_MEMORY, _MOST_MEMORY = 0.9, 1.15
"""An offer's memory over the datasheet's: what gpuhunt and providers round to. A slice of a GPU has less."""

_MARKETPLACES = frozenset({"vastai", "lium"})
"""Many hosts set prices here, so the cheapest is not what the next one costs: their median counts."""

_PROVIDERS = {
    "aws": "AWS",
    "gcp": "Google",
    "oci": "Oracle",
    "lambdalabs": "Lambda",
    "runpod": "RunPod",
    "vastai": "Vast",
    "cloudrift": "CloudRift",
    "digitalocean": "DigitalOcean",
    "hotaisle": "Hot Aisle",
}

_TIMEOUT_S, _GIVE_UP_S = 10.0, 1e-3
"""Of a connection: gpuhunt sets none for its catalogs, and a network that drops packets would hold the user for
minutes. The second holds once the user has interrupted."""


def read_rental_quotes(
    devices: Sequence[CatalogDevice],
    today: datetime.date,
    source: str,
    notify: Callable[[str], None],
    catalog: Catalog | None = None,
) -> tuple[tuple[RentalQuote, ...], tuple[str, ...]]:
    """Ask gpuhunt for offers and return a quote per device, provider and kind, and the providers that failed.

    Args:
        devices: those that are wanted; their memory tells forms of one name apart.
        today: date of offers that are read from a provider itself.
        source: gpuhunt and its version.
        notify: told what is being read.
        catalog: gpuhunt's catalog, loaded; None for its default one.

    Raises:
        Exception: whatever gpuhunt raises when it can reach no catalog at all.
    """
    from gpuhunt import default_catalog

    quotes: list[RentalQuote] = []
    failed: list[str] = []
    with _patient_and_quiet():
        notify("catalogs of gpuhunt")
        found = default_catalog() if catalog is None else catalog
        dates = {name: _catalog_date(kept.version, today) for name, kept in found.catalog.items()}
        asked = {provider.NAME for provider in found.providers}
        for provider in sorted({*dates, *asked}):
            notify(f"{_shown(provider)} through gpuhunt")
            try:
                # The names narrow what a provider is asked for; a catalog is here already.
                offers = found.query(provider=provider, gpu_name=_NAMES if provider in asked else None)
            except Exception:  # one provider that is down must not cost the others
                failed.append(_shown(provider))
                continue
            date = dates.get(provider, today)
            quotes += quotes_of_offers(offers, devices, provider, date, f"{source}: {provider}")
    return tuple(quotes), tuple(failed)


def quotes_of_offers(
    offers: Iterable[CatalogItem],
    devices: Sequence[CatalogDevice],
    provider: str,
    date: datetime.date,
    source: str,
) -> list[RentalQuote]:
    """Return one quote per device and kind: a provider's lowest price per device, a marketplace's median.

    A provider's price list is the same for everyone, and who rents picks the cheapest region and size.

    Args:
        offers: of one provider, each the price of a whole instance.
        devices: those that are wanted.
        provider: gpuhunt's name of it.
        date: when the offers stood.
        source: where they come from.
    """
    memory = {device.device: device.memory.value for device in devices}
    prices: dict[tuple[str, RentalKind], list[tuple[float, int]]] = {}
    for offer in offers:
        device, count = device_of_offer(offer, memory)
        if device is not None and 0 < offer.price < float("inf"):
            kind: RentalKind = "spot" if offer.spot else "on-demand"
            prices.setdefault((device, kind), []).append((offer.price / count, count))
    quotes = []
    for (device, kind), all_prices in sorted(prices.items()):
        ordered = sorted(all_prices)
        market = provider in _MARKETPLACES
        usd, together = ordered[(len(ordered) - 1) // 2] if market else ordered[0]
        quotes.append(
            RentalQuote(
                device=device,
                provider=_shown(provider),
                kind=kind,
                usd_per_hour=round(usd, 4),
                date=date,
                source=source,
                note=f"{'median' if market else 'lowest'} of {len(ordered)} "
                f"{'offer' if len(ordered) == 1 else 'offers'}, {ordered[0][0]:.4g}–{ordered[-1][0]:.4g}",
                sold_by=together,
            )
        )
    return [quote for quote in quotes if quote.usd_per_hour > 0]


def device_of_offer(offer: CatalogItem, memory: dict[str, float]) -> tuple[str | None, int]:
    """Return which of our devices an offer is of, and how many it holds; None when that cannot be told.

    Args:
        offer: an instance.
        memory: bytes of each device that is wanted.
    """
    name = (offer.gpu_name or "").lower()
    version, _, chips = name.rpartition("-")
    if version in _TPUS and chips.isdecimal() and int(chips) and _TPUS[version] in memory:
        return _TPUS[version], int(chips)
    form = _form(offer.provider, offer.instance_name.lower()) if name in _FORMED else ""
    for device in _DEVICES.get((name, form), ()):
        if offer.gpu_count > 0 and device in memory and offer.gpu_memory is not None:
            share = offer.gpu_memory * 1e9 / memory[device]
            if _LEAST_MEMORY <= share <= _MOST_MEMORY:
                return device, offer.gpu_count
    return None, 0


def _form(provider: str, instance: str) -> str:
    """Return the form that an instance's name tells, or "unknown"."""
    for where, pattern, form in _FORMS:
        if re.search(pattern, instance) if not where else where == provider and re.match(pattern, instance):
            return form
    return "unknown"


def _catalog_date(version: str, today: datetime.date) -> datetime.date:
    """Return the day of a catalog, which its version names; today when it does not."""
    try:
        return min(datetime.date.fromisoformat(version.replace("-", "")[:8]), today)
    except ValueError:
        return today


def _shown(provider: str) -> str:
    return _PROVIDERS.get(provider, provider.capitalize())


@contextmanager
def _patient_and_quiet() -> Iterator[None]:
    """Bound every connection, and keep gpuhunt's log off the screen: what failed is said once, by us."""
    before, handler = socket.getdefaulttimeout(), logging.NullHandler()
    socket.setdefaulttimeout(_TIMEOUT_S)
    logging.getLogger("gpuhunt").addHandler(handler)
    try:
        yield
    except KeyboardInterrupt:
        # gpuhunt's threads outlive this, and the process waits for them: what they have not begun fails at once,
        # and what they have is still bound.
        socket.setdefaulttimeout(_GIVE_UP_S)
        raise
    except BaseException:
        _restore(before, handler)
        raise
    _restore(before, handler)


def _restore(timeout_s: float | None, handler: logging.Handler) -> None:
    socket.setdefaulttimeout(timeout_s)
    logging.getLogger("gpuhunt").removeHandler(handler)
