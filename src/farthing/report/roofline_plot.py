"""The roofline of an Explanation: what the device allows, and where a pass and its operations stand below it.

Beside the embedding passes stand the decode steps of the same weights, for contrast. Knows an Explanation and
how it is drawn; decides no number.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from farthing.errors import InputError
from farthing.planning.explanation import BatchRow, Explanation, OperationShare
from farthing.report import style
from farthing.theory.generation import GenerationStep
from farthing.theory.time.efficiency import expected_efficiency
from farthing.units import format_count, format_seconds, format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BOUND_COLOURS = {"compute": style.BLUE, "memory": style.PURPLE, "overhead": style.GOLD}
_CONTRAST_BATCH = 64
"""Sequences of the larger decode step that is named."""

_WHOLE_TIME_POINTS = 1800.0
"""Area of a dot that takes all of the time, in square points."""

_LABEL_STEP = 0.072
"""Distance of two labels of the right-hand panel, in heights of the panel."""


def draw_roofline(explanation: Explanation) -> Figure:
    """Return the picture: the whole roofline on the left, the operations of the pass, enlarged, on the right.

    Raises:
        InputError: the model does no matrix products, so that it has no place under a roofline.
        MissingExtraError: matplotlib is not installed.
    """
    e = explanation
    if not e.flops.total:
        raise InputError(f"{e.model}: a static model does no matrix products: there is no roofline to draw")
    picture, (whole, near) = style.panels(12.5, 6.4, (1.35, 1.0))
    _logarithmic(whole, (1.0,))
    _logarithmic(near, (1.0, 2.0, 5.0))
    _draw_whole(whole, e)
    _draw_operations(near, e)
    style.titles(whole, f"{e.model} on {e.device}", f"{e.dtype}, {format_count(e.length)} tokens per text")
    style.titles(
        near,
        f"The operations of a pass of {_texts(e.batch)}",
        "area: share of the time; what it goes to is named",
    )
    picture_basis = "measured" if e.basis == "calibration" else "expected, not measured"
    style.source_line(picture, f"Times {picture_basis}: {e.basis_source}")
    return picture


def _logarithmic(axes: Axes, steps: Sequence[float]) -> None:
    """Give both axes logarithmic scales with a label at each of `steps` of every decade."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    style.labels(axes, "arithmetic intensity, FLOP per byte moved", "FLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=steps, numticks=20))
        axis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_major_formatter(lambda value, _: format_si(value, "").strip())


def _draw_whole(axes: Axes, e: Explanation) -> None:
    passes = _passes(e)
    decode = () if e.generation is None else e.generation.decode
    points = [(row.arithmetic_intensity, row.flops_per_s) for row in passes]
    points += [(step.arithmetic_intensity, step.flops_per_s) for step in decode]
    xs, ys = zip(*points, strict=True)
    left, right = min(*xs, e.ridge_point) / 3, max(*xs, e.ridge_point) * 10
    bottom, top = min(ys) / 4, max(*ys, e.rates.peak_flops_per_s) * 9
    _draw_roofs(axes, e, left, right)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.plot([e.ridge_point] * 2, [bottom, e.rates.peak_flops_per_s], color=style.RULE, linewidth=1)
    for words, offset, side in (
        (f"ridge point {e.ridge_point:.3g}", (6, 6), "left"),
        ("compute-bound →", (6, 20), "left"),
        ("← memory-bound", (-6, 20), "right"),
    ):
        _beside(axes, (e.ridge_point, bottom), words, offset, style.MUTED, side)
    _draw_passes(axes, passes)
    if e.generation is not None:
        limit = e.generation.intensity_limit
        axes.plot([limit] * 2, [bottom, _roof(e, limit)], color=style.ORANGE, linewidth=1, linestyle=":")
        named = [step.flops_per_s for step in decode if step.batch in (1, _CONTRAST_BATCH)]
        height = math.sqrt(named[0] * named[-1])
        shown = f"{limit:.3g}" if limit < 1000 else format_count(limit)
        # On the side where the slope of the roof, and the decode steps along it, are not.
        aside, edge = ((6.0, 0.0), "left") if limit < e.ridge_point else ((-6.0, 0.0), "right")
        _beside(axes, (limit, height), f"the KV cache ends\nwriting at {shown}", aside, style.ORANGE, edge)
        _draw_decode(axes, decode)
    axes.legend(loc="upper left", frameon=False, fontsize=style.SMALL_POINTS, labelcolor=style.INK)


def _draw_passes(axes: Axes, passes: Sequence[BatchRow]) -> None:
    """Draw passes of one text up to the batch that saturates, both named below the first."""
    axes.plot(
        [row.arithmetic_intensity for row in passes],
        [row.flops_per_s for row in passes],
        color=style.BLUE,
        marker="o",
        markersize=7,
        linewidth=1.2,
        label="embedding",
    )
    named = [passes[0], *([passes[-1]] if len(passes) > 1 else [])]
    words = [f"{_texts(row.batch)}: {format_seconds(row.seconds.mid)}" for row in named]
    words[-1] += ", saturated"
    where = (passes[0].arithmetic_intensity, passes[0].flops_per_s)
    _beside(axes, where, "\n".join(words), (0, -9), style.BLUE, below=True)


