"""The cost picture: what it draws of a plan, and that labels keep apart."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from farthing.errors import InputError
from farthing.planning.answer import Plan
from farthing.planning.plan import plan
from farthing.report import cost_plot
from farthing.report.cost_plot import draw_cost


@pytest.fixture(scope="module")
def usual() -> Plan:
    return plan("Qwen3-Embedding-8B", rate=50, lengths=300, today=datetime.date(2026, 11, 21))


def test_the_cheapest_devices_are_drawn_once_each(usual: Plan) -> None:
    drawn = cost_plot._drawn(usual.rows)
    names = [row.device for row, *_ in drawn]
    assert len(names) == len(set(names)) <= cost_plot.MOST_DEVICES
    assert names[0] == usual.rows[0].device
    for row, use, low, mid, high in drawn:
        assert low <= mid <= high
        assert use == row.utilization


def test_apis_of_like_price_share_a_level(usual: Plan) -> None:
    levels = cost_plot._levels(usual.apis, "Qwen3-Embedding-8B")
    assert 1 < len(levels) <= cost_plot.MOST_APIS
    assert all(after / before >= cost_plot.SAME_LEVEL for (before, *_), (after, *_) in pairwise(levels))
    assert levels[0][0] == usual.apis[0].usd_per_million_own_tokens.mid
    cheapest = next(api for api in usual.apis if api.model == "Qwen3-Embedding-8B")
    ((own, name, _),) = [level for level in levels if level[2]]
    assert name.startswith(f"{cheapest.provider} {cheapest.model}")
    assert own == pytest.approx(cheapest.usd_per_million_own_tokens.mid, rel=cost_plot.SAME_LEVEL - 1)
    assert not any(same for *_, same in cost_plot._levels(usual.apis, "no-such-model"))


def test_the_source_line_says_which_prices_are_drawn(usual: Plan) -> None:
    assert cost_plot._kind(usual) == "list prices"
    some = plan(
        "bge-m3", rate=5, p99_s=0.5, devices=["l4"], batch_share=0.4, today=datetime.date(2026, 11, 21)
    )
    assert cost_plot._kind(some) == "prices (batch price for the 40% that can wait, where known)"


def test_labels_keep_apart_and_in_order() -> None:
    heights = cost_plot._apart([1.0, 1.01, 5.0, 1.02])
    assert sorted(heights) == [heights[0], heights[1], heights[3], heights[2]]
    assert all(b / a >= cost_plot.APART * (1 - 1e-12) for a, b in pairwise(sorted(heights)))


def test_nothing_feasible_is_nothing_to_draw(usual: Plan, tmp_path: Path) -> None:
    hopeless = replace(usual, rows=tuple(replace(row, feasible=False) for row in usual.rows))
    with pytest.raises(InputError, match="nothing to draw"):
        draw_cost(hopeless, tmp_path / "x.svg")
    assert list(tmp_path.iterdir()) == []


def test_the_readmes_picture_is_current(usual: Plan, tmp_path: Path) -> None:
    """Byte for byte with the pinned matplotlib; another one draws the same with other bytes."""
    import matplotlib

    root = Path(__file__).resolve().parents[2]
    pinned = re.search(r"^matplotlib==(\S+)", (root / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert pinned is not None
    if matplotlib.__version__ != pinned[1]:
        pytest.skip(f"matplotlib {matplotlib.__version__} is not the pinned {pinned[1]}")
    drawn = draw_cost(usual, tmp_path / "plan.svg").read_bytes()
    assert drawn == (root / "docs" / "plan.svg").read_bytes(), "run python docs/plan_picture.py"
