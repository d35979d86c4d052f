"""Draws docs/concepts/article-fit.svg: the article's 88 points and what the fit makes of them.

A small pair of axes per length and device: dots are measured, full ones fitted; the line is whole overlap of host and
device, the band goes down to none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from article_material import H100, RTX4090

from farthing.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {H100: style.BLUE, RTX4090: style.ORANGE}


def draw(devices: dict[str, Any], path: Path) -> None:
    """Draw the cells of these devices (`devices` of a kept fit) into a file."""
    from matplotlib.figure import Figure

    lengths = sorted({cell["stated_tokens"] for fitted in devices.values() for cell in fitted["cells"]})
    picture = Figure(figsize=(12.5, 5.9), facecolor=style.PAPER)
    picture.subplots_adjust(left=0.055, right=0.99, top=0.83, bottom=0.14, wspace=0.32, hspace=0.42)
    grid = picture.subplots(len(devices), len(lengths))
    for axes_row, (device, fitted) in zip(grid, devices.items(), strict=True):
        for axes, stated in zip(axes_row, lengths, strict=True):
            cells = sorted(
                (cell for cell in fitted["cells"] if cell["stated_tokens"] == stated),
                key=lambda cell: cell["concurrent_requests"],
            )
            if cells:
                _panel(axes, device, cells)
            else:
                axes.axis("off")
                axes.text(
                    0.5, 0.5, "not measured", ha="center", color=style.MUTED, fontsize=style.SMALL_POINTS
                )
        axes_row[0].set_ylabel(
            f"{device}\nembeddings per second", fontsize=style.TEXT_POINTS, color=style.INK
        )
    _words(picture)
    style.save(picture, path)


def _panel(axes: Axes, device: str, cells: list[dict[str, float]]) -> None:
    across = [cell["concurrent_requests"] for cell in cells]
    whole = [cell["predicted_embeddings_per_s"] for cell in cells]
    none = [cell["without_overlap_embeddings_per_s"] for cell in cells]
    measured = [cell["embeddings_per_s"] for cell in cells]
    colour, fitted = COLOURS[device], (0, len(cells) - 1)
    axes.set_xscale("log", base=2)
    axes.fill_between(across, none, whole, color=colour, alpha=0.13, linewidth=0)
    axes.plot(across, whole, color=colour, linewidth=1.6)
    for chosen, inside in ((fitted, style.INK), (range(1, len(cells) - 1), style.PAPER)):
        axes.plot(
            [across[i] for i in chosen],
            [measured[i] for i in chosen],
            "o",
            markersize=5,
            color=style.INK,
            markerfacecolor=inside,
            markeredgewidth=1.1,
        )
    axes.set_ylim(0, 1.12 * max(whole + measured))
    axes.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    axes.minorticks_off()
    axes.set_title(
        f"{cells[0]['stated_tokens']} stated, {cells[0]['tokens']:.0f} true",
        fontsize=style.SMALL_POINTS,
        color=style.INK,
        loc="left",
    )
    axes.set_axisbelow(True)
    axes.grid(True, color=style.GRID, linewidth=0.8)
    axes.tick_params(which="both", color=style.RULE, labelcolor=style.MUTED, labelsize=style.SMALL_POINTS)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(style.RULE)


def _words(picture: Any) -> None:
    picture.text(
        0.012,
        0.955,
        "The article's 88 points, by two host constants and one efficiency per machine",
        fontsize=style.TITLE_POINTS,
        color=style.INK,
    )
    picture.text(
        0.012,
        0.905,
        "Dots: measured (full: fitted, N = 1 and 128). Line: predicted, if host and device overlap wholly; "
        "band: down to no overlap at all. Tokens per text, as stated and as recounted.",
        fontsize=style.TEXT_POINTS,
        color=style.MUTED,
    )
    picture.text(
        0.52,
        0.065,
        "concurrent requests, N",
        ha="center",
        fontsize=style.TEXT_POINTS,
        color=style.INK,
    )
    picture.text(
        0.012,
        0.018,
        "Measured: Piotr Mazurek, tensoreconomics.com, 2025-09-24 (Qwen3-Embedding-8B, SGLang 0.5.1). "
        "Predicted: benchmarks/article_fit.py.",
        fontsize=style.SMALL_POINTS,
        color=style.MUTED,
    )
