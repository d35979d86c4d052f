"""`farthing prices`: what devices and APIs cost, how old that is, and who says so."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import click

from farthing.cli import options

if TYPE_CHECKING:
    from farthing.catalog.live.refresh import RefreshedFile
    from farthing.catalog.rows import RentalKind


@click.command("prices")
@click.option("--device", help="One device of the catalog, with each of its quotes.", show_default="all")
@click.option(
    "--kind",
    type=click.Choice(["on-demand", "spot"]),
    default="on-demand",
    help="Rental prices of this kind. Spot devices can be taken away at any time.",
)
@click.option("--only", type=click.Choice(["devices", "apis"]), help="List only these.", show_default="both")
@click.option(
    "--refresh", is_flag=True, help="First read live prices (extra live-prices; needs the network)."
)
@options.as_json
def prices(device: str | None, kind: RentalKind, only: str | None, refresh: bool, as_json: bool) -> None:
    """List what devices and embedding APIs cost, each price with its age and source.

    A device costs the median of its quotes that are not older than 90 days, with the lowest and highest, else its
    newest quote, flagged as old. --refresh reads rental prices through gpuhunt and API prices through genai-prices
    into your data directory; where one cannot be reached, the prices that are here stay, with a warning. Batch
    endpoints of APIs promise their results within a day only; `farthing plan` counts with their prices where that
    is soon enough. A price that is refreshed, or yours, without a batch price keeps the one that was known, unless
    that is above it. Your own prices and devices, in prices.toml and devices.toml of your configuration directory,
    override all of them:

    \b
        [rental.h100-sxm]
        usd_per_hour = 2.10
        date = 2026-11-21

    \b
        [api.OpenAI.text-embedding-3-small]
        usd_per_million_tokens = 0.015
        usd_per_million_tokens_batch = 0.0075
        date = 2026-11-21
    """  # noqa: D301 - click looks for the character itself
    from farthing.errors import InputError
    from farthing.planning.prices import one_device, price_list

    if device is not None and only == "apis":
        raise InputError("--device is about devices: leave --only apis out")
    day = datetime.date.today()
    if device is not None:
        one_device(device)  # a wrong name is told before the network is waited for
    refreshed = _refresh(day) if refresh else ()
    listed = price_list(day, kind=kind, device=device, devices=only != "apis", apis=only != "devices")
    if as_json:
        from farthing.cli.output import print_json

        print_json({**listed.as_dict(), "refreshed": [_plain(row) for row in refreshed] or None})
    else:
        from farthing.cli.output import console
        from farthing.cli.views.prices_view import render_prices

        render_prices(listed, console(), quotes=device is not None)


def _refresh(day: datetime.date) -> tuple[RefreshedFile, ...]:
    """Read live prices, showing what is being read and what came of it."""
    from farthing.catalog.live.refresh import refresh_prices
    from farthing.cli.output import side_console, status
    from farthing.cli.views.prices_view import render_refreshed

    screen = side_console()
    with status(screen, "reading live prices") as spinner:
        rows = refresh_prices(today=day, notify=lambda line: spinner.update(f"reading {line}"))
    render_refreshed(rows, screen)
    return rows


def _plain(row: RefreshedFile) -> dict[str, object]:
    return {
        "kind": row.kind,
        "path": str(row.path),
        "source": row.source,
        "rows": row.rows,
        "warning": row.warning,
    }
