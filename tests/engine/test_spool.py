"""The spool: vectors come back by serial number, the last `capacity` of them, from a file without a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine.spool import VectorSpool
from farthing.errors import EngineError


def vectors(first: int, count: int, dimension: int = 3) -> npt.NDArray[np.float32]:
    """Return rows that say their serial number."""
    return np.arange(first * dimension, (first + count) * dimension, dtype=np.float32).reshape(-1, dimension)


def test_round_trip() -> None:
    with VectorSpool(3, 100) as spool:
        spool.append(0, vectors(0, 5))
        spool.append(5, vectors(5, 1))
        for serial in (0, 4, 5):
            np.testing.assert_array_equal(spool.read(serial), vectors(serial, 1)[0])
        assert spool.read(0).dtype == np.float32


@given(st.integers(1, 20), st.lists(st.integers(0, 50), max_size=10))
def test_the_last_ones_are_there_however_often_the_ring_turned(capacity: int, sizes: list[int]) -> None:
    with VectorSpool(3, capacity) as spool:
        serial = 0
        for size in sizes:
            spool.append(serial, vectors(serial, size))
            serial += size
            for kept in range(max(0, serial - capacity), serial):
                np.testing.assert_array_equal(spool.read(kept), vectors(kept, 1)[0])


def test_rows_that_are_not_contiguous_are_kept_too() -> None:
    wide = vectors(0, 8, dimension=6)
    with VectorSpool(3, 10) as spool:
        spool.append(0, wide[::2, 1:4])
        np.testing.assert_array_equal(spool.read(3), wide[6, 1:4])


def test_disk_is_bounded_by_the_capacity_and_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with VectorSpool(3, 4) as spool:
        spool.append(0, vectors(0, 100))
        assert Path(f"/proc/self/fd/{spool._file.fileno()}").stat().st_size == 4 * 3 * 4
        assert list(tmp_path.iterdir()) == []
        file = spool._file
    assert file.closed


def test_short_writes_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda file, data, offset: real(file, data[:7], offset))
    with VectorSpool(3, 4) as spool:
        spool.append(2, vectors(2, 4))
        for serial in range(2, 6):
            np.testing.assert_array_equal(spool.read(serial), vectors(serial, 1)[0])


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with VectorSpool(3, 4) as spool:
        monkeypatch.setattr("os.pwrite", full)
        with pytest.raises(EngineError, match=r"temporary folder is full.*No space left.*TMPDIR") as caught:
            spool.append(0, vectors(0, 1))
    assert "\n" not in str(caught.value)


def test_no_temporary_folder_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(EngineError, match=r"missing: .*TMPDIR"):
        VectorSpool(3, 4)


def test_a_file_that_was_cut_is_no_vector() -> None:
    with VectorSpool(3, 4) as spool:
        spool.append(0, vectors(0, 2))
        os.truncate(spool._file.fileno(), 20)
        np.testing.assert_array_equal(spool.read(0), vectors(0, 1)[0])
        with pytest.raises(EngineError, match="8 of 12 bytes of vector 1"):
            spool.read(1)
