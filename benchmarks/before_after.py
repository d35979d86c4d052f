"""Is the engine as fast as at an earlier commit? That commit from a worktree, in an environment of its own.

Both sides run the same script through their public API, in fresh processes that take turns: each round every side and
dtype once. The figure is the ratio of medians, before / after, so that above 1 is faster now. Beside it the peak memory
of `farthing embed` on many short texts. Nothing is asserted.
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
import time
from pathlib import Path
from typing import Any

from corpora import docstrings, scifact
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.text.tokenization import TextTokenizer
from peers_texts import mixed_requests, one_token_words, sampled, short_texts
from results_file import save

BEFORE = "bfe82b2"
ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("before_after_worker.py")
DTYPES = ("fp32", "bf16")
TURNS = 40


def questions(share: float) -> dict[str, Any]:
    """Return the texts of each question; requests of a mix are lists of texts."""
    texts = docstrings()
    words = one_token_words(texts, TextTokenizer(read_checkpoint(locate_model(None))))
    return {
        "docstrings": sampled(texts, round(3000 * share)),
        "scifact": scifact(round(500 * share)),
        "mix": mixed_requests(words, round(24 * share), 32),
        "one short text": short_texts(words, 17, round(300 * share)),
    }


def environment(commit: str, folder: Path) -> Path:
    """Check a commit out and install it with its extra for processors; return its Python. Done once."""
    python = folder / ".venv" / "bin" / "python"
    if not python.exists():
        subprocess.run(["git", "worktree", "add", "--detach", folder, commit], check=True, cwd=ROOT)
        subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt"]
        subprocess.run([*install, "--editable", ".[cpu]"], check=True, cwd=folder)
    return python


def run(python: Path, dtype: str, texts: Path, cache: Path) -> dict[str, float]:
    """Return the seconds of each question in a fresh process."""
    command = [str(python), str(WORKER), str(texts), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(cache))
    if done.returncode:
        sys.exit(f"{python}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def short_text(pythons: dict[str, Path], dtype: str, texts: Path, caches: Path) -> dict[str, float]:
    """Return the median seconds of one short text of each side, in fresh processes that take turns every 25 texts.

    Apart, a noisy machine's moods of a minute would be most of the difference.
    """
    workers = {
        side: subprocess.Popen(
            [str(python), str(WORKER), str(texts), dtype, "one-by-one"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(caches / side),
        )
        for side, python in pythons.items()
    }
    times: dict[str, list[float]] = {side: [] for side in workers}
    for turn in range(TURNS):
        for side in sorted(workers, reverse=turn % 2 == 0):
            worker = workers[side]
            if worker.stdin is None or worker.stdout is None:
                sys.exit("a worker without pipes")
            print(25, file=worker.stdin, flush=True)
            answer = json.loads(worker.stdout.readline() or "null")
            if answer is None:
                sys.exit(f"{side}: the worker of short texts ended")
            times[side] += answer[3:] if turn else []
            time.sleep(0.02)  # until the other's threads sleep
    for worker in workers.values():
        worker.communicate()
    return {side: statistics.median(values) for side, values in times.items()}


def peak_bytes(python: Path, source: Path, cache: Path) -> int:
    """Return the peak resident memory of `farthing embed` in a process of its own."""
    output = source.with_suffix(".parquet")
    command = [str(python.with_name("farthing")), "embed", str(source), "-o", str(output), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_environment(cache))
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{python}: embed failed")
    return usage.ru_maxrss * 1024


def _environment(cache: Path) -> dict[str, str]:
    return os.environ | {"XDG_CACHE_HOME": str(cache)}


def main() -> None:
    """Run, print a table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default=BEFORE, help="commit")
    parser.add_argument("--worktree", type=Path, default=Path(tempfile.gettempdir()) / f"farthing-{BEFORE}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the texts")
    parser.add_argument("--memory-texts", type=int, default=200_000)
    given = parser.parse_args()
    sides = {"before": environment(given.before, given.worktree), "after": Path(sys.executable)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = folder / "texts.json"
        asked = questions(given.share)
        texts.write_text(json.dumps(asked), encoding="utf-8")
        seconds: dict[str, dict[str, list[float]]] = {}
        for turn in range(given.rounds + 1):  # the first one converts, calibrates and fills the page cache
            for dtype in DTYPES:
                short = short_text(sides, dtype, texts, folder)
                for side in sorted(sides, reverse=turn % 2 == 0):
                    found = run(sides[side], dtype, texts, folder / side) | {"one short text": short[side]}
                    print(
                        turn, dtype, side, {key: round(value, 4) for key, value in found.items()}, flush=True
                    )
                    if turn:
                        for question, value in found.items():
                            seconds.setdefault(f"{question}, {dtype}", {}).setdefault(side, []).append(value)
        memory = {}
        if given.memory_texts:
            choose, source = random.Random(0), folder / "short.txt"
            words = [*asked["docstrings"][0].split(), "a", "text", "of", "few", "words"]
            lines = (f"{row} {' '.join(choose.choices(words, k=3))}\n" for row in range(given.memory_texts))
            source.write_text("".join(lines), encoding="utf-8")
            memory = {side: peak_bytes(python, source, folder / side) for side, python in sides.items()}
    ratios = {
        key: statistics.median(both["before"]) / statistics.median(both["after"])
        for key, both in seconds.items()
    }
    print("| question | before / after |\n|---|---|")
    for key, ratio in ratios.items():
        print(f"| {key} | {ratio:.3f} |")
    print("peak memory of embed, MB:", {side: round(value / 1e6) for side, value in memory.items()})
    figures = {"before": given.before, "rounds": given.rounds, "seconds": seconds, "ratio": ratios}
    print(save("before-after", {**figures, "memory_texts": given.memory_texts, "peak_bytes": memory}))


if __name__ == "__main__":
    main()
