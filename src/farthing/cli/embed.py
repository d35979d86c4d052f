"""`farthing embed`: a text file or a corpus in, vectors and the receipt out."""

from __future__ import annotations

import click

from farthing.cli import options


@click.command("embed")
@click.argument("source", metavar="INPUT")
@click.option("--output", "-o", metavar="OUT", required=True, help="Parquet file to write.")
@options.model
@options.revision
@options.offline
@options.device
@options.dtype
@options.threads
@click.option(
    "--length", type=int, help="Truncate texts to this many tokens.", show_default="the model's own limit"
)
@click.option(
    "--no-truncate", is_flag=True, help="Refuse texts over the limit instead, before anything is computed."
)
@click.option("--text-field", default="text", help="Field or column of the text.")
@click.option("--id-field", help="Field or column of the id.", show_default="row number")
@click.option("--limit", type=int, help="Embed only the first texts.", show_default="all")
@click.option("--prompt-name", help="The model's prompt to put before each text.")
@click.option(
    "--precision",
    default="float32",
    help="What vectors are written in: float32, float16, int8, uint8 (ranges from the first 8,192 texts), binary or "
    "ubinary (a bit per dimension).",
)
@click.option(
    "--dimensions",
    type=int,
    help="Keep the first dimensions of each vector, for Matryoshka models.",
    show_default="all",
)
@options.usd_per_hour
@options.as_json
def embed(
    source: str,
    output: str,
    model: str | None,
    revision: str | None,
    offline: bool,
    device: str,
    dtype: str | None,
    threads: int | None,
    length: int | None,
    no_truncate: bool,
    text_field: str,
    id_field: str | None,
    limit: int | None,
    prompt_name: str | None,
    precision: str,
    dimensions: int | None,
    usd_per_hour: float | None,
    as_json: bool,
) -> None:
    """Embed a text file or a corpus, and say exactly what it cost.

    INPUT is .txt (a text per line), .jsonl, .csv, .parquet, or - for stdin. The output is Parquet: id, embedding
    (fixed-size list, of float32 unless --precision says otherwise) and tokens. It appears under its name only when it
    is whole.
    """
    from farthing.bulk.embed_file import embed_file
    from farthing.bulk.reading import open_source
    from farthing.bulk.search import read_header
    from farthing.cli.output import console, print_json, side_console
    from farthing.cli.views.progress import JobProgress
    from farthing.cli.views.receipt_view import render_receipt, render_warnings
    from farthing.embedding.embedder import Embedder
    from farthing.embedding.formats import require_precision
    from farthing.errors import InputError

    options.keep_to(threads)
    kind = options.dtype_of(dtype)
    form = require_precision(precision)
    if length is not None and length <= 0:
        raise InputError(f"length {length} is not positive; give a number of tokens, or leave it out")
    texts = open_source(source, text_field=text_field, id_field=id_field, limit=limit)
    embedder = Embedder(
        model,
        revision=revision,
        offline=offline,
        device=device,
        dtype=kind,
        threads=threads,
        max_length=length,
        truncate=not no_truncate,
        usd_per_hour=usd_per_hour,
    )
    with JobProgress(side_console(), usd_per_hour=embedder.usd_per_hour) as progress:
        receipt = embed_file(
            texts,
            output,
            embedder,
            prompt_name=prompt_name,
            precision=form,
            truncate_dim=dimensions,
            watch=progress.watch,
        )
    if as_json:
        print_json(receipt.as_dict())
    else:
        render_receipt(receipt, console(), output=output)
        render_warnings(receipt, side_console())
        clipped = read_header(output).metadata.get("clipped_values", "0")
        if clipped != "0":
            side_console().print(
                f"{clipped} values lay outside the ranges of the first texts and were clipped", style="yellow"
            )
