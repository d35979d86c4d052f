"""Writes embeddings to Parquet, whole or not at all.

The file has the columns id (string), embedding (fixed-size list, of what the vectors' format says; null where a text
got no vector) and tokens (int32); what made them is in its metadata, under keys that begin with `farthing.`.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from farthing.bulk.records import shown
from farthing.embedding.formats import Precision, Values, VectorFormat
from farthing.errors import FarthingError, InputError

METADATA_PREFIX = "farthing."

ROWS_PER_GROUP = 8192
"""12.6 MB of vectors of 384 dimensions: few enough to hold, enough to read back at full speed."""


class EmbeddingWriter:
    """Collects vectors into a hidden file beside the output and renames it at the end.

    Use as a context manager. Leaving it normally puts the file under its name, safe against a
    power cut; leaving it by any exception, Ctrl-C included, removes the hidden file and leaves
    what was under the name before, if anything.
    """

    def __init__(
        self, path: str, *, dimension: int, metadata: Mapping[str, str], precision: Precision = "float32"
    ) -> None:
        """Check that the output can be written, before any work is done for it.

        Args:
            path: the output; an existing file is replaced.
            dimension: of every vector.
            metadata: stored under `farthing.` + key; `dimension` and `precision` are added.
            precision: what the vectors are written in.

        Raises:
            InputError: the folder is missing, the path is a folder, or it cannot be written there.
        """
        self._name = shown(path)
        self._target = require_writable(path)
        self._partial = _partial_of(self._target)
        form = VectorFormat(precision, dimension)
        self._schema = _schema(form)
        self._metadata = {**metadata, "dimension": str(dimension), "precision": precision}
        self._value_type = form.value_type
        self._width = form.width
        self._ids: list[str] = []
        self._missing: list[int] = []
        # Rows are copied here: the engine may hand over views of memory that it uses again.
        self._vectors = np.empty((ROWS_PER_GROUP, form.width), form.value_type)
        self._tokens = np.empty(ROWS_PER_GROUP, dtype=np.int32)
        self._file: BinaryIO | None = None
        self._parquet: Any = None

    def __enter__(self) -> Self:
        """Create the hidden file.

        Raises:
            InputError: it cannot be created.
        """
        self._file = os.fdopen(_create(self._partial, self._name), "wb")
        try:
            self._parquet = _parquet_writer(self._file, self._schema)
        except BaseException:
            self._discard()
            raise
        return self

    def write(
        self, ids: Sequence[str], vectors: Values, tokens: npt.NDArray[np.int32], failed: Collection[int] = ()
    ) -> None:
        """Append rows; the arrays may be used again afterwards.

        Args:
            ids: (n,) names of the rows.
            vectors: (n, width) in the type of the precision.
            tokens: (n,) int32, tokens that each vector was made of.
            failed: rows without a vector, which get null.

        Raises:
            ValueError: the shapes or types do not agree.
            FarthingError: the disk does not take it.
        """
        if vectors.shape != (len(ids), self._width) or tokens.shape != (len(ids),):
            raise ValueError(
                f"{len(ids)} ids, vectors {vectors.shape} and tokens {tokens.shape} do not agree "
                f"in width {self._width}"
            )
        if vectors.dtype != self._value_type or tokens.dtype != np.int32:
            raise ValueError(
                f"vectors are {vectors.dtype}, not {self._value_type}, or tokens {tokens.dtype}, not int32"
            )
        taken = 0
        while taken < len(ids):
            held = len(self._ids)
            count = min(ROWS_PER_GROUP - held, len(ids) - taken)
            self._missing += [held + row - taken for row in failed if taken <= row < taken + count]
            self._ids.extend(ids[taken : taken + count])
            self._vectors[held : held + count] = vectors[taken : taken + count]
            self._tokens[held : held + count] = tokens[taken : taken + count]
            taken += count
            if len(self._ids) == ROWS_PER_GROUP:
                self._flush()

    def note(self, metadata: Mapping[str, str]) -> None:
        """Store more metadata, known only now, under `farthing.` + key when the file is finished."""
        self._metadata.update(metadata)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the file under its name, or remove it after an exception.

        Raises:
            FarthingError: the disk does not take it; nothing is left then, either.
        """
        if error is not None:
            self._discard()
            return
        try:
            self._commit()
        except BaseException:
            self._discard()
            raise

    def _flush(self) -> None:
        """Write what is held as one row group."""
        count = len(self._ids)
        values, mask = pa.array(self._vectors[:count].reshape(-1)), None
        if self._missing:
            mask = pa.array(np.isin(np.arange(count), self._missing))
        columns = [
            pa.array(self._ids, type=pa.string()),
            pa.FixedSizeListArray.from_arrays(values, type=self._schema.field("embedding").type, mask=mask),
            pa.array(self._tokens[:count]),
        ]
        with self._disk_errors():
            self._parquet.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._ids.clear()
        self._missing.clear()

    def _commit(self) -> None:
        if self._ids:
            self._flush()
        assert self._file is not None
        with self._disk_errors():
            self._parquet.add_key_value_metadata(_footer(self._schema, self._metadata))
            self._parquet.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._target)
        # The rename itself should reach the disk too. The output is there, whatever a disk says of that: some cannot.
        with suppress(OSError):
            folder = os.open(self._target.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _discard(self) -> None:
        with suppress(Exception):
            self._parquet.close()  # while the file is open: its destructor would write to it later
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._partial.unlink()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error).split("\n", maxsplit=1)[0]
            raise FarthingError(
                f"{self._name}: cannot be written ({reason}); make room or choose another place"
            ) from None


