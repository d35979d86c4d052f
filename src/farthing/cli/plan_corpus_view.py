"""Draws a CorpusPlan on a terminal. Knows units for people and colours; decides no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from farthing.cli.output import print_assumed
from farthing.cli.plan_api_view import corpus_api_table
from farthing.cli.plan_parts import (
    cents,
    heading,
    lengths_line,
    old,
    padding_line,
    print_findings,
    print_left_out,
    print_table,
    table,
)
from farthing.units import format_amount, format_number, format_seconds, usd_format

if TYPE_CHECKING:
    from farthing.theory.planning.corpus_plan import CorpusPlan, CorpusRow


def render_corpus_plan(plan: CorpusPlan, console: Console) -> None:
    """Print a line per device for a corpus, and what the APIs ask for it.

    Args:
        plan: what to show.
        console: where to print.
    """
    asked = [
        ("Corpus", f"{format_amount(plan.corpus_tokens)} tokens"),
        ("Deadline", format_seconds(plan.deadline_s)),
        ("Lengths", lengths_line(plan.lengths)),
    ]
    notes = print_assumed(plan.notes, console)
    console.print(heading(plan.model, plan.dtype, asked))
    totals = [row.usd_total.mid for row in plan.rows if row.usd_total is not None]
    money = usd_format([*totals, *(api.usd_total for api in plan.apis)])
    devices = _device_table(plan.rows, money)
    if devices.row_count:
        print_table(devices, console)
    else:
        console.print("[red]No device is done by the deadline within the budget:[/]")
    left_out = [(_named(row), row.reason or "") for row in plan.rows if not row.feasible]
    print_left_out(left_out, plan.unpriced, console)
    console.print()
    print_table(corpus_api_table(plan, money), console)
    print_findings(padding_line(plan.padding), notes, console)


def _device_table(rows: tuple[CorpusRow, ...], money: Callable[[float], str]) -> Table:
    drawn = table("Device", ">$/h", ">devices", ">hours", ">total", "(range)", ">¢/1M")
    for row in rows:
        if row.feasible and row.hours is not None and row.usd_total and row.usd_per_million_tokens:
            drawn.add_row(
                _named(row),
                f"{row.usd_per_hour:.2f}" + old(row.price_stale),
                f"{row.devices:,}",
                format_number(row.hours),
                money(row.usd_total.mid),
                f"[dim]{money(row.usd_total.low)}–{money(row.usd_total.high)}[/]",
                cents(row.usd_per_million_tokens.mid),
            )
    return drawn


def _named(row: CorpusRow) -> str:
    return row.device + (" spot" if row.spot else "")
