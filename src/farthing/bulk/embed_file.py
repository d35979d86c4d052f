"""Embeds an input into a Parquet file: scanned, predicted, embedded, written, billed."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from farthing.bulk.reading import Source
from farthing.bulk.records import shown
from farthing.bulk.writing import EmbeddingWriter, require_writable
from farthing.embedding.embedder import Embedder
from farthing.embedding.formats import Precision
from farthing.embedding.formatting import Formatter
from farthing.embedding.job import Job, Watch
from farthing.embedding.scan import scan
from farthing.errors import InputError
from farthing.metering.receipt import Receipt


def embed_file(
    source: Source,
    output: str,
    embedder: Embedder,
    *,
    prompt_name: str | None = None,
    precision: Precision = "float32",
    truncate_dim: int | None = None,
    watch: Watch | None = None,
) -> Receipt:
    """Embed every text of an input; the output appears under its name only when it is whole.

    The input is read twice: once to check every row, so that a bad one is found before anything is computed
    on those above it, and once to embed it.

    Args:
        source: the input.
        output: path of the Parquet file.
        embedder: the loaded model.
        prompt_name: the model's prompt to put before each text.
        precision: what the vectors are written in; int8 and uint8 take their ranges from the first texts.
        truncate_dim: keep only the first dimensions; vectors that had length one get it back.
        watch: who is told what.

    Raises:
        InputError: the input, the output or an option cannot be used.
        ModelError: the model's folder cannot be used.
    """
    watch = watch or Watch()
    started = time.perf_counter()
    formatter = Formatter(embedder.model.checkpoint, precision, truncate_dim)
    _require_other_than_input(require_writable(output), source, output)
    held = scan((record.text for record in source), cap=embedder.truncated_from)
    formatter.require_enough(held.texts)
    prefix = embedder.prefix(prompt_name)
    if not embedder.truncate:
        embedder.model.tokenizer.refuse_longer(_named(source, prefix))
    job = Job(
        embedder.path, held, prompt=prefix, usd_per_hour=embedder.usd_per_hour, watch=watch, to_file=True
    )
    writer = EmbeddingWriter(
        output,
        dimension=formatter.format.dimension,
        metadata=_metadata(embedder, source, prefix),
        precision=precision,
    )
    startup_s = embedder.load_s + time.perf_counter() - started
    writing_s = 0.0
    with writer:
        ids: deque[str] = deque()  # wait here for the vectors of their texts
        with closing(job.run(_texts(source, ids))) as parts:
            for part in formatter.run(parts):
                start = time.perf_counter()
                named = [ids.popleft() for _ in part.tokens]
                writer.write(named, part.vectors, part.tokens, part.failed)
                writing_s += time.perf_counter() - start
        writer.note(_range_metadata(formatter))
        last_written = time.perf_counter()
    trailing_s = time.perf_counter() - last_written
    return job.settle(
        startup_s=startup_s,
        writing_s=writing_s + trailing_s,
        trailing_s=trailing_s,
        name_of=lambda row: f"{shown(source.name)}: row {row}",
    )


def _named(source: Source, prefix: str) -> Iterator[tuple[str, str]]:
    has_ids = source.describe().id_field is not None
    for row, record in enumerate(source):
        known_by = f" (id {shown(record.id)})" if has_ids else ""
        yield f"{shown(source.name)}: row {row}{known_by}", prefix + record.text


def _require_other_than_input(target: Path, source: Source, output: str) -> None:
    path = source.describe().path
    if path is not None and target.exists() and target.samefile(path):
        raise InputError(f"{shown(output)}: is the input itself, which would be lost; choose another name")


def _texts(source: Source, ids: deque[str]) -> Iterator[str]:
    for record in source:
        ids.append(record.id)
        yield record.text


def _range_metadata(formatter: Formatter) -> dict[str, str]:
    """Return what a reader of int8 and uint8 must know, as metadata; nothing for other formats."""
    ranges = formatter.format.ranges
    if ranges is None:
        return {}
    return {
        "ranges": json.dumps(ranges.tolist()),
        "range_sample_texts": str(formatter.sample_texts),
        "clipped_values": str(formatter.clipped),
    }


def _metadata(embedder: Embedder, source: Source, prefix: str) -> dict[str, str]:
    from importlib.metadata import version

    return {
        **embedder.provenance(),
        "prompt": prefix,
        "source": source.describe().published().to_json(),
        "version": version("farthing"),
    }
