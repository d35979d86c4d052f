"""Draws a Plan on a terminal. Knows units for people and colours; decides no number."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farthing.cli.output import print_assumed
from farthing.cli.views.plan_api_view import service_api_table
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
from farthing.planning.answer import Order, Plan, PlanDemand, PlanRow, PlanServer, UsdInterval
from farthing.units import format_amount, format_number, format_seconds

DROPPABLE = (">random", ">p50", "bound", ">use")
"""Columns that a narrow screen does without, the first of them first."""


def render_plan(plan: Plan, console: Console) -> None:
    """Print the demand, a line per device, the APIs with the break-even, and what else was found.

    Args:
        plan: what to show.
        console: where to print.
    """
    notes = print_assumed(plan.notes, console)
    asked = [*_demand_rows(plan.demand)]
    asked.insert(1, ("Lengths", lengths_line(plan.lengths)))
    asked.append(("Server", _server(plan.server)))
    print_verdict(plan.verdict, console)
    console.print(heading(plan.model, plan.dtype, asked))
    feasible = [row for row in plan.rows if row.feasible]
    if feasible:
        print_table(_device_table(feasible, console), console)
    else:
        console.print("[red]No device keeps the target within the budget:[/]")
    left_out = [(_named(row), row.reason or "") for row in plan.rows if not row.feasible]
    left_out += [(_named(row), f"in doubt: {row.doubt}") for row in feasible if row.doubt is not None]
    print_left_out(left_out, plan.unpriced, console)
    console.print()
    print_table(service_api_table(plan, feasible[0] if feasible else None), console)
    print_findings(
        (
            *_replaced_line(plan, feasible),
            *_filled_line(plan),
            *_replay_line(plan),
            *_following_line(plan),
            *_order_lines(plan.order),
            *padding_line(plan.padding),
        ),
        notes,
        console,
    )


def _demand_rows(demand: PlanDemand) -> list[tuple[str, str]]:
    rows = [
        (
            "Demand",
            f"{format_number(demand.texts_per_s)} texts/s, {format_amount(demand.tokens_per_day)} tokens a day; "
            f"peak {format_number(demand.peak_to_mean)}× the mean [dim]({escape(demand.source)})[/]",
        ),
        ("Target", f"99 % within {format_seconds(demand.p99_s)} at the peak"),
    ]
    if demand.batch_share:
        rows.append(("Can wait", f"{demand.batch_share:.0%} of the texts"))
    return rows


def _server(server: PlanServer) -> str:
    together = f", {server.texts_per_request} texts a request" if server.texts_per_request > 1 else ""
    threads = f"{server.threads} thread{'s' if server.threads > 1 else ''}"
    return f"{server.kind}, {threads} a device{together}{' [dim](assumed)[/]' if server.assumed else ''}"


def _named(row: PlanRow) -> str:
    return row.device + (" spot" if row.spot else "")


def _device_table(rows: list[PlanRow], console: Console) -> Table:
    columns: list[tuple[str, Callable[[PlanRow, UsdInterval], str]]] = [
        ("Device", lambda row, _: _named(row)),
        ("at", lambda row, _: offered_by(row.provider, row.marketplace, console)),
        (">$/h", lambda row, _: f"{row.usd_per_hour:.2f}" + old(row.price_stale)),
        (">N", lambda row, _: _devices(row)),
        (">random", lambda row, _: "–" if row.replicas_random is None else str(row.replicas_random)),
        (">use", lambda row, _: "" if row.utilization is None else f"{row.utilization:.0%}"),
        (">p50", lambda row, _: "" if row.p50_s is None else format_seconds(row.p50_s)),
        (">p99", lambda row, _: _p99(row)),
        (">¢/1M", lambda _, usd: cents(usd.mid)),
        (
            "(range)",
            lambda _, usd: (
                ""
                if usd.low == usd.high
                else f"[dim]{cents(usd.low)}–{'?' if usd.high is None else cents(usd.high)}[/]"
            ),
        ),
        (">$ a\nmonth", lambda row, _: "" if row.usd_per_month is None else f"{row.usd_per_month:,.0f}"),
        ("bound", lambda row, _: row.bound_by or ""),
    ]
    priced = [(row, row.usd_per_million_tokens) for row in rows if row.usd_per_million_tokens is not None]
    drawn = fitted(
        [(heading, [cell(row, usd) for row, usd in priced]) for heading, cell in columns], DROPPABLE, console
    )
    drawn.caption = (
        "N: devices behind one queue, and at most, where steps are slower than expected (?: none is enough then); "
        "random: if each request goes to a replica at random; ≈: approximated, the others are simulated; *: a "
        "marketplace; bound: what sets N. --json has all columns"
    )
    return drawn


def _p99(row: PlanRow) -> str:
    return ("≈" if row.verified == "approximate" else "") + format_seconds(row.p99_s or 0.0)


def _devices(row: PlanRow) -> str:
    """Return the devices, and beside them how many it takes at most."""
    if row.replicas_high == row.replicas:
        return str(row.devices)
    most = "?" if row.replicas_high is None else str(row.replicas_high)
    return f"{row.devices} [dim]≤ {most}[/]"


def _replaced_line(plan: Plan, feasible: list[PlanRow]) -> list[str]:
    api = next((a for a in plan.apis if f"{a.provider} {a.model}" == plan.demand.replaces), None)
    if api is None or api.usd_per_month is None or not feasible or feasible[0].usd_per_month is None:
        return []
    best = feasible[0]
    billed = f"${api.usd_per_month:,.0f} a month to {plan.demand.replaces}"
    if api.usd_per_million_tokens_billed != api.usd_per_million_tokens:
        billed += f" (its batch price for the {plan.demand.batch_share:.0%} that can wait)"
    return [f"instead of {billed}: ${best.usd_per_month:,.0f} for {best.replicas} × {best.device}"]


def _filled_line(plan: Plan) -> list[str]:
    filled, share = plan.filled, plan.demand.batch_share
    if filled is None:
        return []
    where = f"on {filled.replicas} × {filled.device} beside the others, in steps of "
    if filled.replicas_apart:
        where = (
            f"on {filled.replicas_apart} of the {filled.replicas} × {filled.device}, apart from the others (no step "
            "of theirs fits under the target, or filling idle time takes as many), in steps of "
        )
    return [
        f"the {share:.0%} that can wait run {where}{format_seconds(filled.filler_step_s)} "
        f"({format_amount(filled.filler_step_tokens)} tokens, "
        f"{filled.efficiency:.0%} of the saturated throughput), p99 {format_seconds(filled.p99_s)}: "
        f"{cents(filled.usd_per_million_tokens)} ¢ per 1M tokens, against "
        f"{cents(filled.usd_per_million_tokens_before)} ¢ and {filled.replicas_before} if all were online"
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
        f"the trace replayed through {replay.replicas} × {replay.device}: p50 "
        f"{format_seconds(replay.p50_s)}, p99 {format_seconds(replay.p99_s)}; {verdict}"
    ]


def _following_line(plan: Plan) -> list[str]:
    fleet = plan.following
    if fleet is None:
        return []
    return [
        f"a fleet of {fleet.device} that follows the trace's load, each asked for "
        f"{format_seconds(fleet.cold_start_s)} ahead (an assumption): {format_number(fleet.replicas_mean)} replicas on "
        f"average ({fleet.replicas_least} to {fleet.replicas_most}), {fleet.utilization:.0%} used, "
        f"{cents(fleet.usd_per_million_tokens)} ¢ per 1M tokens"
    ]


def _order_lines(pairs: tuple[Order, ...]) -> list[str]:
    lines = []
    for pair in pairs:
        low, high = ("?" if end is None else format_number(end) for end in (pair.low, pair.high))
        between = f"{low} to {high}× over the intervals of prices and step times"
        if pair.low == pair.high:
            between = "at these two prices, whatever their step times"
        what = "the order stays" if pair.stays else "the order may be the other way round"
        lines.append(
            f"{pair.against} is {format_number(pair.ratio)}× as dear as {pair.device}, {between}: {what}"
        )
    return lines
