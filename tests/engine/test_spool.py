"""The spool: vectors come back by serial number, the last `capacity` of them, from a file without a name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine.spool import VectorSpool


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
