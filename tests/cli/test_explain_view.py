"""The panel shows what matters, in units for people, at any width."""

from __future__ import annotations

import datetime
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from farthing.cli.views.explain_view import render_explanation
from farthing.planning.explain import explain
from farthing.planning.explanation import Explanation
from farthing.units import format_si

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
        "$4.08 (median of 10 providers, $2.96 – $12.29) as of 2026-10-24",
        "at 100 % utilization",
        "at 10 %",
        "ml-engineering",
        "datasheet, not measured",
    ):
        assert part in text


def test_without_a_price() -> None:
    text = drawn(explain("all-MiniLM-L6-v2", device="gb200", length=128, today=TODAY))
    assert text.count("unknown") == 2
    assert "--usd-per-hour" in text
    assert "¢" not in text


def test_a_given_price_and_utilization() -> None:
    text = drawn(
        explain("all-MiniLM-L6-v2", device="l4", length=128, usd_per_hour=1.0, utilization=0.3, today=TODAY)
    )
    assert "as given" in text
    assert "at 30 %" in text


def test_amounts_of_one_sentence_or_column_are_in_one_unit() -> None:
    e = explain("all-MiniLM-L6-v2", device="l4", length=128, usd_per_hour=9.0, utilization=1e-4, today=TODAY)
    lines = drawn(e, 300).splitlines()
    price = next(line for line in lines if "Price per 1M tokens" in line)
    assert (price.count("$"), price.count("¢")) == (4, 0)
    cheap = explain("all-MiniLM-L6-v2", device="l4", length=128, today=TODAY)
    price = next(line for line in drawn(cheap, 300).splitlines() if "Price per 1M tokens" in line)
    assert (price.count("$"), price.count("¢")) == (0, 3)
    for title in ("Larger batches", "Batching, for contrast"):
        column = section("\n".join(lines), title)[3:]
        assert len({"$" in line for line in column if "$" in line or "¢" in line}) == 1
    hourly = explain("all-MiniLM-L6-v2", device="l40s", length=128, today=TODAY).usd_per_hour
    mixed = drawn(replace(e, usd_per_hour=replace(hourly, value=0.86, min=0.44, max=1.9)), 300)
    assert "$0.86 (median of" in mixed
    assert "$0.44 – $1.90)" in mixed


def test_the_host_is_seen_in_the_price_of_batches() -> None:
    """A static model is done before its host has read the request: the price is the host's, at any batch."""
    e = explain("potion-base-8M", device="l4", length=128, today=TODAY)
    assert e.host.limited_by == "host"
    assert {row.usd_per_million_tokens for row in e.batches} == {e.host.usd_per_million_tokens}
    text = " ".join(drawn(e, 300).split())
    assert f"no more than {e.host.tokens_per_s:,.0f} tokens/s through" in text
    assert "fed by one server process" in text
    large = drawn(explain("Qwen/Qwen3-Embedding-8B", today=TODAY), 300)
    assert "no more than" not in large
    assert "fed by" not in large


def test_an_old_price_is_marked() -> None:
    assert "old" in drawn(explain("Qwen/Qwen3-Embedding-8B", today=datetime.date(2028, 1, 1)))


def test_markup_in_a_name_is_not_interpreted() -> None:
    strange = replace(explain("all-MiniLM-L6-v2", length=128, today=TODAY), model="[red]odd[/]")
    assert "[red]odd[/]" in drawn(strange)


def section(text: str, title: str) -> list[str]:
    """Return the lines from a table's title to the blank line behind it."""
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(title))
    after = (n for n, line in enumerate(lines) if n > first + 2 and not line.strip())
    return lines[first : next(after, len(lines))]


def test_every_operation_has_its_share_and_bound() -> None:
    e = explain("Qwen/Qwen3-Embedding-8B", today=TODAY)
    rows = section(drawn(e), "Where the time goes")
    for op in e.ops:
        (row,) = (line for line in rows if line.startswith(f" {op.name} "))
        assert f"{op.share:.1%}" in row
        assert op.bound in row


def test_large_figures_are_written_out() -> None:
    e = explain("Qwen/Qwen3-Embedding-8B", batch=64, today=TODAY)
    text = drawn(e)
    assert e.arithmetic_intensity > 1000
    assert f"{e.arithmetic_intensity:,.0f} FLOP/B > ridge point 295" in text
    assert "e+" not in text


def test_the_saturated_batch_is_marked_once() -> None:
    e = explain("all-MiniLM-L6-v2", device="l4", length=128, today=TODAY)
    rows = section(drawn(e), "Larger batches")
    (marked,) = (line for line in rows if "saturated" in line)
    assert marked.split()[0] == str(e.saturation_tokens // 128)
    assert len(rows) == 4 + len(e.batches)


def test_embedding_and_writing_stand_side_by_side() -> None:
    e = explain("Qwen/Qwen3-Embedding-8B", today=TODAY)
    text = drawn(e)
    rows = section(text, "Batching, for contrast")
    (row,) = (line.split() for line in rows if line.split()[:1] == ["64"])
    assert e.generation is not None
    decode = next(step for step in e.generation.decode if step.batch == 64)
    assert row[2] == f"{next(r.gain for r in e.batches if r.batch == 64):.2f}×"
    assert row[5] == f"{decode.gain:.1f}×"
    assert "ends at 104 FLOP/B against a ridge point of 295, so it never becomes compute-bound" in " ".join(
        text.split()
    )


def test_what_does_not_fit_is_said() -> None:
    text = drawn(explain("Qwen/Qwen3-Embedding-8B", device="t4", batch=64, today=TODAY))
    assert "does not fit" in text
    assert text.count("no room") > 3
    small = drawn(explain("all-MiniLM-L6-v2", device="t4", length=128))
    assert "fits" in small
    assert "does not fit" not in small
    assert "no room" not in small


def test_energy_and_host_with_their_assumptions() -> None:
    e = explain("Qwen/Qwen3-Embedding-8B", today=TODAY)
    text = " ".join(drawn(e, 300).split())
    assert e.energy is not None
    assert f"at most {format_si(e.energy.wh_per_million_tokens, 'Wh')}, " in text
    assert "rated 700 W, data centre × 1.56, 481 g/kWh" in text
    assert "assumed, one process of Farthing's server" in text


def test_a_static_model_is_drawn_without_flops(tmp_path: Path) -> None:
    config = {"model_type": "model2vec", "vocab_size": 29528, "hidden_dim": 256}
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = drawn(explain(str(tmp_path), today=TODAY), 80)
    assert "for contrast" not in text
    assert "both formulas give nothing" in " ".join(text.split())
    assert "…" not in text


def test_without_a_rated_power() -> None:
    assert "no rated power is known" in drawn(
        replace(explain("all-MiniLM-L6-v2", length=128, today=TODAY), energy=None)
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_fits_the_terminal(width: int) -> None:
    text = drawn(explain("Qwen/Qwen3-Embedding-8B", today=TODAY), width)
    assert max(map(len, text.splitlines())) <= width


def test_tables_need_no_more_than_80_columns() -> None:
    text = drawn(explain("Qwen/Qwen3-Embedding-8B", today=TODAY), 80)
    assert "norms, residuals, pooling" in text
    assert "saturated" in text
    assert "…" not in text
