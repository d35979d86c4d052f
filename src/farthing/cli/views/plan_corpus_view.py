"""Draws a CorpusPlan on a terminal. Knows units for people and colours; decides no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from farthing.cli.output import print_assumed
from farthing.cli.views.plan_api_view import corpus_api_table
from farthing.cli.views.plan_parts import (
    cents,
    fitted,
    heading,
    lengths_line,
    offered_by,
    old,
    padding_line,
    print_findings,
    print_left_out,
    print_table,
    print_verdict,
)
from farthing.units import format_amount, format_number, format_seconds, format_si, format_usd, usd_format

if TYPE_CHECKING:
    from farthing.planning.corpus import CorpusPlan, CorpusRow


HEADINGS = ("Device", "at", ">$/h", ">devices", ">hours", ">total", "(range)", ">¢/1M", "bound")


def render_corpus_plan(plan: CorpusPlan, console: Console) -> None:
    """Print a line per device for a corpus, and what the APIs ask for it.

    Args:
        plan: what to show.
        console: where to print.
    """
    asked = [
        ("Corpus", f"{format_amount(plan.corpus_texts)} texts, {format_amount(plan.corpus_tokens)} tokens"),
        ("Deadline", "none" if plan.deadline_s is None else format_seconds(plan.deadline_s)),
        ("Lengths", lengths_line(plan.lengths)),
    ]
    notes = print_assumed(plan.notes, console)
    print_verdict(plan.verdict, console)
    console.print(heading(plan.model, plan.dtype, asked))
    totals = [row.usd_total.mid for row in plan.rows if row.usd_total is not None]
    money = usd_format([*totals, *(api.usd_total for api in plan.apis)])
    devices = _device_table(plan.rows, money, console)
    if devices.row_count:
        print_table(devices, console)
    else:
        console.print("[red]No device is done by the deadline within the budget:[/]")
    left_out = [(_named(row), row.reason or "") for row in plan.rows if not row.feasible]
    print_left_out(left_out, plan.unpriced, console)
    console.print()
    print_table(corpus_api_table(plan, money), console)
    kept = f"{format_si(plan.vectors_bytes, 'B')} of vectors in float32"
    if plan.vectors_usd_per_month is not None:
        kept += f", {format_usd(plan.vectors_usd_per_month)} a month to keep"
    print_findings((kept, *padding_line(plan.padding)), notes, console)


def _device_table(rows: tuple[CorpusRow, ...], money: Callable[[float], str], console: Console) -> Table:
    columns: dict[str, list[str]] = {heading: [] for heading in HEADINGS}
    for row in rows:
        if row.feasible and row.hours is not None and row.usd_total and row.usd_per_million_tokens:
            total = row.usd_total
            cells = (
                _named(row),
                offered_by(row.provider, row.marketplace, console),
                f"{row.usd_per_hour:.2f}" + old(row.price_stale),
                f"{row.devices:,}",
                f"{format_number(row.hours.mid)} [dim]≤ {format_number(row.hours.high)}[/]",
                money(total.mid),
                f"[dim]{money(total.low)}–{money(total.mid if total.high is None else total.high)}[/]",
                cents(row.usd_per_million_tokens.mid),
                row.bound_by,
            )
            for heading, cell in zip(columns, cells, strict=True):
                columns[heading].append(cell)
    drawn = fitted(list(columns.items()), ("bound", ">¢/1M"), console)
    drawn.caption = "hours: of each device, and at most; *: a marketplace; bound: what limits the throughput"
    return drawn


def _named(row: CorpusRow) -> str:
    return row.device + (" spot" if row.spot else "")
