"""Standard input kept on disk, so that it can be read twice: once to check it, once to embed it."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import weakref
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class StdinSpool:
    """A copy of a stream in a temporary file that has no name, so no death leaves it behind."""

    def __init__(self, stream: BinaryIO, *, lines: int | None) -> None:
        """Copy the stream.

        Args:
            stream: read to its end, or to `lines` lines.
            lines: stop after so many; then an endless stream can be sampled. None is all.
        """
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the finalizer)
        self._close = weakref.finalize(self, spool.close)
        if lines is None:
            shutil.copyfileobj(stream, spool)
        else:
            spool.writelines(islice(stream, lines))
        spool.flush()
        self._descriptor = spool.fileno()
        self.size_bytes = os.fstat(self._descriptor).st_size

    def open(self) -> BinaryIO:
        """Return a new reader from the start; each has a position of its own."""
        return io.BufferedReader(_PositionedReader(self, self._descriptor))


class _PositionedReader(io.RawIOBase):
    """Reads by pread: readers that share a descriptor would otherwise move each other."""

    def __init__(self, owner: StdinSpool, descriptor: int) -> None:
        self._owner = owner  # the file lives as long as its last reader
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with memoryview(buffer) as view:
            count = os.preadv(self._descriptor, [view], self._position)
        self._position += count
        return count
