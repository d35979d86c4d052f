"""The panel shows what matters, in units for people, at any width."""

from __future__ import annotations

import datetime
import io
from dataclasses import replace

import pytest
from rich.console import Console

from farthing.catalog.explain import explain
from farthing.cli.explain_view import render_explanation
from farthing.theory.explanation import Explanation

TODAY = datetime.date(2026, 11, 21)


def drawn(explanation: Explanation, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    render_explanation(explanation, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_shown() -> None:
    text = drawn(explain("Qwen/Qwen3-Embedding-8B", today=TODAY))
    for part in (
        "Qwen/Qwen3-Embedding-8B on h100-sxm",
        "bf16 · batch 1 × length 1,024 tokens",
        "14.5 TFLOP",
        "16.4 TFLOP (+13%)",
        "Llama-70B",
        "13.9 GB",
        "ridge point 295: compute-bound",
        "$3.99 (median of 19 quotes, $2.40 – $12.29) as of 2026-11-09",
        "at 100 % utilization",
        "at 10 %",
        "ml-engineering",
        "datasheet, not measured",
    ):
        assert part in text


def test_without_a_price() -> None:
    text = drawn(explain("all-MiniLM-L6-v2", device="l4", length=128, today=TODAY))
    assert text.count("unknown") == 2
    assert "--usd-per-hour" in text


def test_a_given_price_and_utilization() -> None:
    text = drawn(
        explain("all-MiniLM-L6-v2", device="l4", length=128, usd_per_hour=1.0, utilization=0.3, today=TODAY)
    )
    assert "as given" in text
    assert "at 0.3" in text


def test_an_old_price_is_marked() -> None:
    assert "old" in drawn(explain("Qwen/Qwen3-Embedding-8B", today=datetime.date(2028, 1, 1)))


def test_markup_in_a_name_is_not_interpreted() -> None:
    strange = replace(explain("all-MiniLM-L6-v2", length=128, today=TODAY), model="[red]odd[/]")
    assert "[red]odd[/]" in drawn(strange)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_fits_the_terminal(width: int) -> None:
    text = drawn(explain("Qwen/Qwen3-Embedding-8B", today=TODAY), width)
    assert max(map(len, text.splitlines())) <= width
