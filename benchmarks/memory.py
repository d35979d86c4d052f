"""Does memory stay bounded? Peak resident memory of `farthing embed` on 2,000 and on 200,000 short texts."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from farthing import Embedder
from results_file import save


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


def main() -> None:
    """Run both and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200_000)
    arguments = parser.parse_args()
    words = Embedder().model.tokenizer.words()
    with tempfile.TemporaryDirectory() as folder:
        peak_bytes(100, words, Path(folder))  # calibrated and converted before anything is measured
        few, many = (peak_bytes(texts, words, Path(folder)) for texts in (2_000, arguments.texts))
    print(f"2,000 texts {few / 1e6:.0f} MB, {arguments.texts:,} texts {many / 1e6:.0f} MB")
    print(f"difference {(many - few) / 1e6:+.0f} MB")
    print(save("memory", {"texts": arguments.texts, "peak_bytes_2000": few, "peak_bytes": many}))


if __name__ == "__main__":
    main()
