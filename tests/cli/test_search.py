"""A question is only asked of the model that embedded the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
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

    def load(model: str, *, revision: str | None) -> Embedder:
        asks.append((model, revision))
        return local

    monkeypatch.setattr("farthing.embedding.embedder.Embedder", load)
    refused(search(output, "end", *asked), "some/model", recorded, local.model.checkpoint.revision)
    assert asks == [(asked[-1] if asked else "some/model", loaded)]