def _draw_roofs(axes: Axes, e: Explanation, left: float, right: float) -> None:
    """Draw what the datasheet (or the measurement) allows, and what kernels are expected to reach at best."""
    r, expected = e.rates, expected_efficiency(e.rates)
    name = "measured on the device" if r.calibrated else "datasheet"
    roofs = [(name, r.peak_flops_per_s, r.bandwidth_bytes_per_s, "-", style.INK)]
    if not r.calibrated:
        best = (r.achievable_flops_per_s, expected.bandwidth_bytes_per_s)
        roofs.append(("best expected of kernels", *best, "--", style.MUTED))
    for label, peak, bandwidth, line, colour in roofs:
        ridge = peak / bandwidth
        axes.plot(
            [left, min(ridge, right), right],
            [left * bandwidth, min(peak, right * bandwidth), min(peak, right * bandwidth)],
            color=colour,
            linestyle=line,
            linewidth=1.6,
            label=f"{label}: {format_si(peak, 'FLOP/s')}, {format_si(bandwidth, 'B/s')}",
        )


def _draw_decode(axes: Axes, decode: Sequence[GenerationStep]) -> None:
    axes.plot(
        [step.arithmetic_intensity for step in decode],
        [step.flops_per_s for step in decode],
        color=style.ORANGE,
        marker="o",
        markersize=4,
        linewidth=1.2,
        label="the same weights writing text, a token a step",
    )
    for step in decode:
        if step.batch not in (1, _CONTRAST_BATCH):
            continue
        axes.plot(step.arithmetic_intensity, step.flops_per_s, "o", color=style.ORANGE, markersize=7)
        many = "sequence" if step.batch == 1 else "sequences"
        words = f"{step.batch} {many}: {format_seconds(step.seconds)} a token"
        where = (step.arithmetic_intensity, step.flops_per_s)
        _beside(axes, where, words, (9, -4), style.ORANGE, below=True)


def _draw_operations(axes: Axes, e: Explanation) -> None:
    drawn = [op for op in e.ops if op.flops]
    rates = [e.streams * op.flops / op.seconds for op in drawn]
    xs = [op.arithmetic_intensity for op in drawn]
    left, right = min(xs) / 1.6, max(xs) * 1.6
    span = right / left
    # The labels stand in a column of their own beside the dots.
    edge = right * span**0.75
    high = max(*rates, _roof(e, right)) * 1.25
    # The lowest fifth is for what is written there.
    low = min(rates) * (min(rates) / high) ** 0.25
    _draw_roofs(axes, e, left, right)
    axes.set_xlim(left, edge)
    axes.set_ylim(low, high)
    axes.scatter(
        xs,
        rates,
        s=[_WHOLE_TIME_POINTS * op.share for op in drawn],
        c=[_BOUND_COLOURS[op.bound] for op in drawn],
        alpha=0.72,
        edgecolors=style.PAPER,
        linewidths=0.8,
        zorder=3,
    )
    heights = [math.log(rate / low) / math.log(high / low) for rate in rates]
    order = sorted(range(len(drawn)), key=lambda n: (heights[n], -xs[n]))
    for n, height in zip(order, _apart([heights[n] for n in order]), strict=True):
        axes.annotate(
            _operation_label(drawn[n]),
            (xs[n], rates[n]),
            xytext=(math.log(right / left) / math.log(edge / left) + 0.02, height),
            textcoords="axes fraction",
            fontsize=style.SMALL_POINTS,
            color=_BOUND_COLOURS[drawn[n].bound],
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": style.RULE,
                "linewidth": 0.8,
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
    moving = [op for op in e.ops if op.bytes and not op.flops]
    names = " and ".join(op.name.split(",")[0] for op in moving)
    waits = "".join(f"\nand {op.name}, {op.share:.0%}" for op in e.ops if not op.bytes)
    axes.annotate(
        f"not drawn: {names}, {sum(op.share for op in moving):.0%} of the time,\nwhich only move bytes{waits}",
        (0.02, 0.02),
        xycoords="axes fraction",
        fontsize=style.SMALL_POINTS,
        color=style.MUTED,
    )


def _operation_label(op: OperationShare) -> str:
    return f"{op.name}\n{op.share:.0%}, {op.bound}"


def _passes(e: Explanation) -> tuple[BatchRow, ...]:
    """Return the rows from one text to the first batch that saturates the device."""
    until = next(n for n, row in enumerate(e.batches) if row.saturates)
    return e.batches[: until + 1]


def _roof(e: Explanation, intensity: float) -> float:
    return min(e.rates.peak_flops_per_s, intensity * e.rates.bandwidth_bytes_per_s)


def _texts(batch: int) -> str:
    return "one text" if batch == 1 else f"{format_count(batch)} texts"


def _apart(heights: Iterable[float]) -> list[float]:
    """Return rising heights moved up, and then the topmost down, until labels there do not overlap."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + _LABEL_STEP) if moved else height)
    ceiling = 0.97
    for n in range(len(moved) - 1, -1, -1):
        moved[n] = min(moved[n], ceiling)
        ceiling = moved[n] - _LABEL_STEP
    return moved


def _beside(
    axes: Axes,
    where: tuple[float, float],
    words: str,
    offset: tuple[float, float],
    colour: str,
    side: str = "left",
    *,
    below: bool = False,
) -> None:
    """Write beside a point, on paper of their own so that no line runs through the words.

    Args:
        axes: where the point lies.
        where: the point.
        words: what to write.
        offset: from the point to the words, in points.
        colour: of the words.
        side: the edge of the words that the offset is to: left or right.
        below: whether it is to their top instead of their bottom.
    """
    axes.annotate(
        words,
        where,
        xytext=offset,
        textcoords="offset points",
        fontsize=style.SMALL_POINTS,
        color=colour,
        horizontalalignment=side,
        verticalalignment="top" if below else "bottom",
        bbox={"facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
    )
