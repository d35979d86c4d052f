"""Memory stays bounded whatever the input's size. The full size is measured in benchmarks/."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
FEW, MANY = 20_000, 60_000
"""Both fill every window that is in flight, so what is between them is what grows with the input."""

DIMENSION = 384
BOUND_BYTES = 45_000_000
"""Growth allowed: 26 MB is measured (digests and their rows); keeping every vector adds 61 MB."""

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


def test_peak_memory_is_bounded(make_bert: Callable[..., Path], tmp_path: Path) -> None:
    assert (MANY - FEW) * DIMENSION * 4 > BOUND_BYTES  # or keeping every vector would pass
    model = make_bert(
        hidden_size=DIMENSION, num_hidden_layers=1, num_attention_heads=12, intermediate_size=64
    )
    peak_bytes(model, tmp_path, 10)  # calibrates, where nothing is kept, and that takes memory of its own
    few, many = (peak_bytes(model, tmp_path, texts) for texts in (FEW, MANY))
    assert many - few < BOUND_BYTES, f"{few / 1e6:.0f} MB for {FEW:,} texts, {many / 1e6:.0f} MB for {MANY:,}"
