"""Vectors of earlier texts on disk, so that a repeat far down the input costs no memory and no compute."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class VectorSpool:
    """A ring of the last `capacity` vectors in an unnamed temporary file, by serial number."""

    def __init__(self, dimension: int, capacity: int) -> None:
        self._row_bytes = dimension * 4
        self._dimension = dimension
        self._capacity = capacity
        self._file = tempfile.TemporaryFile(prefix="farthing-")  # noqa: SIM115 - closed by __exit__

    def append(self, first_serial: int, vectors: Vectors) -> None:
        """Keep vectors (n, dimension) under the serial numbers that start at `first_serial`."""
        start = 0
        while start < len(vectors):
            slot = (first_serial + start) % self._capacity
            rows = min(len(vectors) - start, self._capacity - slot)
            part = np.ascontiguousarray(vectors[start : start + rows])
            os.pwrite(self._file.fileno(), part.data, slot * self._row_bytes)
            start += rows

    def read(self, serial: int) -> Vectors:
        """Return the vector (dimension,) of one serial number, among the last `capacity` appended."""
        offset = (serial % self._capacity) * self._row_bytes
        return np.frombuffer(os.pread(self._file.fileno(), self._row_bytes, offset), np.float32)

    def __enter__(self) -> VectorSpool:
        """Return the spool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, which removes it."""
        self._file.close()
