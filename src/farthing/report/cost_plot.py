"""Cost per million tokens against utilization: a line per device, the APIs as levels.

Knows a Plan. Decides no number: every line is the price that the plan gives at its own utilization, carried to
others by the rule that idle time is paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.errors import InputError
from farthing.planning.answer import ApiOffer, Plan, PlanRow
from farthing.report import style
from farthing.units import format_usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DEVICES = 4
"""Devices drawn: the cheapest ones, each once."""

MOST_APIS = 7
"""Levels drawn: APIs whose prices differ by less than `SAME_LEVEL` share one."""

SAME_LEVEL = 1.12
APART = 1.22
"""Smallest ratio between the heights of two labels, on a logarithmic axis."""

_LEAST_USE = 0.01


def draw_cost(plan: Plan, path: str | Path) -> Path:
    """Draw a plan's cost per million tokens against utilization.

    Args:
        plan: the plan.
        path: where the picture goes, .svg or .png.

    Raises:
        InputError: no device is feasible, or the path is no picture's.
        MissingExtraError: matplotlib is not installed.
    """
    where = style.picture_path(path)
    rows = _drawn(plan.rows)
    if not rows:
        raise InputError("nothing to draw: no device keeps the target; the reasons are in the plan")
    picture, axes = style.figure(9.6, 6.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = []
    for (row, use, low, mid, high), colour in zip(rows, style.SERIES, strict=False):
        at = [_LEAST_USE, 1.0]
        axes.fill_between(
            at,
            [low * use / u for u in at],
            [high * use / u for u in at],
            color=colour,
            alpha=0.07,
            linewidth=0,
        )
        axes.plot(at, [mid * use / u for u in at], color=colour, linewidth=1.8)
        axes.plot([use], [mid], "o", color=colour, markersize=8, markeredgecolor="white", zorder=5)
        ends.append((mid * use, f"{row.device}  {row.replicas} × {format_usd(row.usd_per_hour)}/h", colour))
    for height, (value, text, colour) in zip(_apart([end[0] for end in ends]), ends, strict=True):
        axes.annotate(
            text, (1.0, value), xytext=(1.06, height), textcoords="data", va="center", color=colour,
            fontsize=style.SMALL_POINTS, annotation_clip=False,
        )  # fmt: skip
    model = plan.model.rsplit("/", 1)[-1]
    levels = _levels(plan.apis, model)
    for height, (usd, names, same) in zip(_apart([level[0] for level in levels]), levels, strict=True):
        colour = style.INK if same else style.MUTED
        axes.axhline(usd, color=colour, linewidth=0.9, linestyle=(0, (5, 3)), alpha=0.7)
        axes.annotate(
            f"{names}  {format_usd(usd)}", (_LEAST_USE * 1.05, height), va="bottom", xytext=(0, 1.5),
            textcoords="offset points", fontsize=style.SMALL_POINTS, color=colour,
            fontweight="bold" if same else "normal",
            bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    _scales(axes, rows, levels)
    style.titles(
        axes,
        f"{model}: what a million tokens costs",
        f"dot: planned use for {plan.demand.texts_per_s:.3g} texts/s, 99 % within {1000 * plan.demand.p99_s:g} ms at "
        f"the peak" + ("; bold: the same model from an API" if any(same for *_, same in levels) else ""),
    )
    style.labels(axes, "utilization: share of saturated capacity in use, mean of a day", "USD per 1M tokens")
    dates = sorted({row.price_as_of for row, *_ in rows})
    style.source_line(
        picture,
        f"Bands: spread of quotes and of expected step times ({rows[0][0].basis}). Device prices as of {dates[0]}"
        + (f" to {dates[-1]}" if len(dates) > 1 else "")
        + f"; API {_kind(plan)} per token of this model.",
    )
    return style.save(picture, where)


def _kind(plan: Plan) -> str:
    if any(api.usd_per_million_tokens_billed != api.usd_per_million_tokens for api in plan.apis):
        return f"prices (batch price for the {plan.demand.batch_share:.0%} that can wait, where known)"
    return "list prices"


def _drawn(rows: Sequence[PlanRow]) -> list[tuple[PlanRow, float, float, float, float]]:
    """Return the cheapest row of each device on demand, with utilization and low, mid and high price."""
    best: dict[str, tuple[PlanRow, float, float, float, float]] = {}
    for row in rows:
        usd = row.usd_per_million_tokens
        if row.feasible and not row.spot and usd is not None and row.utilization:
            best.setdefault(row.device, (row, row.utilization, usd.low, usd.mid, usd.high or usd.mid))
    return list(best.values())[:MOST_DEVICES]


def _levels(apis: Sequence[ApiOffer], model: str) -> list[tuple[float, str, bool]]:
    """Return prices with names and whether they are of this model, rising.

    Near prices are joined, the most spread ones are kept, and the cheapest of the model itself always is.
    """
    levels: list[tuple[float, list[ApiOffer]]] = []
    for api in apis:  # the cheapest first
        usd = api.usd_per_million_own_tokens.mid
        if levels and usd < levels[-1][0] * SAME_LEVEL:
            levels[-1][1].append(api)
        else:
            levels.append((usd, [api]))
    own = next((usd for usd, those in levels if any(api.model == model for api in those)), None)
    while len(levels) > MOST_APIS:
        gaps = [
            levels[i + 1][0] / levels[i - 1][0] if levels[i][0] != own else float("inf")
            for i in range(1, len(levels) - 1)
        ]
        del levels[1 + gaps.index(min(gaps))]
    return [(usd, *_named(those, model if usd == own else None)) for usd, those in levels]


def _named(apis: Sequence[ApiOffer], model: str | None) -> tuple[str, bool]:
    """Return the name of a level, by an API of the model if there is one."""
    first = next((api for api in apis if api.model == model), apis[0])
    others = f" and {len(apis) - 1} more" if len(apis) > 1 else ""
    return f"{first.provider} {first.model}{others}", first.model == model


def _apart(values: Sequence[float]) -> list[float]:
    """Return heights for labels near these values, at least `APART` from each other, in the same order."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    heights = list(values)
    for before, after in pairwise(order):
        heights[after] = max(heights[after], heights[before] * APART)
    return heights


def _scales(
    axes: Axes,
    rows: Sequence[tuple[PlanRow, float, float, float, float]],
    levels: Sequence[tuple[float, str, bool]],
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    axes.set_xlim(_LEAST_USE, 1.0)
    shares = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    axes.xaxis.set_major_locator(FixedLocator(shares))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda usd, _: format_usd(usd)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    lowest = min([mid * use for _, use, _, mid, _ in rows] + [usd for usd, *_ in levels])
    highest = max([mid * use / _LEAST_USE for _, use, _, mid, _ in rows] + [usd for usd, *_ in levels])
    axes.set_ylim(lowest / 1.6, highest * 1.2)
