"""How long a question of cost takes from the shell: fresh processes, beside `python -c "import typer, rich"`.

Rounds are interleaved: each runs every command once, so that a slow moment of the machine meets all of them.
The figure is the ratio of medians. Nothing is asserted.
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
BARS = {"explain": 3.0, "plan": 6.0}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As a user's shell has it: compiled modules are kept."""


def main() -> None:
    """Run and print a line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs: int = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name, command in COMMANDS.items():
        _timed(name, command)  # once, so that files are in the page cache and bytecode is compiled
    for _ in range(runs):
        for name, command in COMMANDS.items():
            seconds[name].append(_timed(name, command))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print("| command | median, ms | ratio | bar |\n|---|---|---|---|")
    for name, median in medians.items():
        bar = BARS.get(name.split()[0])
        print(
            f"| {name} | {1000 * median:.0f} | {median / medians[BARE]:.2f} | {'' if bar is None else f'{bar:g}'} |"
        )
    ratios = {name: median / medians[BARE] for name, median in medians.items()}
    print(
        save(
            "startup", {"runs": runs, "seconds": seconds, "median_s": medians, "ratio": ratios, "bars": BARS}
        )
    )


def _timed(name: str, command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=ENVIRONMENT)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{name}: exit code {done.returncode}: {done.stderr.decode()}")
    return seconds


if __name__ == "__main__":
    main()
