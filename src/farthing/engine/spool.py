"""Vectors of earlier texts on disk, so that a repeat far down the input costs no memory and no compute."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import numpy as np
import numpy.typing as npt

from farthing.errors import EngineError

Vectors = npt.NDArray[np.float32]


class VectorSpool:
    """A ring of the last `capacity` vectors in an unnamed temporary file, by serial number."""

    def __init__(self, dimension: int, capacity: int) -> None:
        """Open the file.

        Raises:
            EngineError: there is no temporary folder that can be written.
        """
        self._row_bytes = dimension * 4
        self._capacity = capacity
        with _disk_errors():
            self._file = tempfile.TemporaryFile(prefix="farthing-")  # noqa: SIM115 - closed by __exit__

    def append(self, first_serial: int, vectors: Vectors) -> None:
        """Keep vectors (n, dimension) under the serial numbers that start at `first_serial`.

        Raises:
            EngineError: the temporary folder is full.
        """
        start = 0
        while start < len(vectors):
            slot = (first_serial + start) % self._capacity
            rows = min(len(vectors) - start, self._capacity - slot)
            part = np.ascontiguousarray(vectors[start : start + rows])
            self._write(part.data.cast("B"), slot * self._row_bytes)
            start += rows

    def read(self, serial: int) -> Vectors:
        """Return the vector (dimension,) of one serial number, among the last `capacity` appended.

        Raises:
            EngineError: the file does not hold it whole.
        """
        offset = (serial % self._capacity) * self._row_bytes
        with _disk_errors():
            row = os.pread(self._file.fileno(), self._row_bytes, offset)
        if len(row) != self._row_bytes:
            raise EngineError(
                f"temporary file of vectors: {len(row)} of {self._row_bytes} bytes of vector {serial}; "
                "was it changed by another program? Run again"
            )
        return np.frombuffer(row, np.float32)

    def _write(self, data: memoryview, offset: int) -> None:
        """Write all of `data`: a disk that is nearly full takes a part before it refuses."""
        while data:
            with _disk_errors():
                written = os.pwrite(self._file.fileno(), data, offset)
            data = data[written:]
            offset += written

    def __enter__(self) -> VectorSpool:
        """Return the spool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, which removes it."""
        self._file.close()


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"{tempfile.tempdir or 'no folder for temporary files'}: the temporary folder is full or cannot be "
            f"used ({error.strerror or error}); make room there, or name another folder in TMPDIR"
        ) from error
