"""`farthing serve`: embeddings over HTTP."""

from __future__ import annotations

import sys

import click

from farthing.cli import options
from farthing.errors import InputError


@click.command("serve", context_settings={"auto_envvar_prefix": "FARTHING_SERVE"})
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="0 for any that is free.")
@click.option(
    "--public", is_flag=True, help="Listen on other addresses than loopback, though there are no keys."
)
@click.option("--alias", multiple=True, metavar="NAME=MODEL", help="Another name of a model.")
@options.revision
@options.offline
@options.device
@options.dtype
@options.threads
@options.usd_per_hour
@click.option(
    "--slack-ms",
    type=click.FloatRange(min=0),
    default=100.0,
    help="Milliseconds by which a request may be overtaken by shorter ones that came later.",
)
@click.option(
    "--max-waiting-tokens",
    type=click.IntRange(min=1),
    default=1_000_000,
    help="Tokens that wait before requests are answered with 429.",
)
def serve(
    models: tuple[str, ...],
    host: str,
    port: int,
    public: bool,
    alias: tuple[str, ...],
    revision: str | None,
    offline: bool,
    device: str,
    dtype: str | None,
    threads: int | None,
    usd_per_hour: float | None,
    slack_ms: float,
    max_waiting_tokens: int,
) -> None:
    """Serve embeddings as OpenAI (/v1/embeddings), Cohere (/v2/embed) and TEI (/embed) do; /health, /ready, /metrics.

    MODEL is a model folder or a hub id; without one all-MiniLM-L6-v2 is served. Each answer says in its headers how
    long it waited, how long it ran, and what it cost. Every option may be set in the environment, --slack-ms as
    FARTHING_SERVE_SLACK_MS.
    """
    from farthing.errors import missing_extra

    try:
        from farthing.serve.run import Settings
        from farthing.serve.run import serve as run
    except ModuleNotFoundError as error:
        raise missing_extra(error, "`farthing serve`") or error from None
    from farthing.catalog.model_files import DEFAULT_MODEL, local_folder
    from farthing.cli.output import print_line, tell
    from farthing.embedding.embedder import Embedder

    options.keep_to(threads)
    pairs = {}
    for pair in alias:
        name, equals, model = pair.partition("=")
        if not (name and equals and model):
            raise InputError(f"alias {pair!r}: give NAME=MODEL")
        pairs[name] = model
    settings = Settings(
        host=host,
        port=port,
        public=public,
        aliases=pairs,
        usd_per_hour=usd_per_hour,
        slack_s=slack_ms / 1000,
        max_waiting_tokens=max_waiting_tokens,
    )
    embedders: dict[str, Embedder] = {}
    for model in models or (DEFAULT_MODEL,):
        folder = local_folder(model)
        name = model if folder is None else folder.resolve().name  # where it lies is nobody's business
        if name in embedders:
            raise InputError(f"{name}: two of the models have this name")
        embedders[name] = Embedder(
            model,
            revision=revision,
            offline=offline,
            device=device,
            dtype=options.dtype_of(dtype),
            threads=threads,
            notify=tell,
        )
    try:
        run(embedders, settings, lambda line: print_line(line, sys.stderr))
    finally:
        for embedder in embedders.values():
            embedder.close()
