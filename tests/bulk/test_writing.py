"""Writing: plain Parquet for any reader, and all or nothing under the final name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.bulk.writing import ROWS_PER_GROUP, EmbeddingWriter
from farthing.embedding.formats import Precision, VectorFormat
from farthing.errors import FarthingError, InputError

METADATA = {"model": "models/tiny", "revision": "53aa", "pooling": "mean"}


def rows(count: int, dimension: int) -> tuple[list[str], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    vectors = np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)
    return [f"id {n}" for n in range(count)], vectors, np.arange(count, dtype=np.int32)


def matrix(table: pa.Table, dimension: int) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = table["embedding"].combine_chunks().flatten().to_numpy()
    return values.reshape(-1, dimension)


def refusal(path: str) -> str:
    with pytest.raises(InputError) as caught:
        EmbeddingWriter(path, dimension=4, metadata=METADATA)
    assert type(caught.value) is InputError
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_plain_pyarrow_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    ids, vectors, tokens = rows(5, 3)
    with EmbeddingWriter(str(path), dimension=3, metadata=METADATA) as writer:
        writer.write(ids, vectors, tokens)
        assert not path.exists()
    table = pq.read_table(path)
    assert table.schema.names == ["id", "embedding", "tokens"]
    assert table.schema.field("id").type == pa.string()
    assert table.schema.field("tokens").type == pa.int32()
    embedding = table.schema.field("embedding").type
    assert pa.types.is_fixed_size_list(embedding)
    assert (embedding.list_size, embedding.value_type) == (3, pa.float32())
    # A text that failed has no vector.
    assert [field.name for field in [*table.schema, embedding.value_field] if field.nullable] == ["embedding"]
    assert table["id"].to_pylist() == ids
    assert table["tokens"].to_pylist() == tokens.tolist()
    np.testing.assert_array_equal(matrix(table, 3), vectors)
    metadata = pq.read_metadata(path).metadata
    assert {key: value for key, value in metadata.items() if key.startswith(b"farthing.")} == {
        b"farthing.model": b"models/tiny",
        b"farthing.revision": b"53aa",
        b"farthing.pooling": b"mean",
        b"farthing.dimension": b"3",
        b"farthing.precision": b"float32",
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 2 * ROWS_PER_GROUP), max_size=4))
def test_row_groups_are_full_whatever_the_writes(tmp_path: Path, counts: list[int]) -> None:
    path = tmp_path / "out.parquet"
    total = sum(counts)
    ids, vectors, tokens = rows(total, 2)
    buffer = np.empty((max(counts, default=0), 2), dtype=np.float32)
    with EmbeddingWriter(str(path), dimension=2, metadata=METADATA) as writer:
        start = 0
        for count in counts:
            part = slice(start, start + count)
            buffer[:count] = vectors[part]
            writer.write(ids[part], buffer[:count], tokens[part])
            buffer[:] = np.nan  # the writer must not look at it any more
            start += count
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert sum(groups) == total
    assert all(size == ROWS_PER_GROUP for size in groups[:-1])
    table = file.read()
    assert table["id"].to_pylist() == ids
    assert table["tokens"].to_pylist() == tokens.tolist()
    np.testing.assert_array_equal(matrix(table, 2), vectors)
    file.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_id_comes_back(tmp_path: Path, ids: list[str]) -> None:
    path = tmp_path / "out.parquet"
    _, vectors, tokens = rows(len(ids), 2)
    with EmbeddingWriter(str(path), dimension=2, metadata=METADATA) as writer:
        writer.write(ids, vectors, tokens)
    assert pq.read_table(path)["id"].to_pylist() == ids


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with EmbeddingWriter(str(tmp_path / "out.parquet"), dimension=2, metadata=METADATA) as writer:
            writer.write(*rows(ROWS_PER_GROUP + 1, 2))
            assert len(list(tmp_path.iterdir())) == 1
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_text("older")
    writer = EmbeddingWriter(str(path), dimension=2, metadata={})
    with pytest.raises(ValueError, match="agree"), writer:
        writer.write(*rows(1, 3))
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("out.parquet", "older")]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_text("older")
    with EmbeddingWriter(str(path), dimension=2, metadata={}) as writer:
        writer.write(*rows(1, 2))
        assert path.read_text() == "older"
    assert pq.read_table(path).num_rows == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_failing_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    kind = FarthingError if isinstance(error, OSError) else KeyboardInterrupt
    with (
        pytest.raises(kind, match=r"out\.parquet: .*No space left" if kind is FarthingError else None),
        EmbeddingWriter(str(tmp_path / "out.parquet"), dimension=2, metadata={}) as writer,
    ):
        writer.write(*rows(1, 2))
    assert list(tmp_path.iterdir()) == []


def test_rows_without_a_vector_are_null(tmp_path: Path) -> None:
    """In whichever row group and write they fall; every other vector stands where it stood."""
    path = tmp_path / "out.parquet"
    total = ROWS_PER_GROUP + 700
    failed = {0, 5, 599, 600, ROWS_PER_GROUP - 1, ROWS_PER_GROUP, total - 1}
    ids, vectors, tokens = rows(total, 2)
    with EmbeddingWriter(str(path), dimension=2, metadata=METADATA) as writer:
        for start in range(0, total, 600):
            part = slice(start, start + 600)
            writer.write(
                ids[part],
                vectors[part],
                tokens[part],
                {row - start for row in failed if start <= row < start + 600},
            )
    table = pq.read_table(path)
    assert table["id"].to_pylist() == ids
    assert table["tokens"].to_pylist() == tokens.tolist()
    found = table["embedding"].to_pylist()
    assert {row for row, vector in enumerate(found) if vector is None} == failed
    for row in set(range(total)) - failed:
        assert found[row] == vectors[row].tolist()


@pytest.mark.parametrize(("precision", "width"), [("int8", 4), ("float16", 4), ("ubinary", 1)])
def test_null_in_every_format(tmp_path: Path, precision: Precision, width: int) -> None:
    form = VectorFormat(precision, 4)
    with EmbeddingWriter(
        str(tmp_path / "out.parquet"), dimension=4, metadata={}, precision=precision
    ) as writer:
        writer.write(["a", "b"], np.ones((2, width), form.value_type), np.ones(2, np.int32), [0])
    assert pq.read_table(tmp_path / "out.parquet")["embedding"].to_pylist() == [None, [1] * width]


def test_a_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is in place by then: to say that it is not would be untrue."""
    sync, opened = os.fsync, os.open
    synced: list[bool] = []

    def fail(descriptor: int) -> None:
        folder = Path(f"/proc/self/fd/{descriptor}").resolve().is_dir()
        synced.append(folder)
        if folder:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with EmbeddingWriter(str(tmp_path / "out.parquet"), dimension=2, metadata={}) as writer:
        writer.write(*rows(3, 2))
    assert synced == [False, True]  # the file before it has its name, the folder after
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 3

    def refuse(path: str | Path, flags: int, *mode: int) -> int:
        if Path(path) == tmp_path:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with EmbeddingWriter(str(tmp_path / "other.parquet"), dimension=2, metadata={}) as writer:
        writer.write(*rows(3, 2))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other.parquet", "out.parquet"]


