"""The seed article: its formula reproduces its numbers, three constants its measurements, and our page is current."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import article_fit
import article_tokens
from article_fit import Constants, Point
from farthing.theory.flops import article_flops
from farthing.theory.pricing import flops_per_usd, tokens_per_day, usd_per_million_tokens
from farthing.theory.shapes import ModelShape
from farthing.units import SECONDS_PER_HOUR

ROOT = Path(__file__).resolve().parents[2]
H100, RTX4090 = article_fit.DEVICES
ALLOWED = 0.10


@pytest.fixture(scope="module")
def shape() -> ModelShape:
    return article_fit.qwen3_embedding_8b()


@pytest.fixture(scope="module")
def recount() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(article_fit.latest("article-tokens").read_text(encoding="utf-8"))
    return result


@pytest.fixture(scope="module")
def points(recount: dict[str, Any]) -> list[Point]:
    """The article's cells from its own figures, never from the kept fit."""
    measurements = article_fit.DATA / "throughput.csv"
    if not measurements.is_file():
        pytest.skip(f"the article's figures are missing: no file {measurements}")
    return article_fit.read_points(measurements, article_fit.recounted_tokens(recount))


def of(points: Sequence[Point], device: str) -> list[Point]:
    return [point for point in points if point.device == device]


def errors(cells: Sequence[Point], constants: Constants, shape: ModelShape) -> dict[int, float]:
    """Relative errors in texts per second, by stated tokens."""
    spec = article_fit.spec_of(cells[0].device)
    return {cell.stated_tokens: article_fit.error(cell, constants, shape, spec) for cell in cells}


def burst_error(point: Point, constants: Constants, shape: ModelShape) -> float:
    """The error where N texts come at once and then no more, host and device overlapping wholly."""
    spec = article_fit.spec_of(point.device)
    device_s = article_fit.device_seconds(shape, point.tokens, spec, constants.efficiency)
    seconds = article_fit.last_returned_s(constants, device_s, point.concurrent)
    return point.concurrent / seconds / point.embeddings_per_s - 1


# Its arithmetic, to the digit that docs/theory.md gives.


def test_its_formula_gives_its_flops_and_seconds(shape: ModelShape) -> None:
    flops = article_flops(shape, 1024)
    assert f"{flops / 1e12:.1f}" == "16.4"
    assert f"{flops / 750e12 * 1e3:.2f}" == "21.86"


@pytest.mark.parametrize(
    ("usd_per_hour", "tokens_per_s", "utilization", "cents"),
    [
        (2.0, 33_488, 1.0, "1.66"),
        (2.0, 33_488, 0.1, "16.59"),
        (0.37, 9_672, 1.0, "1.06"),
        (0.37, 22.0 * 520, 1.0, "0.90"),
    ],
)
def test_its_rates_give_its_prices(
    usd_per_hour: float, tokens_per_s: float, utilization: float, cents: str
) -> None:
    assert f"{usd_per_million_tokens(usd_per_hour, tokens_per_s, utilization) * 100:.2f}" == cents


def test_its_other_figures() -> None:
    assert f"{tokens_per_day(11_024) / 1e6:.0f}" == "952"
    assert f"{flops_per_usd(165e12, 0.37) / SECONDS_PER_HOUR / 1e12:.1f}" == "445.9"


# Its tokens.


def test_recount_is_what_theory_says(recount: dict[str, Any]) -> None:
    """862 where it says 1040, .85, .83 and .82 at 130, 1040 and 5200: single texts of ours reach all of them."""
    rows = {row["stated_tokens"]: row for row in recount["article"]["lengths"]}
    assert rows[1040]["least"] <= 862 <= rows[1040]["most"]
    assert rows[1040]["tokens"] == pytest.approx(862, rel=0.005)
    for stated, ratio in ((130, 0.85), (1040, 0.83), (5200, 0.82)):
        assert rows[stated]["least"] / stated - 0.005 <= ratio <= rows[stated]["most"] / stated + 0.005
    per_million = usd_per_million_tokens(2.0, 33_488 * rows[1040]["true_over_stated"])
    assert f"{per_million * 100:.1f}" == "2.0"


