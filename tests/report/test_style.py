"""Pictures: two kinds of file, the same bytes for the same picture, and one clear error otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from farthing.errors import InputError, MissingExtraError
from farthing.report import style


def drawn(path: Path) -> Path:
    picture, axes = style.figure(4, 3)
    axes.plot([1, 2, 3], [1, 4, 9], color=style.BLUE)
    style.titles(axes, "Squares", "of small numbers")
    style.labels(axes, "number", "square")
    style.source_line(picture, "arithmetic")
    return style.save(picture, path)


@pytest.mark.parametrize("name", ["a.svg", "a.png", "a.SVG"])
def test_the_same_picture_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    first = drawn(tmp_path / name).read_bytes()
    assert first == drawn(tmp_path / f"again-{name}").read_bytes()
    start = b"<?xml" if name.lower().endswith("svg") else b"\x89PNG"
    assert first.startswith(start)
    assert b"dc:date" not in first


def test_panels_stand_side_by_side() -> None:
    picture, (left, right) = style.panels(6, 3, (2.0, 1.0))
    assert picture.get_axes() == [left, right]
    picture.draw_without_rendering()
    assert left.get_position().x1 < right.get_position().x0
    assert left.get_position().width > 1.5 * right.get_position().width


@pytest.mark.parametrize("name", ["a.pdf", "a", "svg", "a.svg.txt"])
def test_another_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"end its name in \.svg or \.png"):
        style.picture_path(tmp_path / name)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere: create it"):
        style.picture_path(tmp_path / "nowhere" / "a.svg")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(InputError, match=r"a\.svg: cannot be written"):
        drawn(tmp_path / "a.svg")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[report\]'"):
        style.figure(4, 3)


def test_no_global_setting_is_left_behind(tmp_path: Path) -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    drawn(tmp_path / "a.svg")
    assert dict(rcParams) == before


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_dollars_in_names_are_no_formula(tmp_path: Path, suffix: str) -> None:
    picture, axes = style.figure(4, 3)
    axes.set_xscale("log")
    axes.plot([1, 1000], [1, 2], label=r"$\frac$")
    axes.legend()
    style.titles(axes, r"$\frac$", r"$x_$")
    style.labels(axes, "$$^$", "$")
    style.source_line(picture, r"$\frac$")
    assert style.save(picture, tmp_path / f"a{suffix}").stat().st_size
