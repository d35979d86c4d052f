"""Farthing beside sentence-transformers on this machine: same texts, same tokens, interleaved in one run.

One process per engine, the others asleep. Peers run at their best batch size, found first on a sample. Peers
live in an environment of their own (.venv-peers), made from peers-requirements.txt when it is absent.

Every ratio is of medians over rounds. sentence-transformers' OpenVINO backend is run twice: in fp32 like
ours, and with its own default precision, which is bf16 on processors that have it; that one is set beside
our bf16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from corpora import docstrings, scifact
from farthing.engine.checkpoint import read_checkpoint
from farthing.engine.gemm_peak import measure_gemm_peak
from farthing.engine.locate import locate_model
from farthing.engine.machine import this_machine
from farthing.engine.tokenization import TextTokenizer
from farthing.theory.flops import forward_flops
from results_file import save

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".venv-peers"
BATCHES = (8, 16, 32, 64, 128)
REFERENCE = "st-torch"
PEER_ENGINES = ("st-torch", "st-openvino-fp32", "st-openvino-default")


def peers_python() -> str:
    """Return the Python of the peers' environment, making the environment when it is absent."""
    python = PEERS / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "-r", str(HERE / "peers-requirements.txt")], check=True)
    return str(python)


class Engine:
    """A worker process that embeds when asked and sleeps otherwise."""

    def __init__(self, name: str, model: str, scratch: str) -> None:
        python = sys.executable if name.startswith("farthing") else peers_python()
        self.name = name
        self._process = subprocess.Popen(
            [python, str(HERE / "peer_worker.py"), name, model, scratch],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, corpus: Path, batch: int) -> tuple[float, Any]:
        """Return the seconds and the vectors of one pass over a corpus."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"corpus": str(corpus), "batch": batch}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} died: run benchmarks/peer_worker.py by hand to see why")
        answer = json.loads(line)
        return answer["seconds"], np.load(answer["vectors"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Run all engines and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scifact-texts", type=int, default=1500, help="seeded sample of SciFact")
    parser.add_argument("--docstrings", type=int, default=None, help="only the first docstrings")
    arguments = parser.parse_args()
    checkpoint = read_checkpoint(locate_model(None))
    tokenizer = TextTokenizer(checkpoint)
    has_bf16 = not {"avx512_bf16", "amx_bf16"}.isdisjoint(this_machine().isa)
    engines = ["farthing", *(["farthing-bf16"] if has_bf16 else []), *PEER_ENGINES]
    # Like with like: a peer is set beside our engine of the same precision.
    ours_of = dict.fromkeys(PEER_ENGINES, "farthing")
    ours_of["st-openvino-default"] = "farthing-bf16" if has_bf16 else "farthing"
    corpora = {
        "docstrings": docstrings()[: arguments.docstrings],
        "scifact": scifact(arguments.scifact_texts),
    }
    with tempfile.TemporaryDirectory() as scratch:
        paths, facts = {}, {}
        for corpus, texts in corpora.items():
            paths[corpus] = Path(scratch) / f"{corpus}.json"
            paths[corpus].write_text(json.dumps(texts), encoding="utf-8")
            lengths = tokenizer.encode(texts).lengths
            facts[corpus] = (len(texts), sum(lengths), forward_flops(checkpoint.shape, lengths).total)
        samples = {corpus: Path(scratch) / f"{corpus}-sample.json" for corpus in corpora}
        for corpus, texts in corpora.items():
            samples[corpus].write_text(json.dumps(texts[::16]), encoding="utf-8")
        workers = [Engine(name, str(checkpoint.folder), scratch) for name in engines]
        for worker in workers:
            worker.run(samples["docstrings"], 16)  # loaded and warm before anything is timed
        before = measure_gemm_peak("fp32")[0]
        best = {c: {w.name: _best_batch(w, samples[c]) for w in workers} for c in corpora}
        seconds: dict[str, dict[str, list[float]]] = {c: {e: [] for e in engines} for c in corpora}
        cosines: dict[str, dict[str, float]] = {c: {} for c in corpora}
        for round_ in range(arguments.rounds):
            for corpus in corpora:
                vectors = {}
                # Turn the order each round, so that no engine always follows the same one.
                for worker in workers[round_ % len(workers) :] + workers[: round_ % len(workers)]:
                    took, vectors[worker.name] = worker.run(paths[corpus], best[corpus][worker.name])
                    seconds[corpus][worker.name].append(took)
                    print(
                        f"round {round_} {corpus} {worker.name}: {facts[corpus][1] / took:,.0f} tokens/s",
                        flush=True,
                    )
                for name, found in vectors.items():
                    cosines[corpus][name] = float((found * vectors[REFERENCE]).sum(axis=1).min())
        after = measure_gemm_peak("fp32")[0]
        for worker in workers:
            worker.close()
    peak = max(before.flops_per_s, after.flops_per_s)
    figures: dict[str, Any] = {
        "peak_flops_per_s": {"before": before.flops_per_s, "after": after.flops_per_s, "used": peak},
        "best_batch": best,
        "rounds": arguments.rounds,
        "corpora": {},
    }
    print(f"\nGEMM peak {peak / 1e9:.0f} GFLOP/s fp32 ({before.label}; after: {after.label})\n")
    print("| corpus | engine | batch | tokens/s | MFU (wall, fp32 peak) | Farthing is | least cosine |")
    print("|---|---|---|---|---|---|---|")
    for corpus, (count, tokens, flops) in facts.items():
        medians = {name: statistics.median(times) for name, times in seconds[corpus].items()}
        rows = {}
        for name in engines:
            ours = ours_of.get(name)
            rows[name] = {
                "seconds": seconds[corpus][name],
                "tokens_per_s": tokens / medians[name],
                "mfu_wall": flops / medians[name] / peak,
                "farthing_speedup": medians[name] / medians[ours] if ours else None,
                "compared_with": ours,
                "least_cosine_to_st_torch": cosines[corpus][name],
            }
            speedup = f"{medians[name] / medians[ours]:.2f}× ({ours})" if ours else ""
            print(
                f"| {corpus} | {name} | {best[corpus][name] or 'own'} | {tokens / medians[name]:,.0f} "
                f"| {flops / medians[name] / peak:.3f} | {speedup} | {cosines[corpus][name]:.6f} |"
            )
        figures["corpora"][corpus] = {"texts": count, "tokens": tokens, "flops": flops, "engines": rows}
    print(f"\n{save('peers', figures)}")


def _best_batch(worker: Engine, sample: Path) -> int:
    if worker.name.startswith("farthing"):
        return 0
    times = {batch: min(worker.run(sample, batch)[0] for _ in range(2)) for batch in BATCHES}
    return min(times, key=lambda batch: times[batch])


if __name__ == "__main__":
    main()