def test_other_word_lists_say_the_same(recount: dict[str, Any]) -> None:
    theirs = {row["stated_tokens"]: row["true_over_stated"] for row in recount["article"]["lengths"]}
    assert len(recount["own_lists"]) == 10
    for one in recount["own_lists"]:
        for row in one["lengths"]:
            assert row["true_over_stated"] == pytest.approx(theirs[row["stated_tokens"]], rel=0.02)


def test_bytes_merge_lowest_rank_first() -> None:
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"ab": 4, b"abc": 5}
    assert article_tokens.merged_tokens(b"abc", {**ranks}) == 1
    del ranks[b"abc"]
    assert article_tokens.merged_tokens(b"abab", ranks) == 2
    assert article_tokens.merged_tokens(b"abc", ranks) == 2
    assert article_tokens.merged_tokens(b"cba", ranks) == 3


def test_texts_are_counted_with_their_end_token() -> None:
    """A word and the space before it are one piece, a digit is one alone; the end token is counted."""
    letters = {bytes([byte]): byte for byte in range(256)}
    count = article_tokens.token_counter({**letters, b"ab": 256, b" ab": 257})
    assert count("ab ab") == 3
    assert count("ab ab 12") == 3 + 1 + 2
    assert count("") == 1


@pytest.mark.parametrize("length", [100, 200, 800])
def test_texts_have_the_words_asked_for(length: int) -> None:
    choose = random.Random(length)
    words, openings = ["fox", "river", "data"], ["The study concluded that"]
    for chosen in (openings, []):
        text = article_tokens.random_text(words, chosen, length, choose)
        assert len(text.split()) == length
        assert text.endswith(".")
        assert text.startswith("The study concluded that") == bool(chosen)


# Its 88 points.


def test_two_host_constants_and_one_efficiency_are_all_that_is_fitted() -> None:
    assert [field.name for field in fields(Constants)] == ["latency_s", "per_request_s", "efficiency"]


def test_all_points_are_there(points: list[Point]) -> None:
    assert len(points) == 88
    assert len(of(points, H100)) == 40
    assert len(of(points, RTX4090)) == 48
    assert {point.concurrent for point in article_fit.saturated(points)} == {128}


@pytest.mark.parametrize("device", [H100, RTX4090])
def test_they_explain_both_columns(points: list[Point], shape: ModelShape, device: str) -> None:
    """N = 1 and N = 128 within 10 %, on either machine with its own host; and all that lies from N = 64 on."""
    cells = of(points, device)
    constants = article_fit.fit(cells, shape, article_fit.spec_of(device))
    for column in (article_fit.lone(cells), article_fit.saturated(cells)):
        assert len(column) == len({cell.stated_tokens for cell in cells})
        assert max(map(abs, errors(column, constants, shape).values())) <= ALLOWED
    for cell in cells:
        if cell.concurrent == 1 or cell.concurrent >= 64:
            assert abs(burst_error(cell, constants, shape)) <= ALLOWED


def test_one_host_for_both_devices(points: list[Point], shape: ModelShape) -> None:
    """Four constants in all: every saturated cell but one; the H100's host is not the 4090's.

    That one cell, 260 tokens on the 4090, and its column N = 1 need a slower host. The page says so.
    """
    host = article_fit.fit(of(points, H100), shape, article_fit.spec_of(H100))
    rtx = of(points, RTX4090)
    constants = article_fit.fit_efficiency(rtx, host, shape, article_fit.spec_of(RTX4090))
    assert constants == replace(host, efficiency=constants.efficiency)
    saturated = errors(article_fit.saturated(rtx), constants, shape)
    assert [stated for stated, error in saturated.items() if abs(error) > ALLOWED] == [260]
    assert max(errors(article_fit.lone(rtx), constants, shape).values()) > 0.5


def test_stated_tokens_would_need_a_4090_at_its_peak(points: list[Point], shape: ModelShape) -> None:
    """What betrays words × 1.3: nothing serves a whole model at 97 % of the datasheet."""
    spec = article_fit.spec_of(RTX4090)
    cells = of(points, RTX4090)
    stated = [replace(cell, tokens=cell.stated_tokens) for cell in cells]
    assert article_fit.fit(stated, shape, spec).efficiency > 0.95
    assert article_fit.fit(cells, shape, spec).efficiency < 0.85


