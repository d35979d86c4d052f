"""Receipts and hits on the screen: no figure is cut, no text is taken for markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from farthing.bulk.search import Hit
from farthing.cli.views.hits_view import render_hits
from farthing.cli.views.receipt_view import render_receipt, render_warnings
from farthing.metering.receipt import (
    Cost,
    Elsewhere,
    FlopCounts,
    Receipt,
    Seconds,
    TokenCounts,
)

RECEIPT = Receipt(
    warnings=("a warning",),
    vector_error={"mean_cosine": 0.98812, "least_cosine": 0.98107, "texts": 32, "against": "bf16"},
    model="sentence-transformers/all-MiniLM-L6-v2",
    revision="sha256:53aa51172d142c89",
    device="AMD EPYC, 2 cores, avx2 avx512f avx_vnni avx512_vnni avx512_bf16",
    dtype="fp32",
    texts=12_345,
    embedded=12_345,
    duplicates=1_234,
    cached=0,
    failed=0,
    truncated=56,
    tokens=TokenCounts(input=2_345_678, useful=2_222_222, padded=22_447, reused=0, trimmed=0),
    seconds=Seconds(wall=123.4, device=111.1, tokenization=7.25, writing=0.875, startup=1.5),
    tokens_per_s=18_008.0,
    flops=FlopCounts(useful=47_000_000_000_000, executed=47_500_000_000_000),
    mfu=0.8123,
    mfu_device=0.9021,
    peak_flops_per_s=287e9,
    peak_source="measured GEMM, fp32: openvino, 2 streams 1024×1536×384",
    predicted_seconds=120.0,
    prediction_error=0.0276,
    prediction_basis="sample of the lengths",
    usd=Cost(per_hour=0.08, total=0.00274, marginal_per_million_tokens=0.00105),
    elsewhere=(
        Elsewhere(
            device="h100-sxm",
            provider=None,
            model="sentence-transformers/all-MiniLM-L6-v2",
            usd_per_million_tokens=0.0000468,
            usd_total=0.000_000_000_145,
            as_of="2026-11-09",
            source="median of 19 quotes",
            note="bf16, 100 % busy",
        ),
        Elsewhere(
            device=None,
            provider="OpenAI",
            model="text-embedding-3-small",
            usd_per_million_tokens=0.02,
            usd_total=0.0469,
            as_of="2026-05-01",
            source="developers.openai.com",
            note="their model, our token count",
        ),
    ),
)


def console(width: int, *, color: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=color, color_system=None)


def written(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def unwrapped(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def drawn(receipt: Receipt, width: int, output: str | None = "out.parquet") -> str:
    screen = console(width)
    render_receipt(receipt, screen, output=output)
    return written(screen)


@pytest.mark.parametrize("width", [80, 120])
def test_a_receipt_keeps_its_figures(width: int) -> None:
    text = drawn(RECEIPT, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    line = unwrapped(text)
    for figure in (
        "Receipt: sentence-transformers/all-MiniLM-L6-v2",
        "12,345, 1,234 repeats not computed again, 56 truncated",
        "2,345,678 in, 2,222,222 computed, padding 1.00%",
        "device busy",
        "before the first batch, from sample of the lengths: off by 2.8%",
        "18,008 tokens/s in fp32 on AMD EPYC",
        "47 TFLOP useful, 47.5 TFLOP executed",
        "81.2% of wall time, 90.2% of device time",
        "287 GFLOP/s",
        "2 streams 1024×1536×384",
        "cosine 0.9881 in the mean, 0.9811 at least, to the vectors in bf16 (32 random texts when loaded)",
        "out.parquet",
        "0.274 ¢ at 8 ¢/h; marginal 0.105 ¢ per 1M tokens",
        "0.00468 ¢",
        "1.45e-8 ¢",
        "2026-11-09",
        "2 ¢",
        "2026-05-01",
        "bf16, 100 % busy; median of 19 quotes",
    ):
        assert figure in line, figure


def test_a_receipt_without_a_price_says_how_to_give_one() -> None:
    free = replace(RECEIPT, usd=Cost(per_hour=None, total=None, marginal_per_million_tokens=None))
    text = unwrapped(drawn(free, 80))
    assert "unknown: give --usd-per-hour" in text
    assert "marginal" not in text


def test_a_receipt_of_a_job_that_was_not_predicted() -> None:
    text = drawn(
        replace(RECEIPT, predicted_seconds=None, prediction_error=None, prediction_basis=None, duplicates=0),
        80,
    )
    assert "predicted" not in text
    assert "repeats" not in text
    assert "known" not in text


def test_a_receipt_of_texts_that_came_again() -> None:
    text = unwrapped(drawn(replace(RECEIPT, cached=321), 120))
    assert "12,345, 1,234 repeats not computed again, 321 known from before, 56 truncated" in text


def test_a_receipt_tells_of_texts_without_a_vector() -> None:
    named = ("in.txt: row 7 got no vector: the device choked", "9 more got no vector")
    receipt = replace(RECEIPT, failed=10, embedded=12_335, warnings=named)
    text = unwrapped(drawn(receipt, 120))
    console = Console(width=120, file=io.StringIO())
    render_warnings(receipt, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "56 truncated, 10 without a vector" in text
    for warning in named:
        assert f"warning: {warning}" in said
    assert "without a vector" not in drawn(RECEIPT, 120)


@pytest.mark.parametrize("odd", ["[bold]x[/bold]", "[/]", "[red]", "[link=a]b", "\\[x]"])
def test_names_in_a_receipt_are_no_markup(odd: str) -> None:
    text = drawn(replace(RECEIPT, model=odd, device=odd), 120, output=f"/data/{odd}.parquet")
    assert f"Receipt: {odd}" in text
    assert f"on {odd}" in text
    assert f"/data/{odd}.parquet" in text


def test_a_long_path_is_shown_whole() -> None:
    path = "/data/" + "a-very-long-folder-name/" * 8 + "out.parquet"
    text = drawn(RECEIPT, 80, output=path)
    assert path in text.replace("│", "").replace("\n", "").replace(" ", "")


HITS = [Hit(row=3, id="doc-3", score=0.91946), Hit(row=0, id="doc-0", score=-0.0521)]


def shown(hits: list[Hit], texts: dict[int, str], width: int, question: str = "why?") -> str:
    screen = console(width)
    render_hits(question, hits, texts, screen)
    return written(screen)


@pytest.mark.parametrize("width", [80, 120])
def test_hits_keep_their_figures(width: int) -> None:
    text = shown(HITS, {3: "because " * 30, 0: "no\nidea\tat  all"}, width)
    assert max(map(len, text.splitlines())) <= width
    for part in ("why?", "0.919", "doc-3", "-0.052", "doc-0", "no idea at all"):
        assert part in text
    # A long text is cut, with a sign of it.
    assert text.count("because") < 30
    assert "…" in text


@pytest.mark.parametrize("odd", ["[bold]x[/bold]", "[/]", "[red]", "\\[x]", ":smile:"])
def test_texts_ids_and_questions_are_no_markup(odd: str) -> None:
    text = shown([Hit(row=0, id=f"id {odd}", score=0.5)], {0: f"text {odd}"}, 80, question=f"q {odd}")
    for part in (f"q {odd}", f"id {odd}", f"text {odd}"):
        assert part in text


def test_a_long_id_is_shown_whole_and_leaves_its_score() -> None:
    name = "https://example.org/" + "path/" * 30
    text = shown([Hit(row=0, id=name, score=0.5)], {0: "the text"}, 80)
    assert "0.500" in text
    assert "…" not in text


def test_hits_whose_texts_are_not_known() -> None:
    text = shown(HITS, {}, 80)
    assert "doc-3" in text
    assert "0.919" in text


def test_no_hits() -> None:
    assert "why?" in shown([], {}, 80)
