"""A running server for tests that speak HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_process import MODEL, Server, serving


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[Server]:
    """Serve MiniLM."""
    with serving(minilm, "--usd-per-hour", "0.1", "--alias", f"small={MODEL}") as server:
        yield server


@pytest.fixture(scope="module")
def small_server(minilm: Path) -> Iterator[Server]:
    """Serve MiniLM with room for a few texts that wait."""
    with serving(minilm, "--max-waiting-tokens", "1000") as server:
        yield server
