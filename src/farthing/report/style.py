"""The look that all plots share, and how they are kept.

Knows colours, fonts and file formats. Knows nothing of what is drawn. Needs matplotlib (extra `report`), which
is imported when the first figure is made; no global state of matplotlib's is touched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1f24"
MUTED = "#646b74"
RULE = "#c9ced6"
GRID = "#eceef1"
PAPER = "#ffffff"

BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PURPLE = "#aa4499"
GOLD = "#b58900"
SKY = "#4fa3d9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, GOLD, SKY)
"""Colours of lines, in order. They differ in lightness too, so that they are told apart by the colour-blind.

Source: Okabe and Ito, "Color Universal Design", 2008; the purple is Paul Tol's, gold and sky are darkened to be
read on white.
"""

TEXT_POINTS = 9.5
SMALL_POINTS = 8.5
TITLE_POINTS = 13.0

SUFFIXES = (".svg", ".png")
_SMALL_CHARACTERS_PER_INCH = 13
_PNG_DOTS_PER_INCH = 160


def picture_path(path: str | Path) -> Path:
    """Return where a picture goes; asked before anything is computed for it.

    Raises:
        InputError: it ends in no known format, or its folder does not exist.
    """
    where = Path(path)
    if where.suffix.lower() not in SUFFIXES:
        raise InputError(f"{where}: cannot draw this kind of file: end its name in {' or '.join(SUFFIXES)}")
    if not where.parent.is_dir():
        raise InputError(f"{where}: there is no folder {where.parent}: create it first")
    return where


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty picture with one pair of axes: open at the top and right, a faint grid behind.

    Args:
        width: inches.
        height: inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    picture, (axes,) = panels(width, height, (1.0,))
    return picture, axes


def panels(width: float, height: float, ratios: Sequence[float]) -> tuple[Figure, tuple[Axes, ...]]:
    """Return an empty picture with axes side by side. Arguments and errors are as in `figure`.

    Args:
        width: inches.
        height: inches.
        ratios: widths of the axes, relative to each other.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "report", "a plot") from error
    picture = Figure(figsize=(width, height), facecolor=PAPER, layout="constrained")
    grid = picture.add_gridspec(1, len(ratios), width_ratios=ratios)
    columns = tuple(picture.add_subplot(grid[0, column]) for column in range(len(ratios)))
    for axes in columns:
        axes.set_axisbelow(True)
        axes.grid(True, color=GRID, linewidth=0.8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(RULE)
        axes.tick_params(which="both", color=RULE, labelcolor=MUTED, labelsize=SMALL_POINTS)
    return picture, columns


def titles(axes: Axes, title: str, subtitle: str = "") -> None:
    """Write a title, and a line below it in grey, flush with the left edge of the axes."""
    axes.set_title(title, loc="left", fontsize=TITLE_POINTS, color=INK, pad=26 if subtitle else 10)
    axes.annotate(
        subtitle,
        (0, 1),
        xytext=(0, 10),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=TEXT_POINTS,
        color=MUTED,
    )


def labels(axes: Axes, across: str, up: str) -> None:
    """Name both axes; each name carries its unit."""
    axes.set_xlabel(across, fontsize=TEXT_POINTS, color=INK, labelpad=6)
    axes.set_ylabel(up, fontsize=TEXT_POINTS, color=INK, labelpad=6)


def source_line(picture: Figure, text: str) -> None:
    """Write below the axes, small and grey, where the figures come from; long text is broken into lines."""
    lines = textwrap.fill(text, int(picture.get_figwidth() * _SMALL_CHARACTERS_PER_INCH))
    picture.supxlabel(lines, x=0.012, ha="left", fontsize=SMALL_POINTS, color=MUTED)


def save(picture: Figure, path: str | Path) -> Path:
    """Write a picture as SVG or PNG, by the path's suffix; the same picture gives the same bytes.

    Text becomes outlines, so that it looks the same where the font is not installed.

    Raises:
        InputError: the suffix is another one, or the file cannot be written.
    """
    from matplotlib import rc_context

    where = picture_path(path)
    _show_as_written(picture)
    # No date and no random ids: a page of the documentation changes only when its figures do.
    with rc_context({"svg.hashsalt": "farthing", "svg.fonttype": "path"}):
        try:
            if where.suffix.lower() == ".svg":
                picture.savefig(where, format="svg", metadata={"Date": None, "Creator": None})
            else:
                picture.savefig(where, format="png", dpi=_PNG_DOTS_PER_INCH, metadata={"Software": None})
        except OSError as error:
            raise InputError(f"{where}: cannot be written: {error.strerror or error}") from error
    return where


def _show_as_written(picture: Figure) -> None:
    """Read no formula out of a name that holds dollars; the ticks' own labels are formulas."""
    from matplotlib.text import Text

    ticks = {
        label
        for axes in picture.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    for text in picture.findobj(Text):
        if isinstance(text, Text) and text not in ticks:
            text.set_parse_math(False)
