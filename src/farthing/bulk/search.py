"""Looks into an output file: what made it, and which of its rows are nearest to a question."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farthing.bulk.input_file import open_input
from farthing.bulk.parquet_file import open_parquet, parquet_batches
from farthing.bulk.reading import Source, SourceDescription, open_source
from farthing.bulk.records import Record, shown
from farthing.bulk.writing import METADATA_PREFIX
from farthing.embedding.formats import VectorFormat, require_precision, require_ranges
from farthing.errors import InputError

ROWS_PER_BATCH = 2048

SCORE_DECIMALS = 7
"""What float32 vectors can tell apart. Equal texts then score equal wherever they stand: the last
bits of a product depend on the row's position in the batch."""


@dataclass(frozen=True)
class EmbeddingsHeader:
    """What an output file says of itself.

    Attributes:
        model: folder or hub id.
        revision: of the model; None where it has none.
        pooling: how token vectors became one; None where it is not said.
        format: how its vectors are written.
        rows: count.
        metadata: all that the writer was given, keys without `farthing.`.
    """

    model: str
    revision: str | None
    pooling: str | None
    format: VectorFormat
    rows: int
    metadata: Mapping[str, str]


class Hit(NamedTuple):
    """A row near the question; the score is the cosine, −1 to 1."""

    row: int
    id: str
    score: float


def read_header(path: str) -> EmbeddingsHeader:
    """Read what made an output file; no vectors are read.

    Raises:
        InputError: the file is missing, not Parquet, or not an output of Farthing.
    """
    with open_input(path) as stream:
        return _header_of(open_parquet(stream, path), path)


def search(path: str, query: npt.NDArray[np.float32], top: int) -> list[Hit]:
    """Return the rows with the highest cosine to the query, best first; ties in the order of rows.

    Every row is compared, a batch at a time. The query stays float whatever the rows are written in: bits are read
    as 1 and −1, integers as the middle of their step.

    Args:
        path: an output file.
        query: (dimension,); it and the rows need not be normalised. A vector of zeros scores 0.
        top: hits at most.

    Raises:
        InputError: `top` is not positive, the file is not an output of Farthing or is damaged, or
            the query is of another dimension.
    """
    if top <= 0:
        raise InputError(f"top {top}: is not positive; ask for 1 hit or more")
    with open_input(path) as stream:
        file = open_parquet(stream, path)
        header = _header_of(file, path)
        if query.shape != (header.format.dimension,):
            raise InputError(
                f"{shown(path)}: holds vectors of {header.format.dimension} dimensions, the query has shape "
                f"{query.shape}; embed it with {header.model}"
            )
        question = query.astype(np.float64)
        best: list[Hit] = []
        first_row = 0
        for batch in parquet_batches(file, ["id", "embedding"], path, ROWS_PER_BATCH):
            # flatten(), not .values: it heeds that a batch may be a slice of a longer array.
            column = batch.column("embedding")
            values = column.flatten().to_numpy(zero_copy_only=False)  # of the rows that have a vector
            if batch.column("id").null_count:
                raise InputError(f"{shown(path)}: has a row without an id; embed it again")
            rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
            vectors = header.format.floats(values.reshape(len(rows), header.format.width)).astype(np.float64)
            if not np.isfinite(vectors).all():
                raise InputError(f"{shown(path)}: holds a vector that is not finite; embed it again")
            hits = _Batch(batch.column("id"), rows, _cosines(vectors, question), first_row)
            best = _merged(best, hits, top)
            first_row += batch.num_rows
        return best


def texts_of_rows(source: Iterable[Record], rows: Iterable[int]) -> dict[int, str]:
    """Return the texts of some rows by reading the input again, up to the last of them.

    Args:
        source: the input that was embedded.
        rows: row numbers from 0; those beyond the input are left out.

    Raises:
        InputError: the input cannot be read.
    """
    wanted = set(rows)
    texts: dict[int, str] = {}
    if not wanted:
        return texts
    last = max(wanted)
    for row, record in enumerate(source):
        if row in wanted:
            texts[row] = record.text
        if row == last:
            break
    return texts


def source_from_header(header: EmbeddingsHeader, output: str = "") -> Source | None:
    """Return the input that an output was made of, from the metadata key `farthing.source`.

    It is looked for by its name, beside the output and in the working directory. None where it is not known, was
    standard input, is in neither place, or has changed since.
    """
    try:
        about = SourceDescription(**json.loads(header.metadata["source"])).published()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):  # not written by this version
        return None
    if not about.path:
        return None
    for folder in (Path(output).parent, Path()):
        try:
            source = open_source(
                str(folder / about.path),
                text_field=about.text_field,
                id_field=about.id_field,
                limit=about.limit,
            )
        except (TypeError, ValueError, OSError):  # not there, or not readable now
            continue
        if source.describe().published() == about:
            return source
    return None


def _header_of(file: Any, path: str) -> EmbeddingsHeader:
    schema = file.schema_arrow
    metadata = {
        key.decode("utf-8", "replace").removeprefix(METADATA_PREFIX): value.decode("utf-8", "replace")
        for key, value in (schema.metadata or {}).items()
        if key.startswith(METADATA_PREFIX.encode())
    }
    form = _format_of(metadata)
    if (
        "model" not in metadata
        or form is None
        or not {"id", "embedding"}.issubset(schema.names)
        or schema.field("id").type != pa.string()
        or not _holds(schema.field("embedding").type, form)
    ):
        raise InputError(f"{shown(path)}: not an output of farthing embed; make one with farthing embed")
    return EmbeddingsHeader(
        model=metadata["model"],
        revision=metadata.get("revision"),
        pooling=metadata.get("pooling"),
        format=form,
        rows=file.metadata.num_rows,
        metadata=metadata,
    )


def _format_of(metadata: Mapping[str, str]) -> VectorFormat | None:
    """Return how the vectors are written; None where the metadata don't say so. Older files hold float32."""
    try:
        dimension = int(metadata["dimension"])
        form = VectorFormat(require_precision(metadata.get("precision", "float32")), dimension)
        if not form.needs_ranges:
            return form
        return replace(form, ranges=require_ranges(json.loads(metadata["ranges"]), dimension))
    except (KeyError, ValueError, TypeError, RecursionError, OverflowError):  # InputError is a ValueError
        return None


def _holds(column: Any, form: VectorFormat) -> bool:
    return getattr(column, "list_size", None) == form.width and column.value_type == pa.from_numpy_dtype(
        form.value_type
    )


class _Batch(NamedTuple):
    ids: Any
    rows: npt.NDArray[np.int64]
    cosines: npt.NDArray[np.float64]
    first_row: int


def _merged(best: list[Hit], batch: _Batch, top: int) -> list[Hit]:
    """Return the best of the hits so far and of a batch that follows them."""
    scores = np.concatenate([[hit.score for hit in best], batch.cosines])
    # A stable sort keeps ties in the order of rows: earlier hits come first, each part in order.
    order = np.argsort(-scores, kind="stable")[:top]
    merged = []
    for place in order.tolist():
        if place < len(best):
            merged.append(best[place])
        else:
            row = int(batch.rows[place - len(best)])
            merged.append(Hit(batch.first_row + row, batch.ids[row].as_py(), float(scores[place])))
    return merged


def _cosines(vectors: npt.NDArray[np.float64], question: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the cosine of each of (n, d) vectors to a (d,) one; 0 where either is zeros."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(question)
    cosines = np.zeros(len(vectors))
    np.divide(vectors @ question, lengths, out=cosines, where=lengths > 0)
    return np.round(cosines, SCORE_DECIMALS)
