"""The tables of an Explanation: operations, batches, and the contrast with text generation."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from farthing.planning.explanation import Explanation
from farthing.units import (
    format_amount,
    format_count,
    format_number,
    format_seconds,
    format_si,
    usd_format,
)

_CONTRAST_BATCHES = (1, 4, 16, 64, 256)
_NONE = "–"
_BOUND_STYLES = {"compute": "green", "memory": "magenta", "overhead": "yellow"}


def operation_table(e: Explanation) -> Table:
    """Return where the time of the pass goes, operation by operation."""
    table = _table("Where the time goes", "operation", "FLOPs", "bytes", "FLOP/B", "time", "share", "bound")
    for op in e.ops:
        _row(
            table,
            op.name,
            format_si(op.flops, "") if op.flops else _NONE,
            format_si(op.bytes, "") if op.bytes else _NONE,
            format_number(op.arithmetic_intensity) if op.flops else _NONE,
            format_seconds(op.seconds),
            f"{op.share:.1%}",
            _bound(op.bound),
        )
    return table


def batch_table(e: Explanation) -> Table:
    """Return latency and throughput against the batch, with the saturation point marked.

    Where the host does not keep up with the device, it says so: the price is that of what gets through.
    """
    table = _table(
        f"Larger batches, {format_count(e.length)} tokens per text",
        *("batch", "latency", "step, low", "high", "tokens/s", "gain", "per 1M", ""),
    )
    first = next(row.batch for row in e.batches if row.saturates)
    usd = usd_format(row.usd_per_million_tokens for row in e.batches)
    if any(row.served_tokens_per_s < row.tokens_per_s for row in e.batches):
        table.caption = (
            "tokens/s and gain are the device's. One busy server process gets no more than "
            f"{format_count(e.host.tokens_per_s)} tokens/s through (the host limits it): per 1M is the price of those."
        )
    for row in e.batches:
        mark = Text("saturated", style="bold green") if row.batch == first else ""
        _row(
            table,
            format_count(row.batch),
            format_seconds(row.latency_s),
            format_seconds(row.seconds.low),
            format_seconds(row.seconds.high),
            _rate(row.tokens_per_s),
            f"{row.gain:.2f}×",
            _NONE if row.usd_per_million_tokens is None else usd(row.usd_per_million_tokens),
            _no_room(row.fits) or mark,
            dim=row.batch > first,
        )
    return table


def contrast_table(e: Explanation) -> Table | None:
    """Return embedding beside writing text with the same weights; None for a model that cannot be a generator."""
    g = e.generation
    if g is None:
        return None
    table = _table(
        "Batching, for contrast: embedding, and writing text with the same weights",
        *("batch", "embed tok/s", "gain", "slower", "write tok/s", "gain", "slower", "per 1M", "bound"),
    )
    embedding = {row.batch: row for row in e.batches}
    usd = usd_format(step.usd_per_million_tokens for step in g.decode if step.batch in _CONTRAST_BATCHES)
    for step in g.decode:
        if step.batch not in _CONTRAST_BATCHES:
            continue
        row = embedding[step.batch]
        _row(
            table,
            format_count(step.batch),
            _rate(row.tokens_per_s),
            f"{row.gain:.2f}×",
            f"{row.slowdown:.1f}×",
            _rate(step.tokens_per_s),
            f"{step.gain:.1f}×",
            f"{step.slowdown:.1f}×",
            _NONE if step.usd_per_million_tokens is None else usd(step.usd_per_million_tokens),
            _no_room(step.fits) or _bound(step.bound),
        )
    prompt = g.prefill[0]
    ever = "never" if g.intensity_limit < g.ridge_point else "at last"
    table.caption = (
        f"Writing reads a cache of {format_count(g.context)} tokens per sequence: its intensity ends at "
        f"{format_number(g.intensity_limit)} FLOP/B against a ridge point of {format_number(g.ridge_point)}, so "
        f"it {ever} becomes compute-bound. Reading a prompt of that length takes {format_seconds(prompt.seconds)} "
        f"({format_count(prompt.tokens_per_s)} tokens/s, {prompt.bound}-bound), as embedding does. "
        f"Here: {g.note}."
    )
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        padding=(0, 1),
    )
    table.title_style, table.caption_style = "bold", "dim"
    table.add_column(first, justify="left" if first == "operation" else "right")
    for name in others:
        table.add_column(name, justify="left" if name in ("bound", "") else "right")
    return table


def _row(table: Table, *cells: str | Text, dim: bool = False) -> None:
    # As Text, which is not searched for markup: most of the time would go there.
    texts = (Text(cell) if isinstance(cell, str) else cell for cell in cells)
    table.add_row(*texts, style="dim" if dim else None)


def _bound(bound: str) -> Text:
    return Text(bound, style=_BOUND_STYLES[bound])


def _no_room(fits: bool | None) -> Text | None:
    return Text("no room", style="red") if fits is False else None


def _rate(tokens_per_s: float) -> str:
    return format_count(tokens_per_s) if tokens_per_s < 1e7 else format_amount(tokens_per_s)
