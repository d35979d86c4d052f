"""Draws a Plan on a terminal. Knows units for people and colours; decides no number."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from farthing.theory.planning.plan import (
    ApiOffer,
    BreakEven,
    CorpusPlan,
    Filled,
    PaddingWaste,
    Plan,
    PlanLengths,
    PlanRow,
    Sensitivity,
)
from farthing.units import format_seconds, format_si, format_usd

MOST_APIS = 12
"""APIs that are shown; --json has all of them."""


def render_plan(plan: Plan, console: Console) -> None:
    """Print the demand, a line per device, the APIs with the break-even, and what else was found.

    Args:
        plan: what to show.
        console: where to print.
    """
    console.print(_heading(plan))
    feasible = [row for row in plan.rows if row.feasible]
    if feasible:
        console.print(_device_table(feasible))
    _print_left_out(plan.rows, plan.unpriced, console)
    console.print(_api_table(plan.apis, plan.break_even, feasible[0] if feasible else None))
    _print_findings(
        (
            *_filled_line(plan.filled, feasible),
            *_replay_line(plan),
            *_sensitivity_lines(plan.sensitivity),
            *_padding_line(plan.padding),
        ),
        plan.notes,
        console,
    )


def render_corpus_plan(plan: CorpusPlan, console: Console) -> None:
    """Print a line per device for a corpus, and what the APIs ask for it. Arguments as in `render_plan`."""
    lines = Table.grid(padding=(0, 2))
    lines.add_row("[bold]Corpus[/]", f"{_compact(plan.corpus_tokens)} tokens")
    lines.add_row("[bold]Deadline[/]", format_seconds(plan.deadline_s))
    lines.add_row("[bold]Lengths[/]", _lengths(plan.lengths))
    console.print(Panel(lines, title=f"[bold]{escape(plan.model)}[/]", expand=False, border_style="cyan"))
    table = _table("Device", ">$/h", ">devices", ">hours", ">total", "(range)", ">¢ per 1M")
    for row in plan.rows:
        if row.feasible and row.hours is not None and row.usd_total and row.usd_per_million_tokens:
            table.add_row(
                row.device + (" spot" if row.spot else ""),
                f"{row.usd_per_hour:.2f}" + _old(row.price_stale),
                str(row.devices),
                f"{row.hours:.3g}",
                format_usd(row.usd_total.mid),
                f"[dim]{format_usd(row.usd_total.low)}–{format_usd(row.usd_total.high)}[/]",
                _cents(row.usd_per_million_tokens.mid),
            )
    if table.row_count:
        console.print(table)
    for row in plan.rows:
        if not row.feasible:
            console.print(f"  [dim]{row.device}: {escape(row.reason or '')}[/]")
    apis = _table("API", ">¢ per 1M", ">of yours", "(range)", ">total", "as of")
    for api in plan.apis[:MOST_APIS]:
        own = api.usd_per_million_own_tokens
        apis.add_row(
            f"{api.provider} {api.model}",
            _cents(api.usd_per_million_tokens),
            _cents(own.mid),
            "" if own.low == own.high else f"[dim]{_cents(own.low)}–{_cents(own.high)}[/]",
            format_usd(own.mid * plan.corpus_tokens / 1e6),
            api.as_of + _old(api.stale),
        )
    console.print(apis)
    _print_findings(_padding_line(plan.padding), plan.notes, console)


def _heading(plan: Plan) -> Panel:
    demand = plan.demand
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column()
    lines.add_row(
        "Demand",
        f"{demand.texts_per_s:.3g} texts/s, {_compact(demand.tokens_per_day)} tokens a day; "
        f"peak {demand.peak_to_mean:.3g}× the mean [dim]({escape(demand.source)})[/]",
    )
    lines.add_row("Lengths", _lengths(plan.lengths))
    lines.add_row("Target", f"99 % within {format_seconds(demand.p99_s)} at the peak")
    if demand.batch_share:
        lines.add_row("Can wait", f"{demand.batch_share:.0%} of the texts")
    return Panel(
        lines, title=f"[bold]{escape(plan.model)}[/]", subtitle=plan.dtype, expand=False, border_style="cyan"
    )


def _lengths(lengths: PlanLengths) -> str:
    return (
        f"mean {lengths.mean:.4g} tokens, CV² {lengths.cv2:.2f}, p99 {lengths.p99}, longest {lengths.longest} "
        f"[dim]({escape(lengths.source)})[/]"
    )


def _device_table(feasible: list[PlanRow]) -> Table:
    """One line per device and price, with the replicas of both routings; the rest is of a shared queue."""
    table = _table(
        "Device", ">$/h", ">N", ">random", ">use", ">p50", ">p99", ">¢ per 1M", "(range)", ">$ a month"
    )
    shown: dict[tuple[str, bool], dict[str, PlanRow]] = {}
    for row in feasible:
        shown.setdefault((row.device, row.spot), {})[row.routing] = row
    for (device, spot), by_routing in shown.items():
        row = by_routing.get("shared") or by_routing["random"]
        alone = by_routing.get("random")
        usd = row.usd_per_million_tokens
        table.add_row(
            device + (" spot" if spot else ""),
            f"{row.usd_per_hour:.2f}" + _old(row.price_stale),
            str(row.replicas) if "shared" in by_routing else "–",
            str(alone.replicas) if alone else "–",
            "" if row.utilization is None else f"{row.utilization:.0%}",
            "" if row.p50_s is None else format_seconds(row.p50_s),
            "" if row.p99_s is None else format_seconds(row.p99_s),
            "" if usd is None else _cents(usd.mid),
            "" if usd is None else f"[dim]{_cents(usd.low)}–{_cents(usd.high)}[/]",
            "" if row.usd_per_month is None else f"{row.usd_per_month:,.0f}",
        )
    table.caption = "N: replicas behind one queue; random: each text to a replica at random"
    return table


def _print_left_out(rows: Iterable[PlanRow], unpriced: tuple[str, ...], console: Console) -> None:
    """Say of each device that is not in the table why, once."""
    feasible = {(row.device, row.spot) for row in rows if row.feasible}
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if (row.device, row.spot) not in feasible and row.routing == "shared":
            reasons.setdefault(row.reason or "", []).append(row.device + (" spot" if row.spot else ""))
    for reason, devices in reasons.items():
        console.print(f"  [dim]{', '.join(devices)}: {escape(reason)}[/]")
    if unpriced:
        console.print(f"  [dim]no price is known for {', '.join(unpriced)}[/]")


def _api_table(apis: tuple[ApiOffer, ...], breaks: tuple[BreakEven, ...], best: PlanRow | None) -> Table:
    table = _table("API", ">¢ per 1M", ">of yours", "(range)", ">$ a month", ">cheaper above")
    points = {point.api: point for point in breaks}
    for api in apis[:MOST_APIS]:
        name = f"{api.provider} {api.model}"
        point = points.get(name)
        if point is None:
            volume = ""
        elif point.tokens_per_day is None:
            volume = "never"
        else:
            volume = f"{_compact(point.tokens_per_day)}/day"
        own = api.usd_per_million_own_tokens
        table.add_row(
            name + _old(api.stale),
            _cents(api.usd_per_million_tokens),
            _cents(own.mid),
            "" if own.low == own.high else f"[dim]{_cents(own.low)}–{_cents(own.high)}[/]",
            "" if api.usd_per_month is None else f"{api.usd_per_month:,.0f}",
            volume,
        )
    hidden = len(apis) - MOST_APIS
    caption = "of yours: per token of this model. "
    if best is not None:
        caption += f"cheaper above: tokens from which {best.device} costs no more. "
    table.caption = caption + (f"{hidden} dearer ones with --json" if hidden > 0 else "")
    return table


def _filled_line(filled: Filled | None, feasible: list[PlanRow]) -> list[str]:
    if filled is None:
        return ["idle time: no batch step fits beside the online texts under this target"] if feasible else []
    return [
        f"idle time of {filled.replicas} × {filled.device} filled with batch work in steps of "
        f"{format_seconds(filled.filler_step_s)} ({_compact(filled.filler_step_tokens)} tokens, "
        f"{filled.efficiency:.0%} of the saturated throughput): "
        f"{format_usd(filled.usd_per_million_tokens_before)} → "
        f"{format_usd(filled.usd_per_million_tokens)} per 1M tokens, "
        f"{_compact(filled.batch_tokens_per_day)} batch tokens a day; p99 "
        f"{format_seconds(filled.p99_before_s)} → at most {format_seconds(filled.p99_s)}"
    ]


def _replay_line(plan: Plan) -> list[str]:
    if plan.replay is None:
        return []
    replay = plan.replay
    verdict = "kept" if replay.keeps_target else "MISSED: real arrivals come in bursts"
    return [
        f"the trace replayed through {replay.replicas} × {replay.device} ({replay.routing}): p50 "
        f"{format_seconds(replay.p50_s)}, p99 {format_seconds(replay.p99_s)}, target {verdict}"
    ]


def _sensitivity_lines(pairs: tuple[Sensitivity, ...]) -> list[str]:
    lines = []
    for pair in pairs:
        fresh, newest = pair.fresh, pair.newest
        line = (
            f"{pair.against} is {pair.ratio:.2f}× as dear as {pair.device} at median prices, "
            f"{fresh.low:.2f}–{fresh.high:.2f}× over the last 90 days' quotes"
        )
        if fresh.flips:
            line += ": the order flips inside them"
        else:
            line += f", {newest.low:.2f}–{newest.high:.2f}× over every provider's newest (since {pair.newest_since})"
            line += ": the order flips inside those" if newest.flips else ": the order stays"
        lines.append(line)
    return lines


def _padding_line(padding: tuple[PaddingWaste, ...]) -> list[str]:
    if not any(one.waste >= 0.005 for one in padding):
        return []
    return ["padding waste: " + "; ".join(f"{one.policy} {one.waste:.0%}" for one in padding)]


def _print_findings(lines: Iterable[str], notes: Iterable[str], console: Console) -> None:
    for line in lines:
        console.print(Text(f"→ {line}"))
    for note in notes:
        console.print(Text(f"• {note}", style="yellow"))


def _cents(usd: float) -> str:
    """Return US cents in three digits, without their sign."""
    cents = 100 * usd
    return f"{cents:,.0f}" if cents >= 1000 else f"{cents:.3g}"


def _compact(value: float) -> str:
    return format_si(value, "").strip()


def _old(stale: bool) -> str:
    return " [yellow]old[/]" if stale else ""


def _table(*columns: str) -> Table:
    """Return a plain table; a column that begins with > is aligned to the right."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", caption_justify="left")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return table
