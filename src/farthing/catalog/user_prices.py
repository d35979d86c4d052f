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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farthing.catalog.fields import at_most, known_keys, tables, toml_date, toml_number, toml_text
from farthing.catalog.rows import RentalQuote
from farthing.errors import RowError, excerpt

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
    for section, table in tables(text, source):
        if section not in ("rental", "api"):
            raise RowError(source, section, "unknown table: use [rental.DEVICE] or [api.PROVIDER.MODEL]")
        for name, row in table.items():
            where = (source, f"{section}.{name}")
            if not isinstance(row, dict):
                raise RowError(*where, f"is {excerpt(row)}: expected a table")
            if section == "rental":
                rentals += _rentals(name, row, where)
            else:
                apis += [_api(name, model, entry, source) for model, entry in row.items()]
    return UserPrices(rentals=tuple(rentals), apis=tuple(apis))


def _rentals(device: str, row: Mapping[str, Any], where: tuple[str, str]) -> list[RentalQuote]:
    known_keys(row, ("usd_per_hour", "spot_usd_per_hour", "date"), where)
    date = toml_date(row, "date", where)
    quotes = [_quote(device, toml_number(row, "usd_per_hour", where), date)]
    if "spot_usd_per_hour" in row:
        quotes.append(_quote(device, toml_number(row, "spot_usd_per_hour", where), date, spot=True))
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


def _api(provider: str, model: str, entry: Any, source: str) -> UserApiPrice:
    where = (source, f"api.{provider}.{model}")
    if not isinstance(entry, dict):
        raise RowError(*where, f"is {excerpt(entry)}: expected a table [api.PROVIDER.MODEL]")
    listed_key, batch_key = "usd_per_million_tokens", "usd_per_million_tokens_batch"
    known_keys(entry, (listed_key, batch_key, "tokenizer", "date"), where)
    listed = toml_number(entry, listed_key, where)
    batch = None
    if batch_key in entry:
        batch = at_most(toml_number(entry, batch_key, where), batch_key, listed, listed_key, where)
    return UserApiPrice(
        provider=provider,
        model=model,
        usd_per_million_tokens=listed,
        usd_per_million_tokens_batch=batch,
        tokenizer=toml_text(entry, "tokenizer", where) if "tokenizer" in entry else None,
        date=toml_date(entry, "date", where),
    )
