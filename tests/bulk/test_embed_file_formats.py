"""A file in every format: what plain Parquet readers see, and that a search in it finds the same texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from farthing.bulk.embed_file import embed_file
from farthing.bulk.reading import open_source
from farthing.bulk.search import read_header, search
from farthing.bulk.writing import EmbeddingWriter
from farthing.embedding import formatting, job
from farthing.embedding.embedder import Embedder
from farthing.embedding.formats import PRECISIONS, Precision, VectorFormat, ranges_of
from farthing.errors import InputError
from makers import make_calibration, make_model_calibration

pytestmark = pytest.mark.usefixtures("_calibrated")

SUBJECTS = ("bread", "dates", "France", "a violin", "the sea", "taxes", "sleep", "chess")
VERBS = ("how to learn about", "a short history of", "what nobody says about", "the price of", "a song about")
TEXTS = [f"{verb} {subject}" for verb in VERBS for subject in SUBJECTS]

TYPES = {
    "float32": pa.float32(),
    "float16": pa.float16(),
    "int8": pa.int8(),
    "uint8": pa.uint8(),
    "binary": pa.int8(),
    "ubinary": pa.uint8(),
}

Embed = Callable[..., str]


@pytest.fixture
def embed(default: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embed:
    """Return a function that embeds the texts into a file and gives its path."""
    measured = make_model_calibration(streams=default.model.engine.lanes)
    monkeypatch.setattr(job, "ensure_calibrated", lambda *_: (make_calibration(), measured))
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")

    def run(precision: Precision, truncate_dim: int | None = None, limit: int | None = None) -> str:
        path = str(tmp_path / f"{precision}.parquet")
        source = open_source(str(tmp_path / "in.txt"), limit=limit)
        receipt = embed_file(source, path, default, precision=precision, truncate_dim=truncate_dim)
        assert receipt.texts == (limit or len(TEXTS))
        return path

    return run


@pytest.mark.parametrize("truncate_dim", [None, 100])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_file_in_every_format(
    embed: Embed, default: Embedder, precision: Precision, truncate_dim: int | None
) -> None:
    path = embed(precision, truncate_dim)
    dimension = truncate_dim or 384
    exact = default.encode(TEXTS, truncate_dim=truncate_dim)
    ranges = ranges_of(exact) if "int8" in precision else None
    form = VectorFormat(precision, dimension, ranges)

    table = pq.read_table(path)
    column = table.schema.field("embedding").type
    assert (column.value_type, column.list_size) == (TYPES[precision], form.width)
    values = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(TEXTS), -1)
    off = np.abs(values.astype(np.float64) - form.quantized(exact))
    assert off.max() <= (1 if "int8" in precision else 1e-3 if "float" in precision else 0)

    stored = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert (stored["farthing.precision"], stored["farthing.dimension"]) == (precision, str(dimension))
    if ranges is None:
        assert not {"farthing.ranges", "farthing.range_sample_texts", "farthing.clipped_values"} & set(stored)
    else:
        assert (stored["farthing.range_sample_texts"], stored["farthing.clipped_values"]) == (
            str(len(TEXTS)),
            "0",
        )
        np.testing.assert_allclose(json.loads(stored["farthing.ranges"]), ranges, atol=1e-6)
        np.testing.assert_allclose(read_header(path).format.floats(values), exact, atol=1 / 255)

    question = default.encode("where does sourdough come from", truncate_dim=truncate_dim)
    cosines = exact @ question
    hits = search(path, question, top=5)
    assert int(np.argmax(cosines)) in [hit.row for hit in hits[: 5 if "binary" in precision else 1]]
    near = {"float32": 1e-5, "float16": 1e-3, "int8": 0.01, "uint8": 0.01}.get(precision, 0.3)
    for hit in hits:
        assert hit.score == pytest.approx(cosines[hit.row], abs=near)


def test_ranges_and_clipping_are_those_of_the_first_texts(
    embed: Embed, default: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formatting, "RANGE_SAMPLE_TEXTS", 8)
    header = read_header(embed("uint8"))
    assert header.metadata["range_sample_texts"] == "8"
    exact = default.encode(TEXTS)
    assert header.format.ranges is not None
    np.testing.assert_allclose(header.format.ranges, ranges_of(exact[:8]), atol=1e-6)
    clipped = int(header.metadata["clipped_values"])
    # Not the first texts: the ends of the ranges are theirs, and may be off by a bit here.
    assert clipped == pytest.approx(header.format.outside(exact[8:]), abs=16)
    assert clipped > 1000


def test_one_text_has_no_ranges(embed: Embed, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 2 texts"):
        embed("int8", limit=1)
    with pytest.raises(InputError, match="500 dimensions: must be 1 to 384"):
        embed("float32", 500)
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]
    assert read_header(embed("binary", limit=1)).rows == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"farthing.precision": "int4"},
        {"farthing.precision": "uint8"},  # the column is of int8
        {"farthing.precision": "binary"},  # the column is too wide
        {"farthing.dimension": "5"},
        {"farthing.ranges": "[[0], [1]]"},
        {"farthing.ranges": "[[0, 0, 0, 0]"},
        {"farthing.ranges": "[[0, 0, 0, 0], [1, 1, 1, null]]"},
        {"farthing.ranges": None},
    ],
)
def test_metadata_that_do_not_fit_the_column(tmp_path: Path, changes: dict[str, str | None]) -> None:
    path = str(tmp_path / "out.parquet")
    with EmbeddingWriter(path, dimension=4, metadata={"model": "m"}, precision="int8") as writer:
        writer.write(["a"], np.zeros((1, 4), np.int8), np.ones(1, np.int32))
        writer.note({"ranges": "[[0, 0, 0, 0], [1, 1, 1, 1]]"})
    assert read_header(path).format.needs_ranges
    table = pq.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()} | changes
    kept = {key: value for key, value in metadata.items() if value is not None}
    pq.write_table(table.replace_schema_metadata(kept), path)
    with pytest.raises(InputError, match="not an output of farthing embed"):
        read_header(path)


def test_a_writer_takes_its_own_type_alone(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="float32, not int8"),
        EmbeddingWriter(str(tmp_path / "o"), dimension=8, metadata={}, precision="binary") as writer,
    ):
        writer.write(["a"], np.zeros((1, 1), np.float32), np.ones(1, np.int32))