@pytest.mark.parametrize(
    "truth",
    [
        Constants(latency_s=0.020, per_request_s=0.012, efficiency=0.55),
        Constants(latency_s=0.005, per_request_s=0.030, efficiency=0.80),
    ],
)
def test_fit_finds_the_constants_behind_made_up_cells(
    points: list[Point], shape: ModelShape, truth: Constants
) -> None:
    spec = article_fit.spec_of(H100)
    made_up = [
        replace(
            point,
            embeddings_per_s=article_fit.fitted_rate(
                truth,
                article_fit.device_seconds(shape, point.tokens, spec, truth.efficiency),
                point.concurrent,
            ),
        )
        for point in of(points, H100)
    ]
    found = article_fit.fit(made_up, shape, spec)
    assert found.efficiency == pytest.approx(truth.efficiency, abs=0.002)
    assert found.latency_s == pytest.approx(truth.latency_s, rel=0.02)
    assert found.per_request_s == pytest.approx(truth.per_request_s, rel=0.02)


def test_kept_fit_is_what_the_figures_give(points: list[Point], shape: ModelShape) -> None:
    kept = json.loads(article_fit.latest("article-fit").read_text(encoding="utf-8"))["devices"]
    again = json.loads(json.dumps(article_fit.figures_of_all(points, shape)))
    assert _rounded(again) == _rounded(kept)


def _rounded(value: Any) -> Any:
    """Floats to nine digits: a last bit may differ between machines."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_its_two_tables_agree(points: list[Point]) -> None:
    """Latencies of the article's other table, at 1040, are N over the rates of this one, within the runs' spread."""
    with (article_fit.DATA / "latency_1040.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rates = {(p.device, p.concurrent): p.embeddings_per_s for p in points if p.stated_tokens == 1040}
    assert len(rows) == 16
    for row in rows:
        n = int(row["concurrent_requests"])
        assert n / float(row["last_returned_s"]) == pytest.approx(rates[row["device"], n], rel=0.03)


# Our page.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and the picture, made again elsewhere."""
    folder = tmp_path_factory.mktemp("article")
    command = [sys.executable, str(ROOT / "docs" / "make_article"), "--to", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def test_page_is_current(made: Path) -> None:
    committed = (ROOT / "docs" / "concepts" / "article.md").read_text(encoding="utf-8")
    assert (made / "article.md").read_text(encoding="utf-8") == committed, "run python docs/make_article"


def test_picture_is_current(made: Path) -> None:
    """Byte for byte with the pinned matplotlib; another one draws the same with other bytes."""
    import matplotlib

    pinned = re.search(r"^matplotlib==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert pinned is not None
    if matplotlib.__version__ != pinned[1]:
        pytest.skip(f"matplotlib {matplotlib.__version__} is not the pinned {pinned[1]}")
    committed = (ROOT / "docs" / "concepts" / "article-fit.svg").read_bytes()
    assert (made / "article-fit.svg").read_bytes() == committed, "run python docs/make_article"


@pytest.mark.parametrize(
    "number",
    [
        *("25.5", "16.4 TFLOP", "insignificant", "989", "750", "15.14 GB", "3.3 TB/s", "4.6 ms", "21 ms"),
        *("47 embeddings/s", "25.3", "1.86×", "2.3×", "45k", "33,488", "1.66 ¢", "16 ¢", "276k", "9,672"),
        *(
            "1.06 ¢",
            "36 %",
            "$0.0090",
            "11,024",
            "1B tokens",
            "495 on paper",
            "375 real",
            "RTX 4090 445",
            "4.5×",
            "5.4×",
            "3.5×",
        ),
        *(
            "4.2×",
            "$650",
            "4.9B",
            "4/3",
            "$3200",
            "$15",
            "$60",
            "6 % of the time at 2600",
            "15 % at 8000",
            "below 10B",
            "1.83 GHz",
        ),
        *("130, 260, 520, 1040, 1300, 2600, 5200", "$0.10", "$0.15", "$0.12", "1.3 tokens per word"),
    ],
)
def test_page_has_every_number_of_the_article(number: str) -> None:
    """In the first column of a table: what the article says, with ours beside it."""
    page = (ROOT / "docs" / "concepts" / "article.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    assert any(number in " ".join(row[1:3]) for row in rows)
