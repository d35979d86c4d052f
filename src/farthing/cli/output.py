"""The two places that commands write to: JSON on stdout, everything for people on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.status import Status


def console() -> Console:
    """Return the console that people read; stdout stays free for JSON."""
    return Console(stderr=True, highlight=False, soft_wrap=False)


def status(screen: Console, line: str) -> Status:
    """Return a spinner beside a line; silent where nobody watches: in a log it would leave an empty line."""
    return (screen if screen.is_terminal else Console(quiet=True)).status(line)


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()  # here, so that a reader that has gone is noticed while it can be handled
