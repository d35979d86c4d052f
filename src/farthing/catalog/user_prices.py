"""The user's own prices, in prices.toml under the XDG configuration directory.

```toml
[rental.h100-sxm]
usd_per_hour = 2.10        # it is the price: the catalog's on-demand quotes of this device no longer count
spot_usd_per_hour = 1.20   # optional: replaces its spot quotes
date = 2026-11-21

[api.OpenAI.text-embedding-3-small]
usd_per_million_tokens = 0.015
usd_per_million_tokens_batch = 0.0075   # optional: else the catalog's, unless that is above your list price
tokenizer = "cl100k"       # optional, for a model that is not in the catalog
date = 2026-11-21
```

Knows the file's fields. Knows neither the catalog's rows nor where the file lies: `facts` merges them.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from farthing.catalog.fields import Fields, table, tables
from farthing.catalog.rows import RentalQuote
from farthing.errors import RowError

YOURS = "yours"
"""Source and provider of what the user gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserApiPrice:
    """What the user pays for a million tokens at a provider, USD.

    Attributes:
        provider: the provider.
        model: its model.
        usd_per_million_tokens: the price of an answer at once.
        usd_per_million_tokens_batch: that at the batch endpoint; None when not given.
        tokenizer: name of its tokenizer in the catalog; None when not given.
        date: when that was so.
        source: it is the user's.
    """

    provider: str
    model: str
    usd_per_million_tokens: float
    usd_per_million_tokens_batch: float | None
    tokenizer: str | None
    date: datetime.date
    source: str = YOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPrices:
    """All prices that the user gave."""

    rentals: tuple[RentalQuote, ...]
    apis: tuple[UserApiPrice, ...]


def parse_user_prices(text: str, source: str) -> UserPrices:
    """Read the user's prices from TOML.

    Args:
        text: the TOML, as in the module's docstring.
        source: name of the file, for errors.

    Raises:
        InputError: the text is not TOML, or a row is wrong; file, row and key are named.
    """
    rentals: list[RentalQuote] = []
    apis: list[UserApiPrice] = []
    for section, rows in tables(text, source):
        if section not in ("rental", "api"):
            raise RowError(source, section, "unknown table: use [rental.DEVICE] or [api.PROVIDER.MODEL]")
        for name, value in rows.values.items():
            row = table(source, f"{section}.{name}", value)
            if section == "rental":
                rentals += _rentals(name, row)
            else:
                apis += [
                    _api(
                        name,
                        model,
                        table(source, f"api.{name}.{model}", entry, "a table [api.PROVIDER.MODEL]"),
                    )
                    for model, entry in row.values.items()
                ]
    return UserPrices(rentals=tuple(rentals), apis=tuple(apis))


def _rentals(device: str, row: Fields) -> list[RentalQuote]:
    row.known("usd_per_hour", "spot_usd_per_hour", "date")
    date = row.date()
    quotes = [_quote(device, row.number("usd_per_hour"), date)]
    if "spot_usd_per_hour" in row.values:
        quotes.append(_quote(device, row.number("spot_usd_per_hour"), date, spot=True))
    return quotes


def _quote(device: str, usd_per_hour: float, date: datetime.date, *, spot: bool = False) -> RentalQuote:
    return RentalQuote(
        device=device.strip().lower(),
        provider=YOURS,
        kind="spot" if spot else "on-demand",
        usd_per_hour=usd_per_hour,
        date=date,
        source=YOURS,
        note="",
    )


def _api(provider: str, model: str, row: Fields) -> UserApiPrice:
    listed, batch = "usd_per_million_tokens", "usd_per_million_tokens_batch"
    row.known(listed, batch, "tokenizer", "date")
    return UserApiPrice(
        provider=provider,
        model=model,
        usd_per_million_tokens=row.number(listed),
        usd_per_million_tokens_batch=row.number(batch, most=listed) if batch in row.values else None,
        tokenizer=row.text("tokenizer") if "tokenizer" in row.values else None,
        date=row.date(),
    )
