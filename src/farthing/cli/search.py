"""`farthing search`: look at what was embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from farthing.cli import options
from farthing.errors import InputError

if TYPE_CHECKING:
    from farthing.bulk.search import EmbeddingsHeader
    from farthing.engine.folder.checkpoint import Checkpoint


@click.command("search")
@click.argument("embeddings", metavar="OUT")
@click.argument("question")
@click.option("--top", "-k", type=int, default=5, help="Hits to show.")
@click.option("--model", "-m", help="Model for the question.", show_default="the one in the file")
@click.option("--prompt-name", help="The model's prompt to put before the question.")
@options.as_json
def search(
    embeddings: str,
    question: str,
    top: int,
    model: str | None,
    prompt_name: str | None,
    as_json: bool,
) -> None:
    """Find the texts nearest to a question, with the model that embedded them.

    OUT is a Parquet file that `embed` wrote. Texts are shown when the input that they came from is still
    there, unchanged.
    """
    from farthing.bulk.records import shown
    from farthing.bulk.search import read_header, source_from_header, texts_of_rows
    from farthing.bulk.search import search as search_file
    from farthing.cli.hits_view import render_hits
    from farthing.cli.output import console, print_json
    from farthing.embedding.embedder import Embedder

    header = read_header(embeddings)
    revision = _commit(header) if model in (None, header.model) else None
    embedder = Embedder(model or header.model, revision=revision)
    _require_same_model(shown(embeddings), header, embedder.model.checkpoint)
    stored, asked = header.metadata.get("dtype"), embedder.model.engine.dtype
    if stored not in (None, asked):
        click.echo(
            f"note: {shown(embeddings)} was embedded in {stored}, the question is in {asked}", err=True
        )
    # The file may hold vectors that were cut; whether they are wider than the model's is for the search to say.
    dimension = min(header.format.dimension, embedder.dimension)
    vector = embedder.encode_query(question, prompt_name, truncate_dim=dimension)
    hits = search_file(embeddings, vector, top)
    source = source_from_header(header)
    texts = texts_of_rows(source, [hit.row for hit in hits]) if source is not None else {}
    if as_json:
        rows = [{**hit._asdict(), "text": texts.get(hit.row)} for hit in hits]
        print_json({"question": question, "model": header.model, "hits": rows})
    else:
        render_hits(question, hits, texts, console())


def _commit(header: EmbeddingsHeader) -> str | None:
    """Return the hub's commit that embedded the file; a folder has none, only a digest of its weights."""
    return None if (header.revision or "").startswith("sha256:") else header.revision


def _require_same_model(path: str, header: EmbeddingsHeader, asked: Checkpoint) -> None:
    """Refuse a model whose vectors mean something else than the file's; equal weights may have moved.

    Raises:
        InputError: the question's model is not the one that embedded the file.
    """
    same = asked.name == header.model if header.revision is None else asked.revision == header.revision
    if not same or asked.pooling != (header.pooling or asked.pooling):
        raise InputError(
            f"{path}: embedded by {header.model} at revision {header.revision or 'unknown'} "
            f"({header.pooling or 'unknown'} pooling), and the question's model is {asked.name} at revision "
            f"{asked.revision} ({asked.pooling} pooling), so their vectors cannot be compared; search "
            "with the former, or embed again"
        )
