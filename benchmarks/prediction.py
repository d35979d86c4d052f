"""Is `predicted_seconds` right? Five runs on each of three corpora, after one calibration, and the MFU.

The calibration is measured first and not touched again. The third corpus is drawn by seed and is larger than
a window, so its prediction rests on a sample of the lengths.
"""

from __future__ import annotations

import argparse
import statistics
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
    arguments = parser.parse_args()
    embedder = Embedder(cache_texts=0)
    calibrate_model(embedder.model, calibrate_machine(embedder.model.engine), embedder.path.run_alone)
    words = embedder.model.tokenizer.words()
    corpora = {
        "docstrings": docstrings(),
        "scifact": scifact(arguments.scifact_texts),
        f"drawn, seed {arguments.seed}": drawn(words, seed=arguments.seed),
    }
    before = measure_gemm_peak("fp32")[0]
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
    after = measure_gemm_peak("fp32")[0]
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


if __name__ == "__main__":
    main()
