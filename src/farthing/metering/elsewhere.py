"""What the same tokens would cost elsewhere: on two GPUs by theory, at two providers by list price."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from farthing.catalog.lookups import device_price, find_device, is_old
from farthing.catalog.rows import ApiPrice, CatalogDevice, RentalQuote
from farthing.metering.receipt import Elsewhere
from farthing.theory.flops import operations
from farthing.theory.pricing import RentalPrice, usd_per_million_tokens
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import datasheet_rates, step_seconds
from farthing.units import TOKENS_PER_MILLION

DEVICES = ("h100-sxm", "rtx-4090")
"""The article's two."""

APIS = (("OpenAI", "text-embedding-3-small"), ("Voyage", "voyage-4-lite"))
"""(provider, model): the cheapest general models of two large providers."""

_SATURATED_TOKENS = 65_536
"""Tokens of a pass that saturates either GPU."""


def prices_elsewhere(
    shape: ModelShape,
    model: str,
    *,
    input_tokens: int,
    texts: int,
    today: datetime.date,
    devices: Sequence[CatalogDevice],
    quotes: Sequence[RentalQuote],
    apis: Sequence[ApiPrice],
) -> tuple[Elsewhere, ...]:
    """Return what `input_tokens` would cost on the two GPUs and at the two providers.

    GPUs run the same model in bf16 at full use, matrix products at the published achievable rate; the host's
    share is not in it. Providers run their own model, and count with their own tokenizer: the price is per
    token, whoever counts.

    Args:
        shape: the model.
        model: its name.
        input_tokens: tokens to pay for.
        texts: texts that they belong to; gives the mean length.
        today: day for which prices are wanted.
        devices: the catalog's devices, as the user has it.
        quotes: its rental quotes.
        apis: its API prices.
    """
    if not texts:
        return ()
    length = max(1, round(input_tokens / texts))
    batch = max(1, _SATURATED_TOKENS // length)
    rows = []
    for name in DEVICES:
        price = device_price(quotes, name, today)
        spec = find_device(devices, name).spec
        # The user's own row of a device may say less than the catalog's.
        if price is None or "bf16" not in spec.peak_flops_per_s:
            continue
        rates = datasheet_rates(spec, "bf16")
        seconds = step_seconds(
            operations(shape, batch, length, 2), rates.achievable_flops_per_s, rates.bandwidth_bytes_per_s
        )
        per_million = usd_per_million_tokens(price.value, batch * length / seconds)
        rows.append(
            Elsewhere(
                device=name,
                provider=None,
                model=model,
                usd_per_million_tokens=per_million,
                usd_total=per_million * input_tokens / TOKENS_PER_MILLION,
                as_of=price.as_of,
                source=f"{_quoted(price)}; speed: {rates.achievable_source}",
                note="bf16, 100 % busy, host time not counted",
            )
        )
    for api in apis:
        if (api.provider, api.model) in APIS:
            rows.append(
                Elsewhere(
                    device=None,
                    provider=api.provider,
                    model=api.model,
                    usd_per_million_tokens=api.usd_per_million_tokens,
                    usd_total=api.usd_per_million_tokens * input_tokens / TOKENS_PER_MILLION,
                    as_of=api.date.isoformat(),
                    source=f"{api.source}, which is old" if is_old(api.date, today) else api.source,
                    note="their model, our token count",
                )
            )
    return tuple(rows)


def _quoted(price: RentalPrice) -> str:
    source = price.source or "no source of its own"
    if price.stale:
        return f"{price.provider}, {price.value:.2f} USD/h, the newest quote, which is old ({source})"
    if price.min is None or price.max is None:
        return f"{price.provider}, {price.value:.2f} USD/h ({source})"
    between = f"{price.min:.2f}–{price.max:.2f} USD/h"
    return f"{price.provider}, the median of {price.offers} providers at {between} ({source})"
