"""Draws an Explanation on a terminal. Knows units for people and colours; decides no number."""

from __future__ import annotations

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from farthing.cli.output import print_assumed
from farthing.cli.views.explain_tables import batch_table, contrast_table, operation_table
from farthing.planning.explanation import Explanation, HourlyPrice
from farthing.units import (
    format_amount,
    format_count,
    format_number,
    format_seconds,
    format_si,
    usd_format,
)

_UNKNOWN = "[dim]unknown[/]"


def render_explanation(explanation: Explanation, console: Console) -> None:
    """Print what there is: the answer in a panel, then where the time goes, batch by batch, and the contrast.

    Args:
        explanation: what to show; every input, given or default, is shown with it.
        console: where to print.
    """
    e = explanation
    notes = print_assumed(e.notes, console)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, value in (*_work(e), *_limits(e), *_time(e), *_price(e), *_sources(e)):
        table.add_row(label, value)
    title = f"[bold]{escape(e.model)}[/] on [bold]{escape(e.device)}[/]"
    shape = f"{e.dtype} · batch {format_count(e.batch)} × length {format_count(e.length)} tokens"
    console.print(Panel(table, title=title, subtitle=shape, expand=False, border_style="cyan"))
    console.print(operation_table(e))
    console.print(batch_table(e))
    contrast = contrast_table(e)
    if contrast is not None:
        console.print(contrast)
    console.print(Group(*(Text(f"• {note}", style="yellow") for note in notes)))


def _work(e: Explanation) -> list[tuple[str, str]]:
    return [
        ("Linear weights", format_amount(e.linear_parameters)),
        (
            "FLOPs",
            f"{format_si(e.flops.total, 'FLOP')} = {format_si(e.flops.linear, 'FLOP')} linear + "
            f"{format_si(e.flops.attention, 'FLOP')} attention; "
            f"{format_si(e.flops.per_token, 'FLOP')} per token",
        ),
        ("  the article", _article(e)),
    ]


def _article(e: Explanation) -> str:
    more = f" ({e.article_flops / e.flops.total - 1:+.0%})" if e.flops.total else ""
    return f"{format_si(e.article_flops, 'FLOP')}{more}: [dim]{escape(e.article_reason)}[/]"


def _limits(e: Explanation) -> list[tuple[str, str]]:
    need, have = format_si(e.memory.needed_bytes, "B"), e.memory.available_bytes
    verdict = "" if e.memory.fits is None else " [green]fits[/]" if e.memory.fits else " [red]does not fit[/]"
    sign = ">" if e.bound == "compute" else "≤"
    return [
        ("Weights read", f"{format_si(e.weight_bytes_read, 'B')} of {format_si(e.bytes_moved, 'B')} moved"),
        ("Memory", f"{need} of {_UNKNOWN if have is None else format_si(have, 'B')}{verdict}"),
        (
            "Intensity",
            f"{format_number(e.arithmetic_intensity)} FLOP/B {sign} ridge point "
            f"{format_number(e.ridge_point)}: [bold]{e.bound}-bound[/]",
        ),
    ]


def _time(e: Explanation) -> list[tuple[str, str]]:
    s, host, best = e.seconds, e.host, e.saturated_tokens_per_s
    side = f" [dim]({e.streams} passes side by side)[/]" if e.streams > 1 else ""
    texts = e.saturation_tokens // e.length
    return [
        (
            "Step time",
            f"[bold]{format_seconds(s.step)}[/] ({format_seconds(s.low)} – {format_seconds(s.high)}); "
            f"compute alone {format_seconds(s.compute)}, memory alone {format_seconds(s.memory)}",
        ),
        ("  from", f"[dim]{escape(e.basis_source)}[/]"),
        ("Throughput", f"[bold]{format_count(e.tokens_per_s)}[/] tokens/s{side}"),
        (
            "Saturated",
            f"from {format_count(e.saturation_tokens)} tokens a step ({_texts(texts)}); at most "
            f"{format_count(best.mid)} tokens/s ({format_count(best.low)} – {format_count(best.high)})",
        ),
        (
            "Host",
            f"a lone request waits {format_seconds(host.lone_s)} for it, {format_seconds(host.lone_device_s)} for the "
            f"device: {format_seconds(host.lone_latency_s)} in all; a busy server is limited by the "
            f"{host.limited_by} to {format_count(host.tokens_per_s)} tokens/s [dim]{escape(host.source)}[/]",
        ),
    ]


