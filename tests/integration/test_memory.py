"""Memory stays bounded whatever the input's size. The full size is measured in benchmarks/."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
FEW, MANY = 20_000, 80_000
"""Both fill every window that is in flight, so what is between them is what grows with the input."""

DIMENSION = 384
BOUND_BYTES = 67_000_000
"""Growth allowed: 36 MB are measured, and none from 80,000 texts to 160,000; keeping every vector adds 92 MB."""

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
        [sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True, timeout=600
    )
    code, peak = map(int, done.stdout.split())
    assert code == 0
    return peak


# In a process of its own: other tests' models have met shapes already.
SHAPES = """
import sys
from pathlib import Path
import numpy as np
from farthing.engine.load import load_model

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

lane = load_model(sys.argv[1]).engine.lane()
draw = np.random.default_rng(0)
def step(lengths):
    lane.run([draw.integers(0, 80, length, np.int32) for length in lengths])
step([40] * 16)
# How many tokens a step has decides in which order weights are read, and each order is a copy that stays:
# all of them are made first. Which sizes share one differs between kinds of processor.
for tokens in [*range(1, 41), *range(48, 641, 16)]:
    step([40] * (tokens // 40) + [tokens % 40] * (tokens % 40 > 0))
before = anonymous()
seen = set()
while len(seen) < int(sys.argv[2]):
    lengths = draw.integers(1, 41, draw.integers(1, 17))
    shape = (lengths.sum(), len(lengths), lengths.max())
    if shape not in seen:
        seen.add(shape)
        step(lengths)
        if len(seen) % 70 == 0:
            print(anonymous() - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells a process's anonymous memory"
)
def test_shapes_are_forgotten(make_bert: Callable[..., Path]) -> None:
    """Up to 8 MiB are measured, and with OpenVINO's own settings 130, on Zen 4 and Xeons without AMX."""
    model = make_bert(
        hidden_size=DIMENSION, num_hidden_layers=2, num_attention_heads=12, intermediate_size=4 * DIMENSION
    )
    done = subprocess.run(
        [sys.executable, "-c", SHAPES, str(model), "350"], capture_output=True, text=True, check=True
    )
    grown = [int(line) for line in done.stdout.split()]
    assert grown[-1] <= 15 * 2**20, f"bytes grown after every 70 shapes: {grown}"


def test_peak_memory_is_bounded(make_bert: Callable[..., Path], tmp_path: Path) -> None:
    assert (MANY - FEW) * DIMENSION * 4 > BOUND_BYTES  # or keeping every vector would pass
    model = make_bert(
        hidden_size=DIMENSION, num_hidden_layers=1, num_attention_heads=12, intermediate_size=64
    )
    peak_bytes(model, tmp_path, 10)  # calibrates, where nothing is kept, and that takes memory of its own
    few, many = (peak_bytes(model, tmp_path, texts) for texts in (FEW, MANY))
    assert many - few < BOUND_BYTES, f"{few / 1e6:.0f} MB for {FEW:,} texts, {many / 1e6:.0f} MB for {MANY:,}"
