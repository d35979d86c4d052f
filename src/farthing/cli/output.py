"""The two places that commands write to: JSON on stdout, everything for people on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from farthing.theory.families.assumptions import ASSUMED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


def console() -> Console:
    """Return the console that people read; stdout stays free for JSON."""
    # Here, so that a command that prints JSON alone does not wait for the drawing of tables.
    from rich.console import Console

    # What users name is shown as it is: no :name: becomes a picture, and their table is not read.
    return Console(stderr=True, highlight=False, soft_wrap=False, emoji=False)


def status(screen: Console, line: str) -> Status:
    """Return a spinner beside a line; silent where nobody watches: in a log it would leave an empty line."""
    from rich.console import Console

    return (screen if screen.is_terminal else Console(quiet=True)).status(line)


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()  # here, so that a reader that has gone is noticed while it can be handled


def print_assumed(notes: Iterable[str], console: Console) -> tuple[str, ...]:
    """Print, before all else, what was assumed of the model; return the other notes."""
    from rich.text import Text

    notes = tuple(notes)
    for note in notes:
        if note.startswith(ASSUMED):
            console.print(Text(note, style="bold red"))
    return tuple(note for note in notes if not note.startswith(ASSUMED))
