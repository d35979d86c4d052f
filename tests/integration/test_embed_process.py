"""`farthing embed` as a process of its own: real files, a real pipe, a real Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
WORDS = ("price", "token", "second", "device", "vector", "model", "batch", "text", "query", "cost")


def sentences(count: int, words: int = 12) -> list[str]:
    """Return different texts."""
    choose = random.Random(count)
    return [f"{n} " + " ".join(choose.choices(WORDS, k=words)) for n in range(count)]


def write_lines(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def run(*arguments: str | Path, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [EXECUTABLE, *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=cwd,
        input=stdin,
        timeout=120,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_few_hundred_texts(tmp_path: Path, minilm: Path) -> None:
    texts = sentences(300, words=8)
    texts[7] = texts[250]
    write_lines(tmp_path / "in.txt", texts)
    done = run("embed", "in.txt", "-o", "out.parquet", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    receipt = json.loads(done.stdout)
    assert (receipt["texts"], receipt["duplicates"]) == (300, 1)

    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("id").to_pylist() == [str(row) for row in range(300)]
    assert receipt["tokens"]["input"] == sum(table.column("tokens").to_pylist())
    vectors = np.array(table.column("embedding").to_pylist(), dtype=np.float32)
    assert vectors.shape == (300, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[7], vectors[250])

    from farthing import Embedder

    expected = Embedder(str(minilm)).encode(texts[:40])
    assert (vectors[:40] * expected).sum(axis=1).min() >= 0.99999
    assert names(tmp_path) == ["in.txt", "out.parquet"]


def test_standard_input(tmp_path: Path, tiny_bert: Path) -> None:
    done = run(
        *("embed", "-", "-o", "out.parquet", "-m", tiny_bert, "--json"),
        cwd=tmp_path,
        stdin="the first\n\nдва\n".encode(),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["texts"] == 3
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 3


def test_bad_standard_input(tmp_path: Path, tiny_bert: Path) -> None:
    for content, fragment in ((b"", b"holds no texts"), (b"fine\n\xff\n", b"line 2")):
        done = run("embed", "-", "-o", "out.parquet", "-m", tiny_bert, cwd=tmp_path, stdin=content)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
        assert fragment in done.stderr
        assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("sent", "older"), [(signal.SIGINT, None), (signal.SIGINT, b"older"), (signal.SIGTERM, b"older")]
)
def test_a_signal_while_embedding(
    tmp_path: Path, tiny_bert: Path, sent: signal.Signals, older: bytes | None
) -> None:
    write_lines(tmp_path / "in.txt", sentences(200_000, words=3))
    if older is not None:
        (tmp_path / "out.parquet").write_bytes(older)
    before = names(tmp_path)
    # The calibration of this model is kept from here on, so that what is interrupted below is the job.
    write_lines(tmp_path / "warm.txt", ["warm up"])
    assert run("embed", "warm.txt", "-o", "warm.parquet", "-m", tiny_bert, cwd=tmp_path).returncode == 0
    for name in ("warm.txt", "warm.parquet"):
        (tmp_path / name).unlink()

    process = subprocess.Popen(
        [EXECUTABLE, "embed", "in.txt", "-o", "out.parquet", "-m", str(tiny_bert)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        deadline = time.monotonic() + 60
        # A row group has been written: it is in the middle of its work.
        while not any(path.stat().st_size > 1_000_000 for path in tmp_path.glob(".out.parquet.*.partial")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        asked = time.monotonic()
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert time.monotonic() - asked < 10
    assert out == b""
    assert err == b"farthing: interrupted; no output was left half-written\n"
    assert names(tmp_path) == before
    if older is not None:
        assert (tmp_path / "out.parquet").read_bytes() == older


@pytest.mark.parametrize(
    "arguments",
    [("embed", "in.txt", "-o", "out.parquet", "--json"), ("explain", "all-MiniLM-L6-v2", "--json")],
)
def test_a_reader_that_has_gone(tmp_path: Path, minilm: Path, arguments: tuple[str, ...]) -> None:
    write_lines(tmp_path / "in.txt", sentences(3))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [EXECUTABLE, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
            timeout=120,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_reader_that_takes_one_byte(tmp_path: Path, minilm: Path) -> None:
    write_lines(tmp_path / "in.txt", sentences(3))
    done = subprocess.run(
        ["sh", "-c", f"'{EXECUTABLE}' embed in.txt -o out.parquet --json | head -c 1"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == (b"{", b"")


def test_a_terminal_shows_progress(tmp_path: Path, minilm: Path) -> None:
    write_lines(tmp_path / "in.txt", sentences(2_000))
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [EXECUTABLE, "embed", "in.txt", "-o", "out.parquet", "--usd-per-hour", "100"],
        stdout=subprocess.PIPE,
        stderr=secondary,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(secondary)
    seen = b""
    try:
        while select.select([primary], [], [], 60)[0] and (part := _read(primary)):
            seen += part
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        os.close(primary)
    bar = seen.decode()
    for part_shown in ("embedding", "tokens/s", "left", "¢"):
        assert part_shown in bar, part_shown
    assert "Receipt" not in bar
    assert "Receipt" in out.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side has closed
        return b""
