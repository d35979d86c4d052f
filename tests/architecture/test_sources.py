"""What the code cites is in this repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PATHS = re.compile(r"(?<![\w./-])((?:docs|benchmarks|tests|src|design|facts)/[\w./-]*[\w])")
"""Of this repository, and of the notes beside it, which nobody who installs it has."""

FOLDERS = ("src", "benchmarks", "docs", "tests")
SELF = Path(__file__)


def cited() -> dict[str, set[str]]:
    """Return path → files that name it, of what stands in docstrings and comments after `Source:` or `docs/`."""
    found: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path == SELF or "__pycache__" in path.parts:
                continue
            for line in path.read_text(encoding="utf-8").splitlines():
                if "Source:" in line or "docs/" in line:
                    for name in PATHS.findall(line):
                        found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


CITED = cited()


def test_there_are_citations() -> None:
    assert len(CITED) >= 5


@pytest.mark.parametrize("name", sorted(CITED))
def test_a_source_is_here(name: str) -> None:
    assert (ROOT / name).exists(), f"{name} is cited by {', '.join(sorted(CITED[name]))}"
