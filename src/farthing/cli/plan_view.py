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
    else:
        console.print("[red]No device keeps the target within the budget:[/]")
    _print_left_out(plan.rows, plan.unpriced, console)
    console.print(_api_table(plan, feasible[0] if feasible else None))
    _print_findings(
        (
            *_replaced_line(plan, feasible),
            *_filled_line(plan.filled, plan.demand.batch_share, feasible),
            *_replay_line(plan),
            *_following_line(plan),
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
    table.caption = (
        "N: replicas that are enough behind one queue (where texts are batched fewer may do); random: the fewest if "
        "each text goes to a replica at random"
    )
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


LEADERS = (
    "text-embedding-3-small",
    "text-embedding-3-large",
    "embed-v4.0",
    "voyage-4",
    "gemini-embedding-001",
)
"""APIs that everyone knows: they are shown whatever they cost."""


def _shown_apis(plan: Plan) -> list[ApiOffer]:
    """Return the API to replace, those of the same model, the best known and the cheapest, rising in price."""
    model = plan.model.rsplit("/", 1)[-1].lower()

    def rank(api: ApiOffer) -> int:
        if f"{api.provider} {api.model}" == plan.demand.replaces:
            return 0
        if api.model.lower() == model:
            return 1
        return 2 if api.model in LEADERS else 3

    ranked = sorted(range(len(plan.apis)), key=lambda i: (rank(plan.apis[i]), i))
    return [plan.apis[i] for i in sorted(ranked[:MOST_APIS])]


def _api_table(plan: Plan, best: PlanRow | None) -> Table:
    table = _table("API", ">¢ per 1M", ">of yours", "(range)", ">$ a month", ">cheaper above")
    points = {point.api: point for point in plan.break_even}
    model = plan.model.rsplit("/", 1)[-1].lower()
    for api in _shown_apis(plan):
        name = f"{api.provider} {api.model}"
        point = points.get(name)
        if point is None:
            volume = ""
        elif point.tokens_per_day is None:
            volume = "never"
        else:
            volume = f"{_compact(point.tokens_per_day)}/day"
        own = api.usd_per_million_own_tokens
        shown = f"[bold]{name}[/]" if api.model.lower() == model or name == plan.demand.replaces else name
        table.add_row(
            shown + _old(api.stale),
            _cents(api.usd_per_million_tokens),
            _cents(own.mid),
            "" if own.low == own.high else f"[dim]{_cents(own.low)}–{_cents(own.high)}[/]",
            "" if api.usd_per_month is None else f"{api.usd_per_month:,.2f}",
            volume,
        )
    hidden = len(plan.apis) - MOST_APIS
    caption = "of yours: per token of this model; models differ in quality, compare before you switch. "
    if best is not None:
        caption += f"cheaper above: tokens from which {best.device} costs no more. "
    table.caption = caption + (f"{hidden} others with --json" if hidden > 0 else "")
    return table


def _replaced_line(plan: Plan, feasible: list[PlanRow]) -> list[str]:
    api = next((a for a in plan.apis if f"{a.provider} {a.model}" == plan.demand.replaces), None)
    if api is None or api.usd_per_month is None or not feasible or feasible[0].usd_per_month is None:
        return []
    best = feasible[0]
    return [
        f"instead of ${api.usd_per_month:,.0f} a month to {plan.demand.replaces}: ${best.usd_per_month:,.0f} for "
        f"{best.replicas} × {best.device}"
    ]


def _filled_line(filled: Filled | None, batch_share: float, feasible: list[PlanRow]) -> list[str]:
    if filled is None:
        return ["idle time: no batch step fits beside the online texts under this target"] if feasible else []
    step = (
        f"in steps of {format_seconds(filled.filler_step_s)} ({_compact(filled.filler_step_tokens)} tokens, "
        f"{filled.efficiency:.0%} of the saturated throughput): {_cents(filled.usd_per_million_tokens_before)} → "
        f"{_cents(filled.usd_per_million_tokens)} ¢ per 1M tokens"
    )
    if batch_share:
        return [
            f"the {batch_share:.0%} that can wait run on {filled.replicas} × {filled.device} beside the others, "
            f"{step}, against {filled.replicas_before} if all were online"
        ]
    more = filled.replicas - filled.replicas_before
    added = f" ({more} more than the target needs)" if more else ""
    return [
        f"idle time of {filled.replicas} × {filled.device}{added} filled with batch work {step}, "
        f"{_compact(filled.batch_tokens_per_day)} batch tokens a day; p99 {format_seconds(filled.p99_before_s)} → at "
        f"most {format_seconds(filled.p99_s)}"
    ]


def _replay_line(plan: Plan) -> list[str]:
    if plan.replay is None:
        return []
    replay = plan.replay
    if replay.keeps_target:
        verdict = "the target is kept"
    elif replay.replicas_needed is None:
        verdict = "the target is MISSED, and no number of replicas keeps it"
    else:
        verdict = f"the target is MISSED: real arrivals come in bursts, and it takes {replay.replicas_needed} replicas"
    return [
        f"the trace replayed through {replay.replicas} × {replay.device} ({replay.routing}): p50 "
        f"{format_seconds(replay.p50_s)}, p99 {format_seconds(replay.p99_s)}; {verdict}"
    ]


def _following_line(plan: Plan) -> list[str]:
    fleet = plan.following
    if fleet is None:
        return []
    return [
        f"a fleet of {fleet.device} that follows the trace's load, each asked for "
        f"{format_seconds(fleet.cold_start_s)} ahead (an assumption): {fleet.replicas_mean:.3g} replicas on average "
        f"({fleet.replicas_least} to {fleet.replicas_most}), {fleet.utilization:.0%} used, "
        f"{_cents(fleet.usd_per_million_tokens)} ¢ per 1M tokens"
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
