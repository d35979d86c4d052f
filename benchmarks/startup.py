"""How long a question of cost and a first vector take: fresh processes, beside bare imports.

A question is set beside `python -c "import click, rich"`, a plan with and without its simulations; the first vector of
a model never seen, with nothing in any cache, beside `python -c "import openvino, tokenizers"`, with the peak of its
resident memory. Rounds are interleaved: each runs every command once, so that a slow moment of the machine meets all of
them. The figure is the ratio of medians. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from results_file import save

FARTHING = str(Path(sys.executable).with_name("farthing"))
BARE = "python -c 'import click, rich'"
PLAN = ["--rate", "50", "--lengths", "300", "--p99-ms", "200"]
UNSIMULATED = (
    "import sys, farthing.planning.rows as rows; rows.SIMULATED_ROWS = 0; "
    "from farthing.cli.main import main; main(['plan', *sys.argv[1:]])"
)
COMMANDS = {
    BARE: [sys.executable, "-c", "import click, rich"],
    "explain --json Qwen3-Embedding-8B": [FARTHING, "explain", "--json", "Qwen3-Embedding-8B"],
    "explain Qwen3-Embedding-8B": [FARTHING, "explain", "Qwen3-Embedding-8B"],
    "explain --json bge-small-en-v1.5": [FARTHING, "explain", "--json", "bge-small-en-v1.5"],
    "plan --json Qwen3-Embedding-8B": [FARTHING, "plan", "--json", "Qwen3-Embedding-8B", *PLAN],
    "unsimulated plan --json Qwen3-Embedding-8B": [
        sys.executable, "-c", UNSIMULATED, "--json", "Qwen3-Embedding-8B", *PLAN,
    ],
    "unsimulated plan --json bge-m3": [sys.executable, "-c", UNSIMULATED, "--json", "bge-m3", *PLAN],
    "plan Qwen3-Embedding-8B": [FARTHING, "plan", "Qwen3-Embedding-8B", *PLAN],
    "plan --json bge-m3": [FARTHING, "plan", "--json", "bge-m3", *PLAN],
    "plan --json bge-small-en-v1.5": [FARTHING, "plan", "--json", "bge-small-en-v1.5", *PLAN],
    "plan --json bge-m3, conversations": [
        FARTHING, "plan", "--json", "bge-m3", "--rate", "500", "--lengths", "conversations", "--p99-ms", "100",
    ],
}  # fmt: skip
BARE_ENGINE = "python -c 'import openvino, tokenizers'"
FIRST_VECTOR = (
    "import sys; from farthing import Embedder; Embedder(*sys.argv[1:]).encode('what does a text cost')"
)
MINILM, BERT_BASE = "first vector of all-MiniLM-L6-v2", "first vector of a random BERT-base"
COMMANDS |= {
    BARE_ENGINE: [sys.executable, "-c", "import openvino, tokenizers"],
    MINILM: [sys.executable, "-c", FIRST_VECTOR],
    BERT_BASE: [sys.executable, "-c", FIRST_VECTOR],
}
BARS = {"explain": 4.0, "unsimulated": 8.0, "plan": 40.0, MINILM: 2.3, BERT_BASE: 3.5}
PEAK_BARS = {MINILM: 300e6, BERT_BASE: 1.1e9}
"""Bytes."""

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
    peaks: dict[str, list[int]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        if BERT_BASE in commands:
            # Apart, for a process's peak includes that of the one it was forked from.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                bert_base = pool.submit(write_bert_base, Path(folder) / "bert-base").result()
            commands[BERT_BASE] = [*commands[BERT_BASE], bert_base]
        for turn in range(runs + 1):  # the first so that files are in the page cache and bytecode is compiled
            for name, command in commands.items():
                measured, peak = _measured(name, command)
                if turn:
                    seconds[name].append(measured)
                    peaks[name].append(peak)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {name: median / medians[_bare(name)] for name, median in medians.items()}
    peak_bytes = {name: statistics.median(values) for name, values in peaks.items()}
    print("| command | median, ms | ratio | bar | peak, MB | bar |\n|---|---|---|---|---|---|")
    for name, median in medians.items():
        bar = BARS.get(name) or BARS.get(name.split()[0])
        most = f"{PEAK_BARS[name] / 1e6:.0f}" if name in PEAK_BARS else ""
        figures_of = (
            f"{1000 * median:.0f} | {ratios[name]:.2f} | {bar or ''} | {peak_bytes[name] / 1e6:.0f} | {most}"
        )
        print(f"| {name} | {figures_of} |")
    figures = {"runs": runs, "seconds": seconds, "median_s": medians, "ratio": ratios, "bars": BARS}
    figures |= {"peak_bytes": peak_bytes, "peak_bars": PEAK_BARS}
    print(save("startup" if arguments.only is None else f"startup-{arguments.only}", figures))


def write_bert_base(folder: Path) -> str:
    """Write a BERT-base with random weights, and return its folder."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder)
    words = {word: row for row, word in enumerate(["[UNK]", "what", "does", "a", "text", "cost"])}
    Tokenizer(WordLevel(words, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    return str(folder)


def _bare(name: str) -> str:
    """Return the command that a command is set beside."""
    return BARE_ENGINE if name == BARE_ENGINE or name.startswith("first vector") else BARE


def _measured(name: str, command: list[str]) -> tuple[float, int]:
    """Return the seconds and the peak resident bytes of a process that finds no cache."""
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryFile() as errors:
        environment = ENVIRONMENT | {"XDG_CACHE_HOME": cache}
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            errors.seek(0)
            sys.exit(f"{name}: failed: {errors.read().decode()}")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
