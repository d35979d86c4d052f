"""Searching: the same as comparing everything at once, and only in files of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.bulk.reading import SourceDescription, open_source
from farthing.bulk.search import Hit, read_header, search, source_from_header, texts_of_rows
from farthing.bulk.writing import EmbeddingWriter
from farthing.errors import InputError

Vectors = npt.NDArray[np.float32]


def output(folder: Path, vectors: Vectors, **metadata: str) -> str:
    path = str(folder / "out.parquet")
    count, dimension = vectors.shape
    with EmbeddingWriter(path, dimension=dimension, metadata={"model": "tiny", **metadata}) as writer:
        writer.write([f"id {n}" for n in range(count)], vectors, np.ones(count, np.int32))
    return path


def random_vectors(count: int, dimension: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert type(caught.value) is InputError
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestHeader:
    def test_what_was_written(self, tmp_path: Path) -> None:
        path = output(tmp_path, random_vectors(3, 4), revision="53aa", pooling="mean", dtype="fp32")
        header = read_header(path)
        assert (header.model, header.revision, header.pooling) == ("tiny", "53aa", "mean")
        assert (header.format.precision, header.format.dimension, header.rows) == ("float32", 4, 3)
        assert header.metadata["dtype"] == "fp32"

    def test_what_was_not(self, tmp_path: Path) -> None:
        header = read_header(output(tmp_path, random_vectors(3, 4)))
        assert (header.revision, header.pooling) == (None, None)

    def test_files_that_are_not_ours(self, tmp_path: Path) -> None:
        path = tmp_path / "other.parquet"
        assert "no such file" in refusal(lambda: read_header(str(path)))
        assert "is a folder" in refusal(lambda: read_header(str(tmp_path)))
        path.write_text("id,text\n")
        assert "not a readable Parquet" in refusal(lambda: read_header(str(path)))
        ours = {"farthing.model": "tiny", "farthing.dimension": "2"}
        good = pa.table({"id": ["a"], "embedding": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))})
        for table in (
            good,
            good.drop_columns(["id"]).replace_schema_metadata(ours),
            good.replace_schema_metadata({**ours, "farthing.dimension": "3"}),
            good.replace_schema_metadata({**ours, "farthing.dimension": "many"}),
            good.replace_schema_metadata({"farthing.dimension": "2"}),
            pa.table({"id": ["a"], "embedding": [1.0]}, metadata=ours),
        ):
            pq.write_table(table, path)
            message = refusal(lambda: read_header(str(path)))
            assert "other.parquet: not an output of farthing" in message
            assert message == refusal(lambda: search(str(path), np.ones(2, np.float32), 1))


class TestSearch:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
    @given(st.integers(1, 5000), st.integers(1, 8), st.integers(1, 30), st.integers(0, 2**32 - 1))
    def test_equals_comparing_all_at_once(
        self, tmp_path: Path, count: int, dimension: int, top: int, seed: int
    ) -> None:
        vectors = random_vectors(count, dimension, seed) * np.float32(3.0)
        query = random_vectors(1, dimension, seed + 1)[0] * np.float32(0.1)
        hits = search(output(tmp_path, vectors), query, top)
        exact = vectors.astype(np.float64)
        cosines = exact @ query / np.linalg.norm(exact, axis=1) / np.linalg.norm(query.astype(np.float64))
        assert len(hits) == len({hit.row for hit in hits}) == min(top, count)
        assert [hit.id for hit in hits] == [f"id {hit.row}" for hit in hits]
        np.testing.assert_allclose([hit.score for hit in hits], cosines[[hit.row for hit in hits]], atol=2e-7)
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(cosines)[::-1][:top], atol=2e-7)

    def test_ties_stand_in_the_order_of_rows(self, tmp_path: Path) -> None:
        vector = random_vectors(1, 384)[0]
        vectors = np.tile(-vector, (10_000, 1))
        equal = [3, 2047, 2048, 2049, 8191, 8192, 9999]
        vectors[equal] = vector
        hits = search(output(tmp_path, vectors), vector, 6)
        assert [hit.row for hit in hits] == equal[:6]
        assert {hit.score for hit in hits} == {1.0}

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
    @given(st.integers(1, 5000), st.sets(st.integers(0, 4999), max_size=40), st.integers(1, 30))
    def test_rows_without_a_vector_are_no_hits(
        self, tmp_path: Path, count: int, failed: set[int], top: int
    ) -> None:
        """Wherever they fall; rows after them keep their numbers and ids."""
        failed = {row for row in failed if row < count}
        vectors = random_vectors(count, 4, count)
        path = str(tmp_path / "out.parquet")
        with EmbeddingWriter(path, dimension=4, metadata={"model": "tiny"}) as writer:
            writer.write([f"id {n}" for n in range(count)], vectors, np.ones(count, np.int32), failed)
        assert read_header(path).rows == count
        hits = search(path, vectors[0], top)
        exact = vectors.astype(np.float64)
        cosines = exact @ exact[0] / np.linalg.norm(exact, axis=1) / np.linalg.norm(exact[0])
        good = [row for row in np.argsort(-cosines, kind="stable").tolist() if row not in failed]
        assert len(hits) == min(top, len(good))
        assert failed.isdisjoint(hit.row for hit in hits)
        np.testing.assert_allclose([hit.score for hit in hits], cosines[[hit.row for hit in hits]], atol=2e-7)
        assert [hit.id for hit in hits] == [f"id {hit.row}" for hit in hits]
        np.testing.assert_allclose([hit.score for hit in hits], cosines[good[:top]], atol=2e-7)

    def test_zeros_score_zero(self, tmp_path: Path) -> None:
        vectors = np.array([[0, 0], [-1, 0], [1, 0]], np.float32)
        path = output(tmp_path, vectors)
        assert search(path, np.array([2, 0], np.float32), 9) == [
            Hit(2, "id 2", 1.0),
            Hit(0, "id 0", 0.0),
            Hit(1, "id 1", -1.0),
        ]
        assert [hit.score for hit in search(path, np.zeros(2, np.float32), 9)] == [0.0, 0.0, 0.0]

    def test_a_file_without_rows(self, tmp_path: Path) -> None:
        path = output(tmp_path, np.empty((0, 2), np.float32))
        assert read_header(path).rows == 0
        assert search(path, np.ones(2, np.float32), 3) == []

    def test_bad_questions(self, tmp_path: Path) -> None:
        path = output(tmp_path, random_vectors(3, 4))
        for top in (0, -1):
            assert f"top {top}" in refusal(lambda top=top: search(path, np.ones(4, np.float32), top))  # type: ignore[misc]
        for shape in ((3,), (1, 4), ()):
            message = refusal(lambda shape=shape: search(path, np.ones(shape, np.float32), 1))  # type: ignore[misc]
            assert "4 dimensions" in message

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        path = Path(output(tmp_path, random_vectors(3000, 4)))
        content = bytearray(path.read_bytes())
        content[4:20_000] = b"\xff" * 19_996
        path.write_bytes(content)
        message = refusal(lambda: search(str(path), np.ones(4, np.float32), 1))
        assert "out.parquet: not a readable Parquet" in message


class TestLookup:
    def test_texts_of_rows(self, tmp_path: Path) -> None:
        path = tmp_path / "c.txt"
        path.write_text("a\nb\nc\n")
        source = open_source(str(path))
        assert texts_of_rows(source, [2, 0, 2, 7]) == {0: "a", 2: "c"}
        assert texts_of_rows(source, []) == {}

    def test_the_source_is_found_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "c.jsonl"
        path.write_text('{"t": "a", "k": 1}\n{"t": "b", "k": 2}\n{"t": "c", "k": 3}\n')
        monkeypatch.chdir(tmp_path)
        about = open_source("c.jsonl", text_field="t", id_field="k", limit=2).describe()
        header = read_header(output(tmp_path, random_vectors(2, 4), source=about.published().to_json()))
        assert str(tmp_path) not in str(header.metadata.values())
        monkeypatch.chdir("/")
        assert source_from_header(header) is None
        source = source_from_header(header, str(tmp_path / "out.parquet"))
        assert source is not None
        assert list(source) == [("1", "a"), ("2", "b")]
        path.write_text(path.read_text() + "\n")
        monkeypatch.chdir(tmp_path)
        assert source_from_header(header) is None
        path.unlink()
        assert source_from_header(header) is None

    @pytest.mark.parametrize(
        "source",
        [
            SourceDescription(None, 2, None, "text", None, None).to_json(),  # standard input
            SourceDescription("/gone/c.txt", 2, 3, "text", None, None).to_json(),
            '{"path": "c.txt"}',
            "{}",
            "[]",
            "nonsense",
        ],
    )
    def test_a_source_that_cannot_be(self, tmp_path: Path, source: str) -> None:
        assert source_from_header(read_header(output(tmp_path, random_vectors(1, 2), source=source))) is None

    def test_no_source(self, tmp_path: Path) -> None:
        assert source_from_header(read_header(output(tmp_path, random_vectors(1, 2)))) is None
