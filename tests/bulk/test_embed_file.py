"""A file in, a file out: rows that fail are named and null, the others stand; and all or nothing on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from farthing.bulk.embed_file import embed_file
from farthing.bulk.reading import open_source
from farthing.bulk.search import search
from farthing.embedding import job, steps
from farthing.embedding.embedder import Embedder
from farthing.embedding.job import Watch
from farthing.errors import EngineError
from staged_engine import choke_on

pytestmark = pytest.mark.usefixtures("_calibrated")

TEXTS = [f"text {number} of the story" for number in range(60)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = [{"text": text, "name": f"n{row}"} for row, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (steps, job):
        monkeypatch.setattr(module, "WINDOW_TEXTS", 25)


@pytest.mark.usefixtures("_small_windows")
def test_rows_that_fail_are_null_and_named(
    tiny: Embedder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [3, 30, 31, 59]
    choke_on(monkeypatch, tiny.model.tokenizer, [TEXTS[row] for row in failed])
    output = str(tmp_path / "out.parquet")
    receipt = embed_file(open_source(str(source), id_field="name"), output, tiny)
    assert (receipt.texts, receipt.embedded, receipt.failed) == (60, 56, 4)
    assert receipt.warnings[:4] == (
        *(f"{source}: row {row} got no vector: the device choked" for row in failed[:3]),
        "1 more got no vector",
    )
    table = pq.read_table(output)
    assert table["id"].to_pylist() == [f"n{row}" for row in range(60)]
    assert table["tokens"].to_pylist() == tiny.model.tokenizer.encode(TEXTS).lengths
    found = table["embedding"].to_pylist()
    assert [row for row, vector in enumerate(found) if vector is None] == failed
    good = [row for row in range(60) if row not in failed]
    np.testing.assert_allclose(
        [found[row] for row in good], tiny.encode([TEXTS[row] for row in good]), atol=1e-5
    )
    hits = search(output, tiny.encode(TEXTS[4]), 60)
    assert (hits[0].row, len(hits)) == (4, 56)


def test_where_no_row_gets_a_vector_nothing_is_left(
    tiny: Embedder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choke_on(monkeypatch, tiny.model.tokenizer, TEXTS)
    with pytest.raises(EngineError, match="the device choked"):
        embed_file(open_source(str(source)), str(tmp_path / "out.parquet"), tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def raising(_: object, *__: object) -> None:
    raise RuntimeError("from the watch")


@pytest.mark.usefixtures("_small_windows")
@pytest.mark.parametrize("hook", ["on_prediction", "on_step"])
def test_an_error_on_the_way_leaves_nothing(tiny: Embedder, source: Path, tmp_path: Path, hook: str) -> None:
    hooks: dict[str, Callable[..., None]] = {hook: raising}
    with pytest.raises(RuntimeError, match="from the watch"):
        embed_file(open_source(str(source)), str(tmp_path / "out.parquet"), tiny, watch=Watch(**hooks))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert embed_file(open_source(str(source)), str(tmp_path / "out.parquet"), tiny).failed == 0