def test_construction_leaves_nothing(tmp_path: Path) -> None:
    EmbeddingWriter(str(tmp_path / "out.parquet"), dimension=2, metadata={})
    assert list(tmp_path.iterdir()) == []


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with EmbeddingWriter(str(tmp_path / "out.parquet"), dimension=2, metadata={}):
        pass
    assert (tmp_path / "out.parquet").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "out.parquet"
    link.symlink_to(tmp_path / "far" / "real.parquet")
    with EmbeddingWriter(str(link), dimension=2, metadata={}) as writer:
        writer.write(*rows(1, 2))
    assert link.is_symlink()
    assert pq.read_table(tmp_path / "far" / "real.parquet").num_rows == 1


# Tests may run as root, whom no permission stops; these stop root too.
@pytest.mark.parametrize(
    ("prepare", "name", "culprit"),
    [
        (None, "gone/out.parquet", "its folder does not exist"),
        (Path.touch, "file/out.parquet", "Not a directory"),
        (Path.mkdir, "file", "is a folder"),
        (None, "new/", "is a folder"),
        (os.mkfifo, "file", "is not a regular file"),
        (None, "x" * 250, "File name too long"),
        (None, "a\0b", "is no path"),
    ],
)
def test_unwritable(tmp_path: Path, prepare: Callable[[Path], None] | None, name: str, culprit: str) -> None:
    if prepare is not None:
        prepare(tmp_path / "file")
    before = list(tmp_path.iterdir())
    message = refusal(f"{tmp_path}/{name}")
    assert culprit in message
    assert str(tmp_path) in message
    assert list(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_unwritable_folder() -> None:
    assert "/proc/out.parquet" in refusal("/proc/out.parquet")


def test_a_device_is_not_replaced() -> None:
    assert "not a regular file" in refusal("/dev/null")


@pytest.mark.parametrize(
    ("ids", "vectors", "tokens"),
    [
        (["a"], np.zeros((1, 3), np.float32), np.zeros(1, np.int32)),
        (["a"], np.zeros((2, 2), np.float32), np.zeros(1, np.int32)),
        (["a"], np.zeros((1, 2), np.float32), np.zeros(2, np.int32)),
        (["a"], np.zeros(2, np.float32), np.zeros(1, np.int32)),
        (["a"], np.zeros((1, 2), np.float64), np.zeros(1, np.int32)),
        (["a"], np.zeros((1, 2), np.float32), np.zeros(1, np.int64)),
    ],
)
def test_rows_that_do_not_agree(
    tmp_path: Path, ids: list[str], vectors: npt.NDArray[np.float32], tokens: npt.NDArray[np.int32]
) -> None:
    with (
        pytest.raises(ValueError, match=r"agree|not float32"),
        EmbeddingWriter(str(tmp_path / "out.parquet"), dimension=2, metadata={}) as writer,
    ):
        writer.write(ids, vectors, tokens)
    assert list(tmp_path.iterdir()) == []
