"""A fresh process whose memory `memory.py` measures. Prints a JSON object a line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from farthing.engine.contract import Mode
from farthing.engine.load import load_model

NOTED = (1, 50, 200, 800, 1600, 3200)
"""Shapes after which memory is told."""

LONGEST = 64
MOST_TEXTS = 8


def anonymous_bytes(process: str = "self") -> int:
    """Return a process's anonymous memory: what no file backs. Linux only."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def many_shapes(mode: Mode, count: int) -> None:
    """Run steps of so many different shapes on one lane of the default model."""
    model = load_model()
    lane, draw = model.engine.lane(mode), np.random.default_rng(0)

    def step(lengths: list[int]) -> None:
        lane.run([draw.integers(0, model.checkpoint.shape.vocabulary, n, np.int32) for n in lengths])

    # The largest of them, and a small one: buffers, and weights in the orders that either reads, are no growth.
    step([LONGEST] * MOST_TEXTS)
    step([10])
    seen: set[tuple[int, ...]] = set()
    while len(seen) < count:
        lengths = draw.integers(1, LONGEST + 1, int(draw.integers(1, MOST_TEXTS + 1))).tolist()
        shape = (sum(lengths), len(lengths), max(lengths))
        if shape in seen:
            continue
        seen.add(shape)
        step(lengths)
        if len(seen) in NOTED or len(seen) == count:
            print(json.dumps({"shapes": len(seen), "bytes": anonymous_bytes()}), flush=True)


def load(folder: str, mode: Mode) -> None:
    """Load a checkpoint and run one text."""
    model = load_model(folder)
    print(json.dumps({"done": "read"}), flush=True)
    model.engine.warm(mode)
    print(json.dumps({"done": "compiled"}), flush=True)
    model.engine.lane(mode).run([np.arange(1, 21, dtype=np.int32)])
    print(json.dumps({"done": "first vector"}), flush=True)


if __name__ == "__main__":
    task, first, second = sys.argv[1:4]
    if task == "shapes":
        many_shapes("latency" if first == "latency" else "throughput", int(second))
    else:
        load(first, "latency" if second == "latency" else "throughput")
