"""Hidden files of runs that were killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from farthing.bulk.writing import require_writable

WRITE = """
import sys, numpy as np
from farthing.bulk.writing import EmbeddingWriter
with EmbeddingWriter(sys.argv[1], dimension=2, metadata={}):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_is_removed_and_what_is_in_use_stays(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    (tmp_path / ".out.parquet.notes.partial").write_text("the user's")
    command = [sys.executable, "-c", WRITE, str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (partial,) = tmp_path.glob(".out.parquet.????????.partial")
        require_writable(str(output))
        assert partial.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert partial.exists()
    require_writable(str(output))
    assert [path.name for path in tmp_path.iterdir()] == [".out.parquet.notes.partial"]
