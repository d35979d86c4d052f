"""A question is only asked of the model that embedded the file."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farthing.bulk.writing import EmbeddingWriter
from farthing.cli.main import main
from farthing.embedding.embedder import Embedder

Search = Callable[..., tuple[int, str]]


def embedded(folder: Path, embedder: Embedder, **metadata: str) -> Path:
    """Write a file of one text, as `embed` does; `metadata` replaces what it says of its model."""
    checkpoint = embedder.model.checkpoint
    says = {"model": checkpoint.name, "revision": checkpoint.revision, "pooling": checkpoint.pooling}
    path = folder / "out.parquet"
    with EmbeddingWriter(str(path), dimension=embedder.dimension, metadata={**says, **metadata}) as writer:
        writer.write(["0"], embedder.encode(["the end"]), np.ones(1, np.int32))
    return path


@pytest.fixture
def search(capsys: pytest.CaptureFixture[str]) -> Search:
    """Return a function that searches in this process and gives the exit code and what people see."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["search", *map(str, arguments)])
        return code, capsys.readouterr().err

    return run


def refused(outcome: tuple[int, str], *fragments: str) -> None:
    code, line = outcome
    assert code == 2
    assert line.count("\n") == 1
    for fragment in ("embedded by", *fragments):
        assert fragment in line


def test_a_folder_whose_weights_changed(
    search: Search, make_bert: Callable[..., Path], tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    before = Embedder(str(folder))
    output = embedded(tmp_path, before)
    assert search(output, "end")[0] == 0
    shutil.copy(make_bert(seed=1) / "model.safetensors", folder)
    now = Embedder(str(folder)).model.checkpoint.revision
    refused(search(output, "end"), str(folder), before.model.checkpoint.revision, now)


def test_another_model_of_the_same_width(
    search: Search, make_bert: Callable[..., Path], tiny_bert: Path, tmp_path: Path
) -> None:
    output = embedded(tmp_path, Embedder(str(tiny_bert)))
    other = make_bert(seed=1)
    refused(search(output, "end", "--model", other), str(tiny_bert), str(other))


def test_the_same_weights_pooled_otherwise(
    search: Search, make_bert: Callable[..., Path], tiny_bert: Path, tmp_path: Path
) -> None:
    output = embedded(tmp_path, Embedder(str(tiny_bert)))
    refused(search(output, "end", "--model", make_bert(pooling="cls")), "(mean pooling)", "(cls pooling)")


def test_a_model_that_moved_is_the_same(search: Search, tiny_bert: Path, tmp_path: Path) -> None:
    output = embedded(tmp_path, Embedder(str(tiny_bert)), model="/gone")
    refused_before = search(output, "end")
    assert refused_before[0] == 2
    assert "/gone" in refused_before[1]
    assert search(output, "end", "--model", tiny_bert)[0] == 0


@pytest.mark.parametrize(
    ("recorded", "asked", "loaded"),
    [
        ("0a1b2c", (), "0a1b2c"),
        ("0a1b2c", ("--model", "some/model"), "0a1b2c"),
        ("0a1b2c", ("--model", "other/model"), None),
        ("sha256:0a1b2c", (), None),
    ],
)
def test_a_commit_of_the_hub_is_the_one_that_is_loaded(
    search: Search,
    monkeypatch: pytest.MonkeyPatch,
    tiny_bert: Path,
    tmp_path: Path,
    recorded: str,
    asked: tuple[str, ...],
    loaded: str | None,
) -> None:
    local = Embedder(str(tiny_bert))
    output = embedded(tmp_path, local, model="some/model", revision=recorded)
    asks: list[tuple[str, str | None]] = []

    def load(model: str, *, revision: str | None, offline: bool) -> Embedder:
        asks.append((model, revision))
        assert offline == (not asked)  # a name in a file sends nobody to the hub
        return local

    monkeypatch.setattr("farthing.embedding.embedder.Embedder", load)
    refused(search(output, "end", *asked), "some/model", recorded, local.model.checkpoint.revision)
    assert asks == [(asked[-1] if asked else "some/model", loaded)]


def test_a_model_that_is_not_here_is_asked_for_and_no_hub_is(
    search: Search, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's file would else choose what is fetched, with the user's token."""

    def fetch(*_: object, local_files_only: bool = False, **__: object) -> None:
        from huggingface_hub.errors import LocalEntryNotFoundError

        assert local_files_only
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    for name in ("stranger/model", "a\0b", "x" * 5000):
        output = embedded(tmp_path, Embedder(str(tiny_bert)), model=name, revision="0a1b2c")
        refused(search(output, "end"), "--model")


@pytest.mark.parametrize("damage", ["null", "nan", "id"])
def test_vectors_that_cannot_be_compared_are_one_line(
    search: Search, tiny_bert: Path, tmp_path: Path, damage: str
) -> None:
    output = embedded(tmp_path, Embedder(str(tiny_bert)))
    table = pq.read_table(output)
    width = table.schema.field("embedding").type.list_size
    values = [None if damage == "null" else math.nan if damage == "nan" else 1.0] * width
    schema = pa.schema(
        [("id", pa.string()), ("embedding", pa.list_(pa.float32(), width)), ("tokens", pa.int32())],
        metadata=table.schema.metadata,
    )
    ids = [None if damage == "id" else "0"]
    pq.write_table(pa.table([ids, [values], [1]], schema=schema), output)
    code, line = search(output, "end")
    assert code == 2
    assert line.count("\n") == 1
    assert "embed it again" in line
