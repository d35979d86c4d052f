"""Hits of a search on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from farthing.bulk.search import Hit

_SHOWN_CHARACTERS = 160


def render_hits(question: str, hits: Sequence[Hit], texts: Mapping[int, str], console: Console) -> None:
    """Print hits, best first.

    Args:
        question: what was asked.
        hits: what was found.
        texts: the hits' texts by row, where they are known.
        console: where to print.
    """
    table = Table(title=Text(question, style="bold"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("cosine", justify="right")
    table.add_column("id", style="cyan", overflow="fold")
    table.add_column("text")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", Text(hit.id), Text(_first_words(texts.get(hit.row, ""))))
    console.print(table)


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"
