"""Is `predicted_seconds` right? Five runs on each of three corpora, after one calibration, and the MFU.

The calibration is measured first, and again only as a job itself does it. The third corpus is drawn by seed and is
larger than a window, so its prediction rests on a sample of the lengths. `--only learning` runs the command itself
instead: jobs of 20 texts, of 3,000 and of long lines, after a calibration beside two busy loops and after one alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpora import docstrings, drawn, scifact
from farthing import Embedder
from farthing.engine.calibration.calibrate import calibrate_machine, calibrate_model
from farthing.engine.calibration.gemm_peak import measure_gemm_peak
from results_file import save


def main() -> None:
    """Run and print a line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scifact-texts", type=int, default=None, help="seeded sample; default all")
    parser.add_argument("--only", choices=("corpora", "learning"), default="corpora")
    arguments = parser.parse_args()
    if arguments.only == "learning":
        learning(arguments.runs)
        return
    embedder = Embedder(cache_texts=0)
    calibrate_model(embedder.model, calibrate_machine(embedder.model.engine), embedder.path.run_alone)
    words = embedder.model.tokenizer.words()
    corpora = {
        "docstrings": docstrings(),
        "scifact": scifact(arguments.scifact_texts),
        f"drawn, seed {arguments.seed}": drawn(words, seed=arguments.seed),
    }
    before = measure_gemm_peak(embedder.model.engine.dtype)[0]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in corpora}
    for _ in range(arguments.runs):
        for name, texts in corpora.items():
            receipt = embedder.embed(texts).receipt
            runs[name].append(receipt.as_dict())
            print(
                f"{name}: predicted {receipt.predicted_seconds:.1f} s ({receipt.prediction_basis}), "
                f"took {receipt.seconds.wall:.1f} s, off {receipt.prediction_error:.1%}, MFU {receipt.mfu:.3f}",
                flush=True,
            )
    after = measure_gemm_peak(embedder.model.engine.dtype)[0]
    peak = max(before.flops_per_s, after.flops_per_s)
    summary = {}
    print(
        "\n| corpus | texts | basis | median error | worst | MFU (wall) | tokens/s |\n|---|---|---|---|---|---|---|"
    )
    for name, rows in runs.items():
        errors = [row["prediction_error"] for row in rows]
        wall = statistics.median(row["seconds"]["wall"] for row in rows)
        summary[name] = {
            "texts": rows[0]["texts"],
            "tokens": rows[0]["tokens"],
            "basis": rows[0]["prediction_basis"],
            "predicted_seconds": [row["predicted_seconds"] for row in rows],
            "wall_seconds": [row["seconds"]["wall"] for row in rows],
            "median_error": statistics.median(errors),
            "mfu_wall": rows[0]["flops"]["useful"] / wall / peak,
        }
        print(
            f"| {name} | {rows[0]['texts']:,} | {rows[0]['prediction_basis']} | {statistics.median(errors):.1%} "
            f"| {max(errors):.1%} | {summary[name]['mfu_wall']:.3f} | {rows[0]['tokens']['useful'] / wall:,.0f} |"
        )
    print(f"\nGEMM peak before {before.flops_per_s / 1e9:.0f}, after {after.flops_per_s / 1e9:.0f} GFLOP/s")
    peaks = {"before": before.flops_per_s, "after": after.flops_per_s, "used": peak}
    print(save("prediction", {"peak_flops_per_s": peaks, "corpora": summary}))


COMMAND = str(Path(sys.executable).with_name("farthing"))
BARS = {"second": 0.10, "following": 0.08, "quiet": 0.05, "small": 0.30, "long lines": 0.20}
"""Most that predictions may be off, as a share of the wall seconds."""


def learning(runs: int) -> None:
    """Print how far off jobs in processes of their own are, after either calibration."""
    choose, words = (
        random.Random(0),
        ["price", "token", "second", "device", "vector", "model", "batch", "query"],
    )

    def lines(count: int) -> str:
        drawn = (" ".join(choose.choices(words, k=choose.randint(3, 120))) for _ in range(count))
        return "".join(f"{row} {text}\n" for row, text in enumerate(drawn))

    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = {name: Path(folder) / f"{name}.txt" for name in ("small", "large", "long lines")}
        inputs["small"].write_text(lines(20), encoding="utf-8")
        inputs["large"].write_text(lines(3000), encoding="utf-8")
        long = [
            *("price of a token " * 62_500 + f"{row}\n" for row in range(40)),
            "token " * 5_000_000 + "\n",
        ]
        inputs["long lines"].write_text("".join(long), encoding="utf-8")
        for start, loops in (("busy", 2), ("quiet", 0)):
            cache = f"{folder}/{start}"
            _beside(loops, ["calibrate", "--json"], cache)
            for name, path in inputs.items():
                command = ["embed", str(path), "-o", f"{folder}/out.parquet", "--json"]
                receipts = [json.loads(_beside(0, command, cache)) for _ in range(2 + runs)]
                errors = found[f"{start}, {name}"] = [receipt["prediction_error"] for receipt in receipts]
                print(f"{start}, {name}:", *(f"{error:.1%}" for error in errors), flush=True)
    print("| calibrated | first | second | median of the following |\n|---|---|---|---|")
    for name, errors in found.items():
        print(f"| {name} | {errors[0]:.1%} | {errors[1]:.1%} | {statistics.median(errors[2:]):.1%} |")
    print(save("prediction-learning", {"prediction_errors": found, "bars": BARS}))


def _beside(loops: int, command: Sequence[str], cache: str) -> str:
    """Return what the command prints while so many processes do nothing but compute."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        return subprocess.run(
            [COMMAND, *command], check=True, stdout=subprocess.PIPE, text=True, env=environment
        ).stdout
    finally:
        for process in spinning:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
