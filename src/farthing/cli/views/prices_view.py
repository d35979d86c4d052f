"""Draws the price list on a terminal. Knows columns and colours; decides no number."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from farthing.catalog.facts import user_folders
from farthing.catalog.lookups import FRESH_DAYS, age_days, is_old
from farthing.catalog.rows import BatchPrice
from farthing.planning.prices import DevicePrices, PriceList

if TYPE_CHECKING:
    from farthing.catalog.live.refresh import RefreshedFile


WIDE = 90
"""Columns of a screen from which tokens per character are shown."""

UNSOURCED = "none of its own: copied from a survey that names no further source"


class _Sources:
    """Numbers sources in the order in which they come up: tables show the numbers, the foot the names."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, sources: Iterable[str]) -> str:
        """Return the numbers of some sources."""
        return " ".join(str(self._numbers.setdefault(source, len(self._numbers) + 1)) for source in sources)

    def foot(self) -> Table:
        """Return the list of all sources."""
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", style="dim")
        table.add_column(style="dim", overflow="fold")
        for source, number in self._numbers.items():
            table.add_row(str(number), Text(source))
        return table


def render_prices(listed: PriceList, console: Console, quotes: bool = False) -> None:
    """Print the list.

    Args:
        listed: what to show.
        console: where.
        quotes: show each quote of the devices, too.
    """
    sources = _Sources()
    if listed.devices is not None:
        console.print(_devices(listed, listed.devices, sources))
        if quotes:
            for row in listed.devices:
                console.print(_quotes(listed, row, sources))
        else:
            _unpriced(listed, listed.devices, console)
    if listed.apis is not None:
        console.print(_fitted(_apis(listed, sources, console.width >= WIDE), console))
    console.print(Text("sources", style="bold"))
    console.print(sources.foot())
    console.print(
        Text(
            f"Prices older than {FRESH_DAYS} days are old. Your own go into "
            f"{user_folders().configuration / 'prices.toml'}; see --help.",
            style="dim",
            overflow="fold",
        )
    )


def render_refreshed(rows: Iterable[RefreshedFile], console: Console) -> None:
    """Print what a refresh did."""
    for row in rows:
        if row.rows:
            console.print(Text(f"{row.rows} {row.kind} prices through {row.source} kept in {row.path}"))
        if row.warning is not None:
            console.print(Text(f"warning: {row.warning}", style="yellow"))


def _devices(listed: PriceList, rows: Iterable[DevicePrices], sources: _Sources) -> Table:
    table = _table(f"Devices, {listed.kind}, on {listed.day}")
    table.add_column("device", no_wrap=True)
    for heading in ("USD/h", "min–max", "provider", "age"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("src", style="dim")
    for row in rows:
        price = row.price
        if price is None:
            table.add_row(row.device.device, Text("no price", style="dim"))
            continue
        table.add_row(
            row.device.device,
            Text(f"{price.value:.2f}", style="bold"),
            "" if price.min is None or price.max is None else f"{price.min:.2f}–{price.max:.2f}",
            Text(f"{price.provider}{' (market)' if price.market else ''}"),
            _age(datetime.date.fromisoformat(price.as_of), listed.day),
            sources.mark([price.source or UNSOURCED]),
        )
    return table


def _unpriced(listed: PriceList, rows: Iterable[DevicePrices], console: Console) -> None:
    names = ", ".join(row.device.device for row in rows if row.price is None)
    if names:
        console.print(
            Text(
                f"No {listed.kind} price is known for {names}: give one to have them ranked.", style="yellow"
            )
        )


def _quotes(listed: PriceList, row: DevicePrices, sources: _Sources) -> Table:
    table = _table(f"{row.device.name}: all quotes")
    table.add_column("provider", overflow="fold")
    table.add_column("USD/h", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("src", justify="right", style="dim")
    table.add_column("note", style="dim", overflow="fold")
    for quote in row.quotes:
        table.add_row(
            Text(quote.provider),
            f"{quote.usd_per_hour:.2f}",
            _age(quote.date, listed.day),
            sources.mark([quote.source if quote.sourced else UNSOURCED]),
            Text(quote.note),
        )
    return table


def _apis(listed: PriceList, sources: _Sources, wide: bool) -> Table:
    table = _table("Embedding APIs, USD per 1M tokens and per 1M characters of English")
    table.add_column("provider", overflow="fold")
    table.add_column("model", overflow="fold")
    table.add_column("1M\ntokens", justify="right", no_wrap=True)
    table.add_column("in a\nbatch", justify="right", no_wrap=True)
    if wide:
        table.add_column("tokens\nper char", justify="right", no_wrap=True)
    table.add_column("1M\nchars", justify="right", no_wrap=True)
    table.add_column("age,\ndays", justify="right", no_wrap=True)
    table.add_column("src", style="dim", no_wrap=True)
    for row in listed.apis or ():
        rate = row.tokens_per_character
        mid, _, _ = row.usd_per_million_characters
        batch = row.batch
        said = [row.source] if batch is None or batch.source == row.source else [row.source, batch.source]
        table.add_row(
            Text(row.provider),
            Text(row.model),
            Text(f"{row.usd_per_million_tokens:g}", style="bold"),
            _batch(batch, listed.day),
            *([f"{rate.low:.2f}–{rate.high:.2f}"] if wide else []),
            f"{mid:.2g}",
            _age(row.date, listed.day, unit=""),
            sources.mark(said),
        )
    return table


def _batch(batch: BatchPrice | None, day: datetime.date) -> Text:
    """Return a batch price; one that is too old to count as today's is marked, for its age may be another."""
    if batch is None:
        return Text("–", style="dim")
    usd = f"{batch.usd_per_million_tokens:g}"
    return Text(f"{usd} old", style="yellow") if is_old(batch.date, day) else Text(usd)


def _table(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )


def _fitted(table: Table, console: Console) -> Table:
    """Return a table with less space between its columns where the screen is narrow."""
    if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
        table.padding, table.show_edge = (0, 0), False
    return table


def _age(date: datetime.date, day: datetime.date, unit: str = " d") -> Text:
    """Return an age in days; that of a price too old to count as today's stands out."""
    days = f"{age_days(date, day)}{unit}"
    return Text(f"{days} old", style="yellow") if is_old(date, day) else Text(days)
