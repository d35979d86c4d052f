"""`farthing search`: look at what was embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from farthing.cli import options
from farthing.errors import InputError, ModelError, ModelUnavailableError, excerpt

if TYPE_CHECKING:
    from farthing.bulk.search import EmbeddingsHeader
    from farthing.embedding.embedder import Embedder
    from farthing.engine.folder.checkpoint import Checkpoint

_OLD_REVISION = len("sha256:") + 16
"""Characters of a revision in files of before December 2026: the start of the digest."""


@click.command("search")
@click.argument("embeddings", metavar="OUT")
@click.argument("question")
@click.option("--top", "-k", type=int, default=5, help="Hits to show.")
@click.option("--model", "-m", help="Model for the question.", show_default="the one in the file")
@click.option("--prompt-name", help="The model's prompt to put before the question.")
@options.offline
@options.as_json
def search(
    embeddings: str,
    question: str,
    top: int,
    model: str | None,
    prompt_name: str | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Find the texts nearest to a question, with the model that embedded them.

    OUT is a Parquet file that `embed` wrote. Texts are shown when the input that they came from lies
    beside it or in the working directory, unchanged.
    """
    from farthing.bulk.records import shown
    from farthing.bulk.search import read_header, source_from_header, texts_of_rows
    from farthing.bulk.search import search as search_file
    from farthing.cli.output import console, print_json
    from farthing.cli.views.hits_view import render_hits
    from farthing.embedding.embedder import Embedder

    header = read_header(embeddings)
    revision = _commit(header) if model in (None, header.model) else None
    embedder = _embedder(shown(embeddings), header, revision) if model is None else None
    embedder = embedder or Embedder(model, revision=revision, offline=offline)
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
    source = source_from_header(header, embeddings)
    texts = texts_of_rows(source, [hit.row for hit in hits]) if source is not None else {}
    if as_json:
        rows = [{**hit._asdict(), "text": texts.get(hit.row)} for hit in hits]
        print_json({"question": question, "model": header.model, "hits": rows})
    else:
        render_hits(question, hits, texts, console())


def _embedder(path: str, header: EmbeddingsHeader, revision: str | None) -> Embedder:
    """Load the model that a file names if it is on this machine: a file may not send anybody to the hub.

    Raises:
        InputError: it is not here.
    """
    from farthing.embedding.embedder import Embedder

    try:
        return Embedder(header.model, revision=revision, offline=True)
    except (ModelError, ModelUnavailableError) as error:
        raise InputError(
            f"{path}: embedded by {excerpt(header.model)}, which cannot be used on this machine ({error}); if you "
            "trust the name, give it with --model"
        ) from error


def _commit(header: EmbeddingsHeader) -> str | None:
    """Return the hub's commit that embedded the file; a folder has none, only a digest of its weights."""
    return None if (header.revision or "").startswith("sha256:") else header.revision


def _require_same_model(path: str, header: EmbeddingsHeader, asked: Checkpoint) -> None:
    """Refuse a model whose vectors mean something else than the file's; equal weights may have moved.

    Raises:
        InputError: the question's model is not the one that embedded the file.
    """
    same = asked.name == header.model if header.revision is None else asked.revision == header.revision
    if header.revision is not None and len(header.revision) == _OLD_REVISION:
        same = asked.revision.startswith(header.revision)
    if not same or asked.pooling != (header.pooling or asked.pooling):
        raise InputError(
            f"{path}: embedded by {header.model} at revision {header.revision or 'unknown'} "
            f"({header.pooling or 'unknown'} pooling), and the question's model is {asked.name} at revision "
            f"{asked.revision} ({asked.pooling} pooling), so their vectors cannot be compared; search "
            "with the former, or embed again"
        )