def require_writable(path: str) -> Path:
    """Check that an output can be written, and leave nothing; a job calls it before any work.

    Returns:
        The file that will be written. Links are followed: renaming onto a link would replace the link and
        leave its file as it was.

    Raises:
        InputError: the folder is missing, the path is a folder, or it cannot be written there.
    """
    name = shown(path)
    try:
        target = Path(os.path.realpath(path))
    except ValueError:  # a NUL in it
        raise InputError(f"{name}: is no path; choose another") from None
    try:
        mode = target.stat().st_mode
    except OSError:
        mode = None  # not there, which is well, or creating the hidden file will tell
    if path.endswith(os.sep) or (mode is not None and stat.S_ISDIR(mode)):
        raise InputError(f"{name}: is a folder; name a file in it")
    if mode is not None and not stat.S_ISREG(mode):
        # Renaming would replace the device or pipe itself: /dev/null, for example.
        raise InputError(f"{name}: is not a regular file; name one that is, or a new one")
    _remove_leftovers(target)
    partial = _partial_of(target)
    os.close(_create(partial, name))
    partial.unlink(missing_ok=True)  # another run may have taken it for a leftover already
    return target


def _remove_leftovers(target: Path) -> None:
    """Remove the hidden files of runs for this output that were killed: those that no living process locks."""
    named = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.partial")
    with suppress(OSError):
        for left in [path for path in target.parent.iterdir() if named.fullmatch(path.name)]:
            with suppress(OSError):  # in use, or not ours to touch
                descriptor = os.open(left, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        left.unlink()
                finally:
                    os.close(descriptor)


def _partial_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def _create(partial: Path, name: str) -> int:
    """Create the hidden file and lock it for as long as it is open, so that other runs see that it is in use."""
    try:
        while True:
            # Not mkstemp: its files are for the owner only, and this one becomes the output.
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with suppress(OSError):  # a file system without locks: leftovers stay there
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)  # another run took it for a leftover before it was locked
    except FileNotFoundError:
        raise InputError(f"{name}: its folder does not exist; create it first") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be written ({error.strerror}); choose another place") from None


def _schema(form: VectorFormat) -> Any:
    element = pa.field("element", pa.from_numpy_dtype(form.value_type), nullable=False)
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("embedding", pa.list_(element, form.width)),
        pa.field("tokens", pa.int32(), nullable=False),
    ]
    return pa.schema(fields)


def _footer(schema: Any, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the footer's metadata: ours, and Arrow's own key with the schema, in which they stand again."""
    ours = {
        # A path from the command line may hold bytes that are not UTF-8, as surrogates.
        METADATA_PREFIX + key: value.encode("utf-8", "backslashreplace").decode("utf-8")
        for key, value in metadata.items()
    }
    whole = schema.with_metadata(ours).serialize().to_pybytes()
    return {**ours, "ARROW:schema": base64.b64encode(whole).decode("ascii")}


def _parquet_writer(file: BinaryIO, schema: Any) -> Any:
    # Embeddings are noise to a compressor (and no value repeats, so no dictionary, and nobody
    # filters by them, so no statistics); ids and token counts shrink well.
    return pq.ParquetWriter(
        file,
        schema,
        compression={"id": "zstd", "tokens": "zstd", "embedding.list.element": "none"},
        use_dictionary=["tokens"],
        write_statistics=["id", "tokens"],
        store_schema=False,  # it is written last, when all metadata are known
    )
