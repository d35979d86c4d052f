"""Memory stays bounded whatever the input's size. The full size is measured in benchmarks/."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
BOUND_BYTES = 150_000_000

# Between pytest and the command: a process's peak includes that of the one it was forked from.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peak_bytes(model: Path, folder: Path, texts: int) -> int:
    """Return the peak resident memory of embedding so many different short texts."""
    letters = random.Random(texts)
    source = folder / f"{texts}.txt"
    with source.open("w") as file:
        for n in range(texts):
            file.write(f"{n} {''.join(letters.choices('abcdef ', k=20))}\n")
    command = [EXECUTABLE, "embed", str(source), "-o", str(folder / "out.parquet"), "-m", str(model)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True, timeout=120
    )
    code, peak = map(int, done.stdout.split())
    assert code == 0
    return peak


def test_peak_memory_is_bounded(tiny_bert: Path, tmp_path: Path) -> None:
    peak_bytes(tiny_bert, tmp_path, 10)  # calibrates, where nothing is kept, and that takes memory of its own
    few, many = (peak_bytes(tiny_bert, tmp_path, texts) for texts in (1_000, 30_000))
    assert many - few < BOUND_BYTES, f"{few / 1e6:.0f} MB for 1,000 texts, {many / 1e6:.0f} MB for 30,000"
