"""The two places that commands write to: answers on stdout, progress and warnings on stderr.

Nothing that could steer a terminal passes either of them: `printable` is the one filter.
"""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from farthing.theory.families.assumptions import ASSUMED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


def printable(text: str) -> str:
    """Return a text with a visible sign for each character that a terminal obeys instead of showing it.

    These are C0 except line feed and tab, DEL, C1, separators of lines and all format characters, which hold the
    bidirectional controls. Each becomes one sign, so that styles keep their places.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in "\n\t" or one.isprintable() or one == "\xa0" else _sign(one) for one in text)


def _sign(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # its picture, as ␛ of ESC
    if code == 0x7F:
        return "␡"
    # Blanks other than the space are not printable to Python, and harmless.
    return character if unicodedata.category(character) in ("Zs", "Co", "Cn") else "\ufffd"


def make_lossless() -> None:
    """Let stdout and stderr show a substitute for what their encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def console() -> Console:
    """Return the console of answers, on stdout."""
    return _screen()(file=sys.stdout, highlight=False, soft_wrap=False, emoji=False)


def side_console() -> Console:
    """Return the console of progress and warnings, on stderr."""
    return _screen()(file=sys.stderr, highlight=False, soft_wrap=False, emoji=False)


@cache
def _screen() -> type[Console]:
    # Here, so that a command that prints JSON alone does not wait for the drawing of tables.

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class Screen(Console):
        """Shows what users name as it is: no :name: becomes a picture, and no character steers the terminal."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            if isinstance(renderable, Text) and printable(renderable.plain) != renderable.plain:
                renderable = renderable.copy()
                renderable.plain = printable(renderable.plain)
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    return Screen


def status(screen: Console, line: str) -> Status:
    """Return a spinner beside a line; silent where nobody watches: in a log it would leave an empty line."""
    from rich.console import Console

    return (screen if screen.is_terminal else Console(quiet=True)).status(line)


def print_line(text: str, stream: TextIO) -> None:
    """Print one line, whatever the text: blanks run together, controls shown."""
    stream.write(printable(" ".join(text.split())) + "\n")


def tell(line: str) -> None:
    """Say on stderr what takes a while, where someone watches."""
    if sys.stderr.isatty():
        print_line(f"{line} …", sys.stderr)


def print_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows of equal keys as CSV on stdout; what is nested gets a column for each part."""
    flat = [_flat(row) for row in rows]
    writer = csv.DictWriter(
        sys.stdout, list(dict.fromkeys(key for row in flat for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(flat)
    sys.stdout.flush()


def _flat(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[before + key] = printable(value) if isinstance(value, str) else value
    return flat


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout, in ASCII: valid in every encoding, and harmless to a terminal."""
    text = json.dumps(document, indent=2, allow_nan=False).replace("\x7f", "\\u007f")
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # here, so that a reader that has gone is noticed while it can be handled


def print_assumed(notes: Iterable[str], console: Console) -> tuple[str, ...]:
    """Print, before all else, what was assumed of the model; return the other notes."""
    from rich.text import Text

    notes = tuple(notes)
    for note in notes:
        if note.startswith(ASSUMED):
            console.print(Text(note, style="bold red"))
    return tuple(note for note in notes if not note.startswith(ASSUMED))
