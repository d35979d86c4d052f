"""docs/asked.md: made anew it is the same, reports lie where they should, and each question is one command."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def _made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_asked", DOCS / "make_asked.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


made = _made()
COUNTED = [report for report in made.REPORTS if report.slow is None]


def test_the_page_is_what_it_was_made_of() -> None:
    assert (DOCS / "asked.md").read_text(encoding="utf-8") == made.page()


def test_eight_of_ten_reports_lie_inside() -> None:
    assert sum(map(made.inside, COUNTED)) >= 0.8 * len(COUNTED)


def test_intervals_are_not_made_wide_for_it() -> None:
    assert statistics.median(made.width(made.answer(report)) for report in COUNTED) <= 1.8


@pytest.mark.parametrize("report", made.IMPOSSIBLE, ids=lambda report: report.device)
def test_what_cannot_be_is_above_the_interval(report: object) -> None:
    assert report.tokens_per_s > made.answer(report).high  # type: ignore[attr-defined]


@pytest.mark.parametrize("report", [r for r in made.REPORTS if r.slow is not None], ids=lambda r: r.source)
def test_a_slow_runner_is_slower_than_what_is_expected(report: object) -> None:
    assert report.tokens_per_s < made.answer(report).mid  # type: ignore[attr-defined]


def test_ten_questions() -> None:
    assert len(made.QUESTIONS) == 10
