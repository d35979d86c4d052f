"""A running server for tests that speak HTTP."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_process import EXECUTABLE, MODEL, Server


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[Server]:
    """Serve MiniLM; it must end by itself when told to."""
    command = [EXECUTABLE, "serve", str(minilm), "--port", "0", "--usd-per-hour", "0.1"]
    process = subprocess.Popen([*command, "--alias", f"small={MODEL}"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"http://\S+", said)
    assert found is not None, said
    yield Server(found[0], process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    with process.stderr as said_later:
        assert said_later.read() == ""
