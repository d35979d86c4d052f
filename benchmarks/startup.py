"""How long a question of cost and a first vector take: fresh processes, beside bare imports.

A question is set beside `python -c "import typer, rich"`, MiniLM's first vector beside `python -c "import openvino,
tokenizers"`. Rounds are interleaved: each runs every command once, so that a slow moment of the machine meets all of
them. The figure is the ratio of medians. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from results_file import save

FARTHING = str(Path(sys.executable).with_name("farthing"))
BARE = "python -c 'import typer, rich'"
PLAN = ["--rate", "50", "--lengths", "300", "--p99-ms", "200"]
COMMANDS = {
    BARE: [sys.executable, "-c", "import typer, rich"],
    "explain --json Qwen3-Embedding-8B": [FARTHING, "explain", "--json", "Qwen3-Embedding-8B"],
    "explain Qwen3-Embedding-8B": [FARTHING, "explain", "Qwen3-Embedding-8B"],
    "explain --json bge-small-en-v1.5": [FARTHING, "explain", "--json", "bge-small-en-v1.5"],
    "plan --json Qwen3-Embedding-8B": [FARTHING, "plan", "--json", "Qwen3-Embedding-8B", *PLAN],
    "plan Qwen3-Embedding-8B": [FARTHING, "plan", "Qwen3-Embedding-8B", *PLAN],
    "plan --json bge-m3": [FARTHING, "plan", "--json", "bge-m3", *PLAN],
    "plan --json bge-small-en-v1.5": [FARTHING, "plan", "--json", "bge-small-en-v1.5", *PLAN],
    "plan --json bge-m3, conversations": [
        FARTHING, "plan", "--json", "bge-m3", "--rate", "500", "--lengths", "conversations", "--p99-ms", "100",
    ],
}  # fmt: skip
BARE_ENGINE = "python -c 'import openvino, tokenizers'"
FIRST_VECTOR = "from farthing import Embedder; Embedder().encode('what does a text cost')"
COMMANDS |= {
    BARE_ENGINE: [sys.executable, "-c", "import openvino, tokenizers"],
    "first vector of all-MiniLM-L6-v2": [sys.executable, "-c", FIRST_VECTOR],
}
BARS = {"explain": 3.0, "plan": 6.0, "first": 3.0}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As a user's shell has it: compiled modules are kept."""


def main() -> None:
    """Run and print a line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument(
        "--only", choices=("questions", "engine"), help="questions of cost, or the first vector"
    )
    arguments = parser.parse_args()
    runs: int = arguments.runs
    commands = {
        name: command
        for name, command in COMMANDS.items()
        if arguments.only in (None, "engine" if _bare(name) == BARE_ENGINE else "questions")
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for name, command in commands.items():
        _timed(name, command)  # once, so that files are in the page cache and bytecode is compiled
    for _ in range(runs):
        for name, command in commands.items():
            seconds[name].append(_timed(name, command))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print("| command | median, ms | ratio | bar |\n|---|---|---|---|")
    for name, median in medians.items():
        bar = BARS.get(name.split()[0])
        print(
            f"| {name} | {1000 * median:.0f} | {median / medians[_bare(name)]:.2f} | "
            f"{'' if bar is None else f'{bar:g}'} |"
        )
    ratios = {name: median / medians[_bare(name)] for name, median in medians.items()}
    figures = {"runs": runs, "seconds": seconds, "median_s": medians, "ratio": ratios, "bars": BARS}
    print(save("startup" if arguments.only is None else f"startup-{arguments.only}", figures))


def _bare(name: str) -> str:
    """Return the command that a command is set beside."""
    return BARE_ENGINE if name == BARE_ENGINE or name.startswith("first vector") else BARE


def _timed(name: str, command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=ENVIRONMENT)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{name}: exit code {done.returncode}: {done.stderr.decode()}")
    return seconds


if __name__ == "__main__":
    main()
