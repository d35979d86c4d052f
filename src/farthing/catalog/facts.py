"""The catalog as it counts: what comes with Farthing, then live prices, then what the user says.

Later ones override earlier ones. Each kind of row is read when it is asked for, so that a command pays only
for what it needs. Knows where the files lie; their fields are `load`'s and `user_prices`'.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.catalog.load import (
    load_api_prices,
    load_devices,
    load_models,
    load_rental_quotes,
    load_tokenizers,
    parse_api_prices,
    parse_devices,
    parse_models,
    parse_rental_quotes,
)
from farthing.catalog.lookups import UNKNOWN_TOKENIZER
from farthing.catalog.model_files import small_text
from farthing.catalog.rows import (
    ApiPrice,
    BatchPrice,
    CatalogDevice,
    CatalogModel,
    RentalQuote,
    TokensPerCharacter,
)
from farthing.errors import InputError, RowError

if TYPE_CHECKING:
    from farthing.catalog.user_prices import UserApiPrice, UserPrices


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files beside the packaged ones lie; none of them need exist.

    Attributes:
        configuration: the user's devices.toml, models.toml and prices.toml.
        live: rental_prices.csv and api_prices.csv, written by `farthing prices --refresh`.
    """

    configuration: Path
    live: Path


def user_folders() -> Folders:
    """Return this user's folders, by the XDG rules."""
    from platformdirs import user_config_path, user_data_path

    return Folders(user_config_path("farthing"), user_data_path("farthing") / "live-prices")


def devices(folders: Folders | None = None) -> tuple[CatalogDevice, ...]:
    """Return all devices; one of the user's replaces one of the same name.

    Args:
        folders: where files beside the packaged ones lie; None for the XDG directories.

    Raises:
        InputError: a row of a file is wrong; file, row and key are named.
    """
    path = (folders or user_folders()).configuration / "devices.toml"
    text = _read(path)
    own = () if text is None else parse_devices(text, str(path))
    names = {row.device for row in own}
    return (*(row for row in load_devices() if row.device not in names), *own)


def models(folders: Folders | None = None) -> tuple[CatalogModel, ...]:
    """Return all models, the user's first, so that they are found first. Arguments as in `devices`."""
    path = (folders or user_folders()).configuration / "models.toml"
    text = _read(path)
    own = () if text is None else parse_models(text, str(path))
    names = {row.name for row in own}
    return (*own, *(row for row in load_models() if row.name not in names))


def rental_quotes(folders: Folders | None = None) -> tuple[RentalQuote, ...]:
    """Return the quotes that count.

    Live quotes of a device and kind replace the packaged ones that are no newer; what the user pays for a
    device replaces all quotes of its kind. Arguments as in `devices`.
    """
    where = folders or user_folders()
    quotes = load_rental_quotes()
    path = where.live / "rental_prices.csv"
    text = _read(path)
    if text is not None:
        live = parse_rental_quotes(text, str(path))
        since: dict[tuple[str, str], datetime.date] = {}
        for row in live:
            since[row.device, row.kind] = max(row.date, since.get((row.device, row.kind), row.date))
        quotes = (
            *(row for row in quotes if row.date > since.get((row.device, row.kind), datetime.date.min)),
            *live,
        )
    own = _user_prices(where)
    if own is None or not own.rentals:
        return quotes
    _check_devices({row.device for row in own.rentals}, where)
    priced = {(row.device, row.kind) for row in own.rentals}
    return (*(row for row in quotes if (row.device, row.kind) not in priced), *own.rentals)


def api_prices(folders: Folders | None = None) -> tuple[ApiPrice, ...]:
    """Return one price per provider and model: the user's, else the newer of live and packaged.

    Each keeps the batch price that was known before it where it comes with none, so that neither a refresh nor
    the user's list price hides it; it stays with its own date and source. One above the list price it would
    stand beside is of another day, and goes. Arguments as in `devices`.
    """
    where = folders or user_folders()
    tokenizers = load_tokenizers()
    rows = list(load_api_prices())
    path = where.live / "api_prices.csv"
    text = _read(path)
    if text is not None:
        rows += parse_api_prices(text, str(path), tokenizers)
    prices: dict[tuple[str, str], ApiPrice] = {}
    for row in rows:
        key = _api_key(row.provider, row.model)
        known = prices.get(key, row)
        newer, older = (row, known) if known.date <= row.date else (known, row)
        prices[key] = _with_batch_price(newer, older)
    user = _user_prices(where)
    for own in () if user is None else user.apis:
        key = _api_key(own.provider, own.model)
        before = prices.get(key)
        mine = _own_price(own, before, tokenizers, where)
        prices[key] = _with_batch_price(mine, before or mine)
    return tuple(prices.values())


def _with_batch_price(price: ApiPrice, before: ApiPrice) -> ApiPrice:
    """Return a price with the batch price known before it, where it has none."""
    batch = before.batch
    if price.batch is not None or batch is None:
        return price
    return (
        price if batch.usd_per_million_tokens > price.usd_per_million_tokens else replace(price, batch=batch)
    )


def _own_price(
    own: UserApiPrice,
    known: ApiPrice | None,
    tokenizers: tuple[TokensPerCharacter, ...],
    folders: Folders,
) -> ApiPrice:
    """Return the user's price; the tokenizer is theirs, else the catalog's, else an unknown one."""
    rates = {row.tokenizer: row for row in tokenizers}
    if own.tokenizer is not None and own.tokenizer not in rates:
        raise RowError(
            str(folders.configuration / "prices.toml"),
            f"api.{own.provider}.{own.model}",
            f"tokenizer is {own.tokenizer!r}: use one of {', '.join(rates)}",
        )
    if own.tokenizer is not None or known is None:
        rate = rates[own.tokenizer or UNKNOWN_TOKENIZER]
    else:
        rate = known.tokens_per_character
    batch = None
    if own.usd_per_million_tokens_batch is not None:
        batch = BatchPrice(
            usd_per_million_tokens=own.usd_per_million_tokens_batch, date=own.date, source=own.source
        )
    return ApiPrice(
        provider=own.provider if known is None else known.provider,
        model=own.model if known is None else known.model,
        usd_per_million_tokens=own.usd_per_million_tokens,
        tokens_per_character=rate,
        date=own.date,
        source=own.source,
        note="",
        batch=batch,
    )


def _api_key(provider: str, model: str) -> tuple[str, str]:
    return provider.lower(), model.lower()


def _check_devices(priced: set[str], folders: Folders) -> None:
    """Refuse a price of a device that does not exist: it is most likely misspelt, and would never count."""
    known = {row.device for row in devices(folders)}
    for name in sorted(priced - known):
        raise RowError(
            str(folders.configuration / "prices.toml"),
            f"rental.{name}",
            f"no such device: use one of {', '.join(sorted(known))}",
        )


def _user_prices(folders: Folders) -> UserPrices | None:
    path = folders.configuration / "prices.toml"
    text = _read(path)
    if text is None:
        return None
    from farthing.catalog.user_prices import parse_user_prices

    prices = parse_user_prices(text, str(path))
    today = datetime.date.today()
    dated = [(f"rental.{row.device}", row.date) for row in prices.rentals]
    dated += [(f"api.{row.provider}.{row.model}", row.date) for row in prices.apis]
    for name, date in dated:
        if date > today:
            raise RowError(str(path), name, f"date is {date}: it is still to come")
    return prices


def _read(path: Path) -> str | None:
    """Return the text of a file, or None when there is none."""
    try:
        return small_text(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
