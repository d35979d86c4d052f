"""Draws a Plan on a terminal. Knows units for people and colours; decides no number."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farthing.cli.output import print_assumed
from farthing.cli.plan_api_view import service_api_table
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
from farthing.theory.planning.plan import Filled, Plan, PlanDemand, PlanRow, Sensitivity
from farthing.units import format_amount, format_number, format_seconds


def render_plan(plan: Plan, console: Console) -> None:
    """Print the demand, a line per device, the APIs with the break-even, and what else was found.

    Args:
        plan: what to show.
        console: where to print.
    """
    notes = print_assumed(plan.notes, console)
    asked = [*_demand_rows(plan.demand)]
    asked.insert(1, ("Lengths", lengths_line(plan.lengths)))
    console.print(heading(plan.model, plan.dtype, asked))
    feasible = [row for row in plan.rows if row.feasible]
    if feasible:
        print_table(_device_table(feasible), console)
    else:
        console.print("[red]No device keeps the target within the budget:[/]")
    print_left_out(_left_out(plan.rows), plan.unpriced, console)
    console.print()
    print_table(service_api_table(plan, feasible[0] if feasible else None), console)
    print_findings(
        (
            *_replaced_line(plan, feasible),
            *_filled_line(plan.filled, plan.demand.batch_share, feasible),
            *_replay_line(plan),
            *_following_line(plan),
            *_sensitivity_lines(plan.sensitivity),
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


def _left_out(rows: tuple[PlanRow, ...]) -> list[tuple[str, str]]:
    """Return devices that are feasible with neither routing, with the reason of a shared queue."""
    feasible = {(row.device, row.spot) for row in rows if row.feasible}
    return [
        (_named(row.device, row.spot), row.reason or "")
        for row in rows
        if (row.device, row.spot) not in feasible and row.routing == "shared"
    ]


def _named(device: str, spot: bool) -> str:
    return device + (" spot" if spot else "")


def _device_table(feasible: list[PlanRow]) -> Table:
    """One line per device and price, with the replicas of both routings; the rest is of a shared queue."""
    drawn = table(
        "Device", ">$/h", ">N", ">random", ">use", ">p50", ">p99", ">¢/1M", "(range)", ">$ a\nmonth"
    )
    shown: dict[tuple[str, bool], dict[str, PlanRow]] = {}
    for row in feasible:
        shown.setdefault((row.device, row.spot), {})[row.routing] = row
    for (device, spot), by_routing in shown.items():
        row = by_routing.get("shared") or by_routing["random"]
        alone = by_routing.get("random")
        usd = row.usd_per_million_tokens
        drawn.add_row(
            _named(device, spot),
            f"{row.usd_per_hour:.2f}" + old(row.price_stale),
            str(row.replicas) if "shared" in by_routing else "–",
            str(alone.replicas) if alone else "–",
            "" if row.utilization is None else f"{row.utilization:.0%}",
            "" if row.p50_s is None else format_seconds(row.p50_s),
            "" if row.p99_s is None else format_seconds(row.p99_s),
            "" if usd is None else cents(usd.mid),
            "" if usd is None else f"[dim]{cents(usd.low)}–{cents(usd.high)}[/]",
            "" if row.usd_per_month is None else f"{row.usd_per_month:,.0f}",
        )
    drawn.caption = (
        "N: replicas that are enough behind one queue (where texts are batched fewer may do); random: the fewest if "
        "each text goes to a replica at random"
    )
    return drawn


def _replaced_line(plan: Plan, feasible: list[PlanRow]) -> list[str]:
    api = next((a for a in plan.apis if f"{a.provider} {a.model}" == plan.demand.replaces), None)
    if api is None or api.usd_per_month is None or not feasible or feasible[0].usd_per_month is None:
        return []
    best = feasible[0]
    billed = f"${api.usd_per_month:,.0f} a month to {plan.demand.replaces}"
    if api.usd_per_million_tokens_billed != api.usd_per_million_tokens:
        billed += f" (its batch price for the {plan.demand.batch_share:.0%} that can wait)"
    return [f"instead of {billed}: ${best.usd_per_month:,.0f} for {best.replicas} × {best.device}"]


def _filled_line(filled: Filled | None, batch_share: float, feasible: list[PlanRow]) -> list[str]:
    if filled is None:
        return ["idle time: no batch step fits beside the online texts under this target"] if feasible else []
    step = (
        f"in steps of {format_seconds(filled.filler_step_s)} ({format_amount(filled.filler_step_tokens)} tokens, "
        f"{filled.efficiency:.0%} of the saturated throughput): {cents(filled.usd_per_million_tokens_before)} → "
        f"{cents(filled.usd_per_million_tokens)} ¢ per 1M tokens"
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
        f"{format_amount(filled.batch_tokens_per_day)} batch tokens a day; p99 "
        f"{format_seconds(filled.p99_before_s)} → at most {format_seconds(filled.p99_s)}"
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
        f"{format_seconds(fleet.cold_start_s)} ahead (an assumption): {format_number(fleet.replicas_mean)} replicas on "
        f"average ({fleet.replicas_least} to {fleet.replicas_most}), {fleet.utilization:.0%} used, "
        f"{cents(fleet.usd_per_million_tokens)} ¢ per 1M tokens"
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
