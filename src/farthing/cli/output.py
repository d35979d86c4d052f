"""The two places that commands write to: JSON on stdout, everything for people on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console


def console() -> Console:
    """Return the console that people read; stdout stays free for JSON."""
    return Console(stderr=True, highlight=False, soft_wrap=False)


def print_json(document: Any) -> None:
    """Print exactly one JSON document on stdout."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