def _texts(count: int) -> str:
    return f"{format_count(count)} text{'' if count == 1 else 's'}"


def _price(e: Explanation) -> list[tuple[str, str]]:
    price, per = e.usd_per_hour, e.usd_per_million_tokens
    if per.at_100_percent is None or per.at_10_percent is None:
        return [("Price per hour", _UNKNOWN), ("Price per 1M tokens", _UNKNOWN), *_energy(e)]
    through = e.host.usd_per_million_tokens if e.host.limited_by == "host" else None
    usd = usd_format((per.at_100_percent, per.at_10_percent, per.at_utilization, through))
    extra = ""
    if per.at_utilization is not None and e.utilization is not None:
        extra = f" · {usd(per.at_utilization)} at {100 * e.utilization:.3g} %"
    served = ""
    if through is not None:
        served = f"; [yellow]{usd(through)} as one busy server process gets them through[/]"
    return [
        ("Price per hour", _hourly(price)),
        (
            "Price per 1M tokens",
            f"[bold green]{usd(per.at_100_percent)}[/] at 100 % utilization · "
            f"{usd(per.at_10_percent)} at 10 %{extra}, the device alone{served}",
        ),
        *_energy(e),
    ]


def _energy(e: Explanation) -> list[tuple[str, str]]:
    if e.energy is None:
        return [("Energy", "[dim]unknown: no rated power is known[/]")]
    energy = e.energy
    fed = (
        ", fed by one server process"
        if e.host.limited_by == "host" and e.host.tokens_per_s < e.tokens_per_s
        else ""
    )
    return [
        (
            "Energy per 1M tokens",
            f"at most {format_si(energy.wh_per_million_tokens, 'Wh')}, "
            f"{format_si(energy.g_co2_per_million_tokens, 'g')} CO₂ "
            f"[dim]for the board at its rated {energy.power_w:.0f} W{fed}, data centre × {energy.pue:.3g}, "
            f"{energy.grid_g_per_kwh:.0f} g/kWh; the server around the board not counted[/]",
        )
    ]


def _hourly(price: HourlyPrice) -> str:
    if price.value is None:
        return _UNKNOWN
    usd, interval = usd_format((price.value, price.min, price.max)), ""
    if price.min is not None and price.max is not None:
        interval = f", {usd(price.min)} – {usd(price.max)}"
    stale = ", [yellow]old[/]" if price.stale else ""
    quotes = f"median of {price.quotes} providers" if price.quotes > 1 else "one offer"
    origin = escape(f"{price.provider}; {'; '.join(price.sources) or 'no source of its own'}")
    return f"{usd(price.value)} ({quotes}{interval}) as of {price.as_of}{stale} [dim]{origin}[/]"


def _sources(e: Explanation) -> list[tuple[str, str]]:
    r = e.rates
    return [
        ("Peak", f"{format_si(r.peak_flops_per_s, 'FLOP/s')} [dim]{escape(r.peak_source)}[/]"),
        (
            "Expected",
            f"{format_si(r.achievable_flops_per_s, 'FLOP/s')} [dim]{escape(r.achievable_source)}[/]",
        ),
        ("Bandwidth", f"{format_si(r.bandwidth_bytes_per_s, 'B/s')} [dim]{escape(r.bandwidth_source)}[/]"),
    ]
