"""Does memory stay bounded? Over many texts, over many shapes of steps, and when a large checkpoint is loaded.

Three parts, each in fresh processes: peak resident memory of `farthing embed` on 2,000 and on 200,000 short texts;
growth of anonymous memory over 3,200 different shapes of steps, per mode; peak anonymous memory of the first load of a
random 2 GB checkpoint in shards (converted) and of a warm one. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from farthing import Embedder
from memory_worker import anonymous_bytes
from results_file import save
from sharded_checkpoint import write_checkpoint

MIB = 2**20
MODES = ("throughput", "latency")
WORKER = [sys.executable, str(Path(__file__).with_name("memory_worker.py"))]


def peak_bytes(texts: int, words: list[str], folder: Path) -> int:
    """Return the peak resident memory of a run in a process of its own, in bytes."""
    choose = random.Random(texts)
    source = folder / f"{texts}.txt"
    with source.open("w", encoding="utf-8") as file:
        for row in range(texts):
            file.write(f"{row} {' '.join(choose.choices(words, k=choose.randint(1, 8)))}\n")
    command = [
        str(Path(sys.executable).with_name("farthing")),
        "embed",
        str(source),
        "-o",
        f"{source}.parquet",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"embed failed on {texts} texts")
    return usage.ru_maxrss * 1024


def texts_part(texts: int) -> dict[str, Any]:
    """Return the peaks of few and of many texts."""
    words = Embedder().model.tokenizer.words()
    with tempfile.TemporaryDirectory() as folder:
        peak_bytes(100, words, Path(folder))  # calibrated and converted before anything is measured
        few, many = (peak_bytes(count, words, Path(folder)) for count in (2_000, texts))
    print(
        f"2,000 texts {few / 1e6:.0f} MB, {texts:,} texts {many / 1e6:.0f} MB, {(many - few) / 1e6:+.0f} MB"
    )
    return {"texts": texts, "peak_bytes_2000": few, "peak_bytes": many}


def shapes_part(shapes: int) -> dict[str, Any]:
    """Return anonymous memory after some of the shapes, by mode."""
    Embedder()  # converted
    noted: dict[str, dict[int, int]] = {}
    for mode in MODES:
        done = subprocess.run([*WORKER, "shapes", mode, str(shapes)], stdout=subprocess.PIPE, check=True)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        noted[mode] = {row["shapes"]: row["bytes"] for row in rows}
        first = rows[0]["bytes"]
        print(
            f"{mode}: {first / MIB:.0f} MiB after the first shape, then "
            + ", ".join(f"{(row['bytes'] - first) / MIB:+.1f} after {row['shapes']:,}" for row in rows[1:])
        )
    return {"anonymous_bytes_after_shapes": noted, "bar_growth_bytes": 30 * MIB}


def checkpoint_part(total_bytes: int, scratch_in: str | None) -> dict[str, Any]:
    """Return the peaks of loading a checkpoint of so many bytes, converted and warm, and what they may be."""
    loads: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory(dir=scratch_in) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        parameters, shard = write_checkpoint(folder, total_bytes)
        environment = {**os.environ, "XDG_CACHE_HOME": str(Path(scratch) / "cache")}
        for name, mode in (("first", "latency"), *((f"warm, {mode}", mode) for mode in MODES)):
            loads[name] = _load_peaks([*WORKER, "load", str(folder), mode], environment)
            peaks = ", ".join(f"{peak / 1e9:.2f} until {done}" for done, peak in loads[name].items())
            print(f"{name}: peak anonymous GB: {peaks}")
    bar = 4 * parameters + shard
    print(f"fp32 weights {4 * parameters / 1e9:.2f} GB, with the largest shard {bar / 1e9:.2f} GB")
    return {"parameters": parameters, "shard_bytes": shard, "bar_bytes": bar, "peak_anonymous_bytes": loads}


def _load_peaks(command: list[str], environment: dict[str, str]) -> dict[str, int]:
    """Return the highest anonymous memory of a process until each thing that it says is done."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    peaks: dict[str, int] = {}
    highest = 0
    while process.poll() is None:
        with suppress(OSError, StopIteration):  # it has just ended
            highest = max(highest, anonymous_bytes(str(process.pid)))
        for line in process.stdout:
            peaks[json.loads(line)["done"]] = highest
            highest = 0
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return peaks


def main() -> None:
    """Run the parts and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("texts", "shapes", "checkpoint"))
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--shapes", type=int, default=3_200)
    parser.add_argument("--checkpoint-gb", type=float, default=2.0)
    parser.add_argument("--scratch", help="folder for the checkpoint, three times its size; not in memory")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "texts": lambda: texts_part(arguments.texts),
        "shapes": lambda: shapes_part(arguments.shapes),
        "checkpoint": lambda: checkpoint_part(round(1e9 * arguments.checkpoint_gb), arguments.scratch),
    }
    figures: dict[str, Any] = {}
    for name, part in parts.items():
        if arguments.only in (None, name):
            figures |= part()
    print(save("memory" if arguments.only is None else f"memory-{arguments.only}", figures))


if __name__ == "__main__":
    main()
