"""`farthing embed`: a text file or a corpus in, vectors and the receipt out."""

from __future__ import annotations

from typing import Annotated

import typer

from farthing.cli import options


def embed(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT", help=".txt (a text per line), .jsonl, .csv, .parquet, or - for stdin."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Parquet file to write.")],
    model: options.Model = None,
    revision: options.Revision = None,
    device: options.Device = "local",
    dtype: options.DtypeName = "fp32",
    length: Annotated[
        int | None,
        typer.Option(
            "--length", help="Truncate texts to this many tokens.", show_default="the model's own limit"
        ),
    ] = None,
    text_field: Annotated[str, typer.Option("--text-field", help="Field or column of the text.")] = "text",
    id_field: Annotated[
        str | None, typer.Option("--id-field", help="Field or column of the id.", show_default="row number")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Embed only the first texts.", show_default="all")
    ] = None,
    prompt_name: Annotated[
        str | None, typer.Option("--prompt-name", help="The model's prompt to put before each text.")
    ] = None,
    usd_per_hour: options.UsdPerHour = None,
    as_json: options.Json = False,
) -> None:
    """Embed a text file or a corpus, and say exactly what it cost.

    The output is Parquet: id, embedding (fixed-size list of float32) and tokens. It appears under its name
    only when it is whole.
    """
    from farthing.bulk.embed_file import embed_file
    from farthing.bulk.embedder import Embedder
    from farthing.bulk.reading import open_source
    from farthing.cli.output import console, print_json
    from farthing.cli.progress import JobProgress
    from farthing.cli.receipt_view import render_receipt
    from farthing.errors import InputError

    kind = options.dtype_of(dtype)
    if length is not None and length <= 0:
        raise InputError(f"length {length} is not positive; give a number of tokens, or leave it out")
    texts = open_source(source, text_field=text_field, id_field=id_field, limit=limit)
    embedder = Embedder(
        model, revision=revision, device=device, dtype=kind, max_length=length, usd_per_hour=usd_per_hour
    )
    screen = console()
    with JobProgress(screen, usd_per_hour=embedder.usd_per_hour) as progress:
        receipt = embed_file(
            texts,
            output,
            embedder,
            prompt_name=prompt_name,
            watch=progress.watch,
        )
    if as_json:
        print_json(receipt.as_dict())
    else:
        render_receipt(receipt, screen, output=output)
