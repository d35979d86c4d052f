"""An input that stalls for ever holds nothing up but itself: Ctrl-C ends the process at once, and leaves nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))

# Reads a corpus as `farthing embed` does, from a source that stalls when it is read for the second time, which is when
# it is embedded: first all is checked.
STALLING = """
import os, queue, sys, threading
from farthing.bulk.embed_file import embed_file
from farthing.bulk.reading import open_source
from farthing.embedding.embedder import Embedder

model, path, how, where = sys.argv[1:]

class Stalling:
    def __init__(self, source):
        self.source, self.passes = source, 0
        self.name, self.describe = source.name, source.describe
    def __iter__(self):
        self.passes += 1
        for row, record in enumerate(self.source):
            if self.passes == 2 and row == 30_000:
                print("stalled", flush=True)
                {"a pipe": lambda: os.read(0, 1), "a queue": queue.Queue().get, "a lock": threading.Event().wait}[how]()
            yield record

def embed():
    with Embedder(model) as embedder:
        embed_file(Stalling(open_source(path)), "out.parquet", embedder)

if where == "the main thread":
    embed()
else:
    threading.Thread(target=embed, daemon=True).start()
    sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["a pipe", "a queue", "a lock"])
def test_ctrl_c_while_the_input_stalls(tmp_path: Path, tiny_bert: Path, how: str) -> None:
    (tmp_path / "in.txt").write_text("".join(f"{row} of many\n" for row in range(60_000)))
    process = subprocess.Popen(
        [sys.executable, "-c", STALLING, str(tiny_bert), "in.txt", how, "the main thread"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stalled\n", process.communicate()
        time.sleep(0.5)  # the lanes have nothing left to do
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert time.monotonic() - asked < 10
    assert process.returncode == -signal.SIGINT
    assert err.splitlines()[-1] == b"KeyboardInterrupt"
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_a_process_ends_though_a_thread_of_it_stalls(tmp_path: Path, tiny_bert: Path) -> None:
    """Lanes are idle by then, and whoever waits for the input is nobody that they wait for."""
    (tmp_path / "in.txt").write_text("".join(f"{row} of many\n" for row in range(60_000)))
    process = subprocess.Popen(
        [sys.executable, "-c", STALLING, str(tiny_bert), "in.txt", "a lock", "another"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stalled\n", process.communicate()
        asked = time.monotonic()
        _, err = process.communicate(b"\n", timeout=30)
    finally:
        process.kill()
    assert time.monotonic() - asked < 10
    assert (process.returncode, err) == (0, b"")


def test_ctrl_c_while_standard_input_stalls(tmp_path: Path, tiny_bert: Path) -> None:
    process = subprocess.Popen(
        [EXECUTABLE, "embed", "-", "-o", "out.parquet", "-m", str(tiny_bert)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(b"a text\n" * 1000)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while "pipe" not in _waits_in(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        process.wait(timeout=30)
        assert time.monotonic() - asked < 10
        assert process.stderr is not None
        assert process.stderr.read() == b"farthing: interrupted; no output was left half-written\n"
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def _waits_in(process: int) -> str:
    """Return the call of the kernel that a process's first thread waits in."""
    try:
        return Path(f"/proc/{process}/wchan").read_text()
    except OSError:
        return "unknown, as if for a pipe"


def test_the_receipt_after_a_pause(tmp_path: Path, tiny_bert: Path) -> None:
    """A slow writer of standard input is waited for, and all of it is embedded."""
    process = subprocess.Popen(
        [EXECUTABLE, "embed", "-", "-o", "out.parquet", "-m", str(tiny_bert), "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdin is not None
    process.stdin.write(b"first\n")
    process.stdin.flush()
    time.sleep(0.3)
    out, err = process.communicate(b"second\n", timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["texts"] == 2
