"""Live prices: read through gpuhunt and genai-prices, kept as two files in the user's data directory.

Either half may fail, offline or when a service is down: then what was there stays, and one warning says so. A
file is written whole or not at all. Knows when to write and what to keep; `live_rentals` and `live_apis` know
what the two libraries say, and `facts` how live prices count.
"""

from __future__ import annotations

import csv
import datetime
import importlib
import importlib.metadata
import io
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.catalog.facts import Folders, user_folders
from farthing.catalog.load import (
    API_COLUMNS,
    RENTAL_COLUMNS,
    load_api_prices,
    load_devices,
    load_tokenizers,
    parse_api_prices,
    parse_rental_quotes,
)
from farthing.catalog.lookups import is_old
from farthing.catalog.rows import RentalQuote
from farthing.errors import FarthingError, InputError, missing_extra

if TYPE_CHECKING:
    from gpuhunt import Catalog  # type: ignore[import-untyped]


_Read = tuple[str, int, str | None]
"""What to write, the prices in it that are new, and what did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshedFile:
    """What became of one kind of price.

    Attributes:
        kind: rental or API.
        path: its file; it need not exist when there is a warning.
        source: what was asked, with its version.
        rows: prices that were read; 0 when the file was left as it was.
        warning: why not all could be read; None when all went well.
    """

    kind: str
    path: Path
    source: str
    rows: int
    warning: str | None


def refresh_prices(
    folders: Folders | None = None,
    today: datetime.date | None = None,
    *,
    notify: Callable[[str], None] = lambda _line: None,
    catalog: Catalog | None = None,
    api_url: str | None = None,
) -> tuple[RefreshedFile, RefreshedFile]:
    """Read live prices and keep them; return what became of rental and of API prices.

    Args:
        folders: where the files lie; None for the XDG directories.
        today: the date that the prices get; None for the current day.
        notify: told what is being read, a few words at a time.
        catalog: gpuhunt's catalog, loaded; None for its default one.
        api_url: where genai-prices fetches from; None for its own address.

    Raises:
        MissingExtraError: gpuhunt or genai-prices is not installed; nothing was read.
        FarthingError: a file cannot be written.
    """
    for package in ("gpuhunt", "genai_prices"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise missing_extra(error, "`farthing prices --refresh`") or error from None
    live = (folders or user_folders()).live
    day = today or datetime.date.today()
    rentals, apis = live / "rental_prices.csv", live / "api_prices.csv"
    return (
        _refresh(
            "rental", rentals, "gpuhunt", lambda source: _rentals(rentals, day, source, notify, catalog)
        ),
        _refresh("API", apis, "genai-prices", lambda source: _apis(apis, day, source, notify, api_url)),
    )


def _refresh(kind: str, path: Path, package: str, read: Callable[[str], _Read]) -> RefreshedFile:
    source = f"{package} {importlib.metadata.version(package)}"
    try:
        text, rows, warning = read(source)
    except Exception as error:  # whatever it is, the prices that are here must stay
        warning = f"{kind} prices stay as they were: {source}: {_reason(error)}"
        return RefreshedFile(kind=kind, path=path, source=source, rows=0, warning=warning)
    _write_whole(path, text)
    return RefreshedFile(kind=kind, path=path, source=source, rows=rows, warning=warning)


def _rentals(
    path: Path,
    today: datetime.date,
    source: str,
    notify: Callable[[str], None],
    catalog: Catalog | None,
) -> _Read:
    from farthing.catalog.live.rentals import read_rental_quotes

    quotes, failed = read_rental_quotes(load_devices(), today, source, notify, catalog)
    silent = f"no answer from {', '.join(failed)}" if failed else None
    if not quotes:
        raise ValueError(silent or "it offers none of the devices")
    # Quotes of a provider that is silent today still count for as long as any quote does.
    seen = {quote.provider for quote in quotes}
    kept = [
        quote for quote in _previous(path) if quote.provider not in seen and not is_old(quote.date, today)
    ]
    text = _csv(
        RENTAL_COLUMNS,
        [
            (
                row.device,
                row.provider,
                row.kind,
                row.usd_per_hour,
                row.date,
                row.source,
                row.sold_by,
                row.note,
            )
            for row in (*quotes, *kept)
        ],
    )
    parse_rental_quotes(text, str(path))
    return text, len(quotes), silent and f"rental prices: {silent}"


def _apis(
    path: Path, today: datetime.date, source: str, notify: Callable[[str], None], url: str | None
) -> _Read:
    from farthing.catalog.live.apis import embedding_rows, fetch

    notify("API prices through genai-prices")
    prices = embedding_rows(fetch(url), load_api_prices(), today)
    if not prices:
        raise ValueError("it has no embedding models")
    note = "date of reading: the data state none"
    text = _csv(API_COLUMNS, [(*price, today, source, note) for price in prices])
    parse_api_prices(text, str(path), load_tokenizers())
    return text, len(prices), None


def _previous(path: Path) -> tuple[RentalQuote, ...]:
    """Return what was read before; a file that cannot be used is about to be replaced."""
    try:
        return parse_rental_quotes(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, InputError):
        return ()


def _csv(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    # One line each: a name that came over the network must not break the rows.
    writer.writerows(["" if field is None else " ".join(str(field).split()) for field in row] for row in rows)
    return text.getvalue()


def _write_whole(path: Path, text: str) -> None:
    """Replace a file at once: whoever reads it, or stops this, finds the old one or the new one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise FarthingError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink()


def _reason(error: BaseException) -> str:
    """Return an error in a line: the innermost cause says more than what wraps it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(getattr(error, "reason", None) or error).split())
    return f"{text[:200]} ({type(error).__name__})" if text else type(error).__name__
