"""`farthing demo`: the whole product in a minute, on text that every Python carries."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from farthing.cli import options

QUESTIONS = (
    "how do I parse a date",
    "compress a file and read it back",
    "run a function in parallel on several processors",
)


@click.command("demo")
@click.option("--limit", type=int, help="Embed only the first docstrings.", show_default="all")
@options.usd_per_hour
def demo(limit: int | None, usd_per_hour: float | None) -> None:
    """Embed the documentation of Python's own standard library, ask it three questions, and print the receipt."""
    import json

    from farthing.bulk.embed_file import embed_file
    from farthing.bulk.reading import open_source
    from farthing.bulk.search import search, texts_of_rows
    from farthing.cli.demo_texts import stdlib_docstrings
    from farthing.cli.output import console, side_console
    from farthing.cli.views.hits_view import render_hits
    from farthing.cli.views.progress import JobProgress
    from farthing.cli.views.receipt_view import render_receipt, render_warnings
    from farthing.embedding.embedder import Embedder

    screen = console()
    with tempfile.TemporaryDirectory(prefix="farthing-demo-") as folder:
        corpus, output = str(Path(folder) / "stdlib.jsonl"), str(Path(folder) / "stdlib.parquet")
        with Path(corpus).open("w", encoding="utf-8") as file:
            for record in stdlib_docstrings():
                file.write(json.dumps(record._asdict()) + "\n")
        screen.print("Embedding the docstrings of Python's standard library with all-MiniLM-L6-v2 …")
        source = open_source(corpus, id_field="id", limit=limit)
        embedder = Embedder(usd_per_hour=usd_per_hour)
        with JobProgress(side_console(), usd_per_hour=embedder.usd_per_hour) as progress:
            receipt = embed_file(source, output, embedder, watch=progress.watch)
        for question in QUESTIONS:
            hits = search(output, embedder.encode(question), top=3)
            screen.print()
            render_hits(question, hits, texts_of_rows(source, [hit.row for hit in hits]), screen)
    screen.print()
    render_receipt(receipt, screen)
    render_warnings(receipt, side_console())
    screen.print("\nNow yours: farthing embed texts.txt -o texts.parquet")
