"""Writes a benchmark's figures with the machine and the date that they belong to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from farthing.engine.machine import library_versions, this_machine

RESULTS = Path(__file__).parent / "results"


def save(name: str, figures: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write `figures` to NAME-DATE.json in a folder, made if absent, and return the path."""
    now = datetime.now(UTC)
    machine = this_machine()
    document = {
        "benchmark": name,
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": machine.identity,
        "memory_bytes": machine.memory_bytes,
        "versions": dict(library_versions()),
        **figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{now:%Y-%m-%d}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path
