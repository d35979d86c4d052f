"""What the views of a service's and of a corpus's plan share: tables, lengths, reasons, findings.

Knows units for people and colours. Decides no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from farthing.planning.answer import PaddingWaste, PlanLengths
from farthing.units import format_amount, format_number

WIDE = 100
"""Columns of a screen from which providers are named with the kind of their instances."""


def heading(model: str, dtype: str, rows: Iterable[tuple[str, str]]) -> Panel:
    """Return a panel of what was asked for, in rows of a name and a text with markup."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column()
    for name, text in rows:
        lines.add_row(name, text)
    return Panel(lines, title=f"[bold]{escape(model)}[/]", subtitle=dtype, expand=False, border_style="cyan")


def print_verdict(verdict: str, console: Console) -> None:
    """Print the answer first, in bold, then an empty line."""
    console.print(Text(verdict, style="bold"))
    console.print()


def lengths_line(lengths: PlanLengths) -> str:
    """Return tokens per text, and who says so."""
    return (
        f"mean {format_amount(lengths.mean)} tokens, CV² {lengths.cv2:.2f}, p99 {format_amount(lengths.p99)}, "
        f"longest {format_amount(lengths.longest)} "
        f"[dim]({escape(lengths.source)})[/]"
    )


def table(*columns: str) -> Table:
    """Return a plain table; a column that begins with > is aligned to the right. Only the first may wrap."""
    made = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        caption_justify="left",
    )
    for number, column in enumerate(columns):
        made.add_column(
            column.lstrip(">"),
            justify="right" if column.startswith(">") else "left",
            no_wrap=number > 0,
            overflow="fold",
            vertical="bottom",
        )
    return made


def print_table(drawn: Table, console: Console) -> None:
    """Print a table, two spaces between its columns where the screen is wide enough, else one."""
    drawn.padding = (0, 2, 0, 0)
    if console.measure(drawn, options=console.options.update(max_width=1000)).maximum > console.width:
        drawn.padding = (0, 1, 0, 0)
    console.print(drawn)


def offered_by(provider: str, marketplace: bool, console: Console) -> str:
    """Return whose offer a price is, a marketplace marked; the company alone where the screen is narrow."""
    tracker = provider.endswith("of the tracker")
    name = "a tracker" if tracker else provider if console.width >= WIDE else provider.split(maxsplit=1)[0]
    return name + (" *" if marketplace else "")


def fitted(columns: Sequence[tuple[str, Sequence[str]]], droppable: Sequence[str], console: Console) -> Table:
    """Return a table of whole columns, without the first of some where the screen is too narrow for all.

    Args:
        columns: headings, as for `table`, and the cells below each.
        droppable: headings that may go, the first of them first.
        console: where it is printed.
    """
    gone: set[str] = set()
    for heading in (None, *droppable):
        gone |= {heading} if heading is not None else set()
        kept = [column for column in columns if column[0] not in gone]
        drawn = table(*(heading for heading, _ in kept))
        for cells in zip(*(cells for _, cells in kept), strict=True):
            drawn.add_row(*cells)
        drawn.padding = (0, 1, 0, 0)
        if console.measure(drawn, options=console.options.update(max_width=1000)).maximum <= console.width:
            break
    return drawn


def print_left_out(reasons: Iterable[tuple[str, str]], unpriced: Iterable[str], console: Console) -> None:
    """Say of each device that is not in the table why: devices with the same reason in one line.

    Args:
        reasons: devices with their reasons.
        unpriced: devices that no one has given a price for.
        console: where to print.
    """
    grouped: dict[str, list[str]] = {}
    for device, reason in reasons:
        grouped.setdefault(reason, []).append(device)
    lines = [f"{', '.join(devices)}: {reason}" for reason, devices in grouped.items()]
    missing = ", ".join(unpriced)
    for line in (*lines, *([f"no price is known for {missing}"] if missing else [])):
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2), expand=False))


def padding_line(padding: tuple[PaddingWaste, ...]) -> list[str]:
    """Return the padding waste of batching policies, where there is any."""
    if not any(one.waste >= 0.005 for one in padding):
        return []
    return ["padding waste: " + "; ".join(f"{one.policy} {one.waste:.0%}" for one in padding)]


def print_findings(lines: Iterable[str], notes: Iterable[str], console: Console) -> None:
    """Print what was found, then what a reader should know before believing it, after an empty line."""
    grid = Table.grid(padding=(0, 1))
    for line in lines:
        grid.add_row("→", Text(line))
    for note in notes:
        grid.add_row(Text("•", style="yellow"), Text(note, style="yellow"))
    console.print()
    console.print(grid)


def cents(usd: float) -> str:
    """Return US cents in three digits, without their sign."""
    return format_number(100 * usd)


def old(stale: bool) -> str:
    """Return what stands behind a price that is too old to count as today's."""
    return " [yellow]old[/]" if stale else ""
