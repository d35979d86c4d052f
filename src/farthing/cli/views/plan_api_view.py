"""Draws what the APIs ask, beside a service's or a corpus's plan. Decides no number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from farthing.cli.views.plan_parts import cents, old, table
from farthing.planning.verdict import same_model
from farthing.units import format_amount

if TYPE_CHECKING:
    from farthing.planning.answer import ApiOffer, BreakEven, Plan, PlanRow
    from farthing.planning.corpus import CorpusPlan

MOST_APIS = 12
"""APIs that are shown; --json has all of them."""

LEADERS = (
    "text-embedding-3-small",
    "text-embedding-3-large",
    "embed-v4.0",
    "voyage-4",
    "gemini-embedding-001",
)
"""APIs that everyone knows: they are shown whatever they cost."""

Column = tuple[str, "Callable[[ApiOffer], str]"]
"""A heading, and the text below it."""


def service_api_table(plan: Plan, best: PlanRow | None) -> Table:
    """Return the APIs beside a service.

    Args:
        plan: the plan.
        best: its cheapest feasible row; None when there is none.
    """
    points = {point.api: point for point in plan.break_even}
    columns = [(">$ a\nmonth", lambda api: _monthly(api.usd_per_month))]
    caption = ""
    if best is not None:
        columns.append((">break-even\ntokens/day", lambda api: _volume(points.get(_name(api)))))
        caption = f"break-even: tokens a day from which {best.device} costs no more; how long APIs take is not known. "
    return _api_table(plan.apis, plan.model, plan.demand.replaces, columns, caption)


def corpus_api_table(plan: CorpusPlan, money: Callable[[float], str]) -> Table:
    """Return the APIs beside a corpus.

    Args:
        plan: the plan.
        money: how to write amounts, all in one unit.
    """
    total: Column = (">total", lambda api: "" if api.usd_total is None else money(api.usd_total))
    return _api_table(plan.apis, plan.model, None, [total], "")


def _api_table(
    apis: Sequence[ApiOffer], model: str, replaced: str | None, bill: Sequence[Column], caption: str
) -> Table:
    columns: list[Column] = [
        (">list\n¢/1M", lambda api: cents(api.usd_per_million_tokens) + old(api.stale)),
        (">yours\n¢/1M", lambda api: cents(api.usd_per_million_own_tokens.mid)),
        ("(range)", _range),
        *bill,
    ]
    # Batch prices are shown where they are what is billed.
    at_batch = any(api.usd_per_million_tokens_billed != api.usd_per_million_tokens for api in apis)
    if at_batch:
        columns.insert(1, (">batch\n¢/1M", _batch))
    drawn = table("API", *(heading for heading, _ in columns))
    for api in _shown(apis, model, replaced):
        own = same_model(api, model) or _name(api) == replaced
        drawn.add_row(Text(_name(api), style="bold" if own else ""), *(cell(api) for _, cell in columns))
    hidden = len(apis) - drawn.row_count
    drawn.caption = (
        f"yours: per token of this model{', at the prices billed' if at_batch else ''}; models differ in quality, "
        f"compare before you switch. {caption}" + (f"{hidden} others with --json" if hidden > 0 else "")
    ).strip()
    return drawn


def _shown(apis: Sequence[ApiOffer], model: str, replaced: str | None) -> list[ApiOffer]:
    """Return the API to replace, those of the same model, the best known and the cheapest, rising in price."""

    def rank(api: ApiOffer) -> int:
        if _name(api) == replaced:
            return 0
        if same_model(api, model):
            return 1
        return 2 if api.model in LEADERS else 3

    ranked = sorted(range(len(apis)), key=lambda i: (rank(apis[i]), i))
    return [apis[i] for i in sorted(ranked[:MOST_APIS])]


def _name(api: ApiOffer) -> str:
    return f"{api.provider} {api.model}"


def _batch(api: ApiOffer) -> str:
    usd = api.usd_per_million_tokens_batch
    return "–" if usd is None else cents(usd) + old(api.batch_stale)


def _range(api: ApiOffer) -> str:
    own = api.usd_per_million_own_tokens
    return "" if own.high is None or own.low == own.high else f"[dim]{cents(own.low)}–{cents(own.high)}[/]"


def _monthly(usd: float | None) -> str:
    if usd is None:
        return ""
    return f"{usd:,.0f}" if usd >= 100 else f"{usd:.2f}"


def _volume(point: BreakEven | None) -> str:
    if point is None:
        return ""
    return "never" if point.tokens_per_day is None else format_amount(point.tokens_per_day)
