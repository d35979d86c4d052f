"""The receipt on the screen."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from farthing.metering.receipt import Receipt
from farthing.units import format_count, format_seconds, format_si, usd_format


def render_receipt(receipt: Receipt, console: Console, output: str | None = None) -> None:
    """Print a receipt.

    Args:
        receipt: what to show.
        console: where.
        output: the file that was written, if any.
    """
    title = Text(f"Receipt: {receipt.model}")
    console.print(
        Panel(Group(_facts(receipt, output), Text(), _elsewhere(receipt)), title=title, expand=False)
    )


def render_warnings(receipt: Receipt, console: Console) -> None:
    """Print what a receipt warns of."""
    for warning in receipt.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def _facts(receipt: Receipt, output: str | None) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    tokens, seconds, flops, usd = receipt.tokens, receipt.seconds, receipt.flops, receipt.usd
    noun = "repeat" if receipt.duplicates == 1 else "repeats"
    repeats = f", {format_count(receipt.duplicates)} {noun} not computed again" if receipt.duplicates else ""
    known = f", {format_count(receipt.cached)} known from before" if receipt.cached else ""
    cut = f", {format_count(receipt.truncated)} truncated" if receipt.truncated else ""
    lost = f", {format_count(receipt.failed)} without a vector" if receipt.failed else ""
    table.add_row("texts", f"{format_count(receipt.texts)}{repeats}{known}{cut}{lost}")
    waste = tokens.padded / (tokens.useful + tokens.padded) if tokens.useful else 0.0
    table.add_row(
        "tokens",
        f"{format_count(tokens.input)} in, {format_count(tokens.useful)} computed, padding {waste:.2%}",
    )
    table.add_row(
        "time",
        f"{format_seconds(seconds.wall)} (device busy {format_seconds(seconds.device)}, tokenizing "
        f"{format_seconds(seconds.tokenization)}, writing {format_seconds(seconds.writing)}; "
        f"before that {format_seconds(seconds.startup)} to start)",
    )
    if receipt.predicted_seconds is not None and receipt.prediction_error is not None:
        table.add_row(
            "predicted",
            f"{format_seconds(receipt.predicted_seconds)} before the first batch, from {receipt.prediction_basis}"
            f"{' lengths' if receipt.prediction_basis == 'all' else ''}: off by {receipt.prediction_error:.1%}",
        )
    table.add_row(
        "speed",
        Text(f"{format_count(receipt.tokens_per_s)} tokens/s in {receipt.dtype} on {receipt.device}"),
    )
    table.add_row(
        "work", f"{format_si(flops.useful, 'FLOP')} useful, {format_si(flops.executed, 'FLOP')} executed"
    )
    table.add_row(
        "MFU",
        f"{receipt.mfu:.1%} of wall time, {receipt.mfu_device:.1%} of device time; peak "
        f"{format_si(receipt.peak_flops_per_s, 'FLOP/s')} ({escape(receipt.peak_source)})",
    )
    if receipt.vector_error is not None:
        error = receipt.vector_error
        table.add_row(
            "error",
            f"cosine {error['mean_cosine']:.4f} in the mean, {error['least_cosine']:.4f} at least, to the vectors in "
            f"{escape(str(error['against']))} ({error['texts']} random texts when loaded)",
        )
    if usd.total is not None and usd.marginal_per_million_tokens is not None and usd.per_hour is not None:
        write = usd_format((usd.total, usd.per_hour, usd.marginal_per_million_tokens))
        table.add_row(
            "cost here",
            f"[green]{write(usd.total)} at {write(usd.per_hour)}/h[/green]; marginal "
            f"{write(usd.marginal_per_million_tokens)} per 1M tokens",
        )
    else:
        table.add_row(
            "cost here",
            "unknown: give --usd-per-hour, or set it once in the configuration (`farthing doctor` names the file)",
        )
    if output is not None:
        table.add_row("output", Text(output, overflow="fold"))
    return table


def _elsewhere(receipt: Receipt) -> Group:
    table = Table(title="The same tokens elsewhere", title_justify="left", box=box.SIMPLE, padding=(0, 1))
    table.add_column("where", overflow="fold")  # wraps first, so that no figure is cut
    table.add_column("per 1M tokens", justify="right", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    table.add_column("as of", no_wrap=True)
    notes = Text(style="dim")
    rate = usd_format(row.usd_per_million_tokens for row in receipt.elsewhere)
    sums = usd_format(row.usd_total for row in receipt.elsewhere)
    for row in receipt.elsewhere:
        where = row.device or f"{row.provider} {row.model}"
        per_million, total = rate(row.usd_per_million_tokens), sums(row.usd_total)
        table.add_row(Text(where), per_million, total, row.as_of)
        notes.append(f"{where}: {row.note}; {row.source}\n")
    notes.rstrip()
    return Group(table, notes)
