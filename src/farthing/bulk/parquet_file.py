"""Opens Parquet files and streams them; the only way that Farthing reads Parquet.

pyarrow is imported on use, so that text formats are read where it is absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from farthing.bulk.records import Place, Record, require_id, require_text, shown
from farthing.bulk.text_formats import column_index
from farthing.errors import InputError, MissingExtraError

ROWS_PER_BATCH = 16
"""Rows of text held at a time, at most: a file of 500 bytes can hold many rows of the same 200 kB. As fast as 512."""

BYTES_PER_BATCH = 1 << 22
"""Of texts held at a time, as far as the file says how long they are."""

READ_BUFFER_BYTES = 1 << 20
"""Makes pyarrow read a column piece by piece; without it, it loads a row group's column whole.
`pre_buffer`, on by default, would even load all row groups: +500 MB on an output of 470 MB."""


def open_parquet(stream: BinaryIO, name: str) -> Any:
    """Open a `pyarrow.parquet.ParquetFile` over a stream that the caller closes.

    Raises:
        InputError: it is not a Parquet file.
        MissingExtraError: pyarrow is absent.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "cpu", "reading Parquet") from None
    with _pyarrow_errors(name):
        return pq.ParquetFile(stream, buffer_size=READ_BUFFER_BYTES, pre_buffer=False)


def parquet_batches(file: Any, columns: Sequence[str], name: str, rows_per_batch: int) -> Iterator[Any]:
    """Yield the `pyarrow.RecordBatch`es of a file, with the named columns only.

    Raises:
        InputError: the file is damaged.
    """
    # One or two columns and a consumer that computes: threads would only hold more memory.
    batches = file.iter_batches(batch_size=rows_per_batch, columns=list(columns), use_threads=False)
    while True:
        with _pyarrow_errors(name):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def read_parquet(stream: BinaryIO, name: str, text_field: str, id_field: str | None) -> Iterator[Record]:
    """Yield one record per row; only the needed columns are read.

    Raises:
        InputError: it is not a Parquet file, or lacks a column of strings.
        RowError: a text or an id is null or is not UTF-8.
        MissingExtraError: pyarrow is absent.
    """
    file = open_parquet(stream, name)
    schema = file.schema_arrow
    _require_column(schema, text_field, name, "--text-field", integers=False)
    if id_field is not None:
        _require_column(schema, id_field, name, "--id-field", integers=True)
    columns = list(dict.fromkeys(field for field in (text_field, id_field) if field is not None))
    first = 0
    for batch in parquet_batches(file, columns, name, _rows_at_a_time(file.metadata, columns)):
        texts = _values(batch.column(text_field), text_field, name, first)
        ids = None if id_field is None else _values(batch.column(id_field), id_field, name, first)
        for offset, value in enumerate(texts):
            place = Place(name, first + offset)
            text = require_text(value, text_field, place)
            if ids is None or id_field is None:
                yield Record(str(place.row), text)
            else:
                yield Record(require_id(ids[offset], id_field, place), text)
        first += batch.num_rows


def _rows_at_a_time(metadata: Any, columns: Sequence[str]) -> int:
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    size: int = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
    rows: int = metadata.num_rows
    return max(1, min(ROWS_PER_BATCH, BYTES_PER_BATCH * rows // max(1, size)))


def _require_column(schema: Any, field: str, name: str, option: str, *, integers: bool) -> None:
    column_type = schema.field(column_index(schema.names, field, name, option)).type
    if not _is_usable(column_type, integers=integers):
        wanted = "strings or integers" if integers else "strings"
        raise InputError(
            f"{shown(name)}: field {field!r} holds {column_type}, not {wanted}; name another with {option}"
        )


def _values(column: Any, field: str, name: str, first_row: int) -> list[object]:
    """Return a column as Python values; pyarrow does not check UTF-8 until here."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        for offset, scalar in enumerate(column):
            try:
                scalar.as_py()
            except UnicodeDecodeError:
                problem = f"field {field!r} is not UTF-8; fix or remove the row"
                raise Place(name, first_row + offset).error(problem) from None
        raise


def _is_usable(column_type: Any, *, integers: bool) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(column_type):
        return _is_usable(column_type.value_type, integers=integers)
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(column_type) for is_kind in strings) or (integers and pa.types.is_integer(column_type))


@contextmanager
def _pyarrow_errors(name: str) -> Iterator[None]:
    """Turn pyarrow's errors, some of several lines, into one of one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"{shown(name)}: not a readable Parquet file ({reason}); check the file") from None
