"""`farthing embed` in another format, and `farthing search` in what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from farthing.cli.main import main
from farthing.embedding import formatting, job
from makers import make_calibration, make_model_calibration

TEXTS = ["how to bake bread", "parse a date from a string", "the capital of France", "the price of gold"]


@pytest.mark.parametrize(("precision", "width"), [("float16", 200), ("int8", 200), ("binary", 25)])
def test_embedded_in_a_format_and_searched(
    tmp_path: Path,
    minilm: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
    width: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formatting, "RANGE_SAMPLE_TEXTS", 3)
    measured = (make_calibration(), make_model_calibration())
    monkeypatch.setattr(job, "ensure_calibrated", lambda *_: measured)
    Path("in.txt").write_text("\n".join(TEXTS) + "\n")
    options = ["--precision", precision, "--dimensions", "200", "-m", str(minilm)]
    assert main(["embed", "in.txt", "-o", "out.parquet", *options]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert ("values lay outside the ranges of the first texts" in shown) == (precision == "int8")
    assert pq.read_table("out.parquet").schema.field("embedding").type.list_size == width
    assert main(["search", "out.parquet", "reading dates", "--top", "3", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert (hits[0]["text"], len(hits)) == (TEXTS[1], 3)
    assert hits[0]["score"] > hits[1]["score"]


def test_a_text_over_the_limit_is_refused_if_the_user_says_so(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("a\n" + "a " * 50 + "\n")
    assert main(["embed", "in.txt", "-o", "out.parquet", "-m", str(tiny_bert), "--no-truncate"]) == 2
    message = (
        "farthing: in.txt: row 1 has 52 tokens, over the limit of 32; shorten it, or let it be truncated"
    )
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("out.parquet").exists()
