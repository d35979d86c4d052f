"""The roofline picture: everything named is in it, and no two of its words overlap."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from farthing.catalog.calibration_file import write_calibration_file
from farthing.errors import InputError
from farthing.planning.explain import explain
from farthing.report.roofline_plot import draw_roofline
from farthing.report.style import save
from farthing.theory.devices import StepTimes
from makers import make_calibration, make_model_calibration

TODAY = datetime.date(2026, 11, 21)
QWEN3, MINILM = "Qwen/Qwen3-Embedding-8B", "all-MiniLM-L6-v2"
CASES: dict[str, dict[str, Any]] = {
    "large": {"model": QWEN3},
    "large, one saturates": {"model": QWEN3, "length": 8192},
    "large, short, fp8": {"model": QWEN3, "device": "rtx-4090", "length": 16, "dtype": "fp8"},
    "small, memory-bound": {"model": MINILM, "device": "l4", "length": 128},
    "small, large batch": {"model": MINILM, "device": "t4", "length": 512, "batch": 64},
}


MACHINE = make_calibration(
    peak_flops_per_s=322e9,
    peak_source="measured GEMM, fp32: openvino, 2 streams 2048×2048×2048",
    bandwidth_bytes_per_s=38.5e9,
)
MEASURED = make_model_calibration(step_times=StepTimes((16, 256), (256, 1024), ((0.049, 0.2), (0.05, 0.21))))
CASES["measured processor"] = {
    "model": MINILM,
    "device": "local",
    "length": 512,
}


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the case that is of a processor."""
    path = tmp_path / "calibration.json"
    write_calibration_file(path, MACHINE, MEASURED)
    monkeypatch.setitem(CASES["measured processor"], "calibration", path)


def pictured(case: str) -> Figure:
    return draw_roofline(explain(**CASES[case], today=TODAY))


def words(axes: Axes) -> Iterator[Text]:
    """Return what is written inside the axes: annotations and the legend."""
    yield from (text for text in axes.texts if text.get_text())
    legend = axes.get_legend()
    if legend is not None:
        yield from legend.get_texts()


@pytest.mark.parametrize("case", CASES)
def test_no_words_overlap_or_run_out_of_the_picture(case: str) -> None:
    picture = pictured(case)
    picture.draw_without_rendering()
    edges = picture.bbox
    for axes in picture.get_axes():
        boxes = {text.get_text(): Text.get_window_extent(text) for text in words(axes)}
        assert len(boxes) > 2
        for name, box in boxes.items():
            assert box.x0 >= edges.x0, name
            assert box.x1 <= edges.x1, name
        clashes = [
            (one, other)
            for (one, box), (other, another) in combinations(boxes.items(), 2)
            if box.padded(-1.5).overlaps(another.padded(-1.5))
        ]
        assert not clashes
        crossed = [
            (name, point)
            for name, box in boxes.items()
            for line in axes.get_lines()
            if line.get_marker() == "o"
            for point in axes.transData.transform(np.asarray(line.get_xydata())).tolist()
            if box.contains(*point)
        ]
        assert not crossed


def test_every_product_is_labelled_and_its_area_is_its_share() -> None:
    e = explain(QWEN3, today=TODAY)
    _, near = draw_roofline(e).get_axes()
    texts = [text.get_text() for text in near.texts]
    drawn = [op for op in e.ops if op.flops]
    for op in drawn:
        assert f"{op.name}\n{op.share:.0%}, {op.bound}" in texts
    (dots,) = near.collections
    assert isinstance(dots, PathCollection)
    sizes = [float(size) for size in dots.get_sizes()]
    assert [size / sizes[0] for size in sizes] == pytest.approx([op.share / drawn[0].share for op in drawn])
    rest = sum(op.share for op in e.ops if not op.flops)
    assert any(f"embedding gather and norms, {rest:.0%} of the time" in text for text in texts)


def test_passes_and_decode_steps_are_named() -> None:
    whole, _ = pictured("large").get_axes()
    written = "\n".join(text.get_text() for text in words(whole))
    for part in (
        "one text: 26.1 ms",
        "4 texts: 93.3 ms, saturated",
        "1 sequence: ",
        "64 sequences: ",
        "ridge point 295",
        "writing at 104",
        "datasheet: 989 TFLOP/s, 3.35 TB/s",
    ):
        assert part in written


def test_points_lie_below_the_roof() -> None:
    e = explain(QWEN3, today=TODAY)
    whole, near = draw_roofline(e).get_axes()
    points: list[tuple[float, float]] = []
    for line in whole.get_lines():
        if line.get_marker() == "o":
            points += [(float(x), float(y)) for x, y in np.asarray(line.get_xydata()).tolist()]
    offsets = np.asarray(near.collections[0].get_offsets())
    points += [(float(x), float(y)) for x, y in offsets.tolist()]
    assert len(points) > 12
    for intensity, rate in points:
        assert rate <= min(e.rates.peak_flops_per_s, intensity * e.rates.bandwidth_bytes_per_s)


def test_a_static_model_has_no_roofline() -> None:
    e = explain(MINILM, length=128, today=TODAY)
    nothing = replace(e, flops=replace(e.flops, linear=0, attention=0, total=0))
    with pytest.raises(InputError, match="static model"):
        draw_roofline(nothing)


def test_the_same_explanation_gives_the_same_file(tmp_path: Path) -> None:
    first = save(pictured("small, memory-bound"), tmp_path / "a.svg").read_bytes()
    assert first == save(pictured("small, memory-bound"), tmp_path / "b.svg").read_bytes()
