"""The engine on a GPU, part by part: random weights of real shapes, a table, and JSON that grows with every part.

    PYTHONPATH=src python benchmarks/gpu.py --out gpu.json                       # all that the budget allows
    PYTHONPATH=src python benchmarks/gpu.py --out gpu.json --resume              # and what is left
    PYTHONPATH=src python benchmarks/gpu.py --parts gemm,fp8 --models qwen3-8b --out gpu.json
    python benchmarks/gpu.py --toy --out /tmp/toy.json                           # every part, small, on any machine
    python benchmarks/gpu.py --table gpu.json                                    # the section for docs

What the theory predicts of a model is written to the file before the model is first measured, whatever the parts.
A run merges into the file that it finds. Each part of each model is written when it is done.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gpu_parts import (
    check,
    decode,
    fp8,
    gemm,
    grid,
    http_beside,
    matmuls,
    predicted,
    ragged,
    report,
    saturation,
)
from gpu_parts.bench import FULL, TOY, Bench, Budget
from gpu_parts.device import Device
from gpu_parts.matmuls import Peaks
from gpu_parts.models import MODELS, Subject
from results_file import RESULTS

Measure = Callable[[Bench, Subject, Peaks], dict[str, Any]]

PARTS: dict[str, Measure] = {
    # In this order: a check compiles and forgets; FP8's second model comes when nothing else needs the memory.
    "matmuls": matmuls.measure,
    "check": check.measure,
    "gemm": gemm.measure,
    "saturation": saturation.measure,
    "ragged": ragged.measure,
    "http": http_beside.measure,
    "decode": decode.measure,
    "grid": grid.measure,
    "fp8": fp8.measure,
}
PREDICTED = "predicted"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return 1 if a part failed."""
    given = _parser().parse_args(arguments)
    if given.table is not False:
        print(report.section(given.table))
        return 0
    device = Device(torch.device(given.device or ("cuda:0" if torch.cuda.is_available() else "cpu")))
    if not device.cuda and not given.toy:
        raise SystemExit("no CUDA device is here; --toy runs every part small on the CPU")
    if not device.cuda:
        torch.set_num_threads(1)  # tiny products are slower on several
    bench = Bench(device, TOY if given.toy else FULL, Budget(given.budget_s), given.seed)
    now = datetime.now(UTC)
    path = given.out or RESULTS / f"gpu-{device.name.replace(' ', '-').lower()}-{now:%Y-%m-%d}.json"
    document = report.opened(path, bench, toy=given.toy)
    said = list(sys.argv[1:] if arguments is None else arguments)
    document["runs"].append(
        {
            "started_at": now.isoformat(timespec="seconds"),
            "arguments": list(map(str, said)),
            "device": device.facts,
        }
    )
    subjects = [Subject(bench, name, toy=given.toy) for name in given.models]
    _predict(document, bench, subjects, given.predict_as)
    report.saved(path, document)
    peaks, failed = Peaks(bench), False
    for subject in subjects:
        for part in given.parts:
            if part == PREDICTED or bench.budget.spent:
                continue
            parts = document["models"][subject.name]["parts"]
            if given.resume and parts.get(part, {}).get("complete"):
                continue
            print(f"\n## {subject.name}: {part}\n", flush=True)
            found = _measured(part, bench, subject, peaks)
            parts[part] = report.kept(parts.get(part), found)
            report.saved(path, document)
            failed |= "error" in found
            if "error" not in found:
                print("\n".join(report.TABLES[part][1](found)), flush=True)
        subject.drop()
    print("\n" + "\n".join(report.bar_lines(document["bars"])))
    print(f"{path}{': the time was spent, run again with --resume' if bench.budget.spent else ''}")
    return int(failed)


def _predict(
    document: dict[str, Any], bench: Bench, subjects: Sequence[Subject], predict_as: str | None
) -> None:
    """Write down what is predicted of each model, unless it was before."""
    catalog = predict_as or predicted.catalog_device(bench.device.name)
    for subject in subjects:
        document["models"].setdefault(
            subject.name,
            {
                "name": subject.choice.catalog,
                "pooling": subject.pooling,
                "config": dict(subject.config),
                "parameters": subject.shape.total_parameters,
                "parts": {},
            },
        )
        if subject.name not in document["predictions"]:
            document["predictions"][subject.name] = predicted.predictions(bench, subject, catalog)


def _measured(part: str, bench: Bench, subject: Subject, peaks: Peaks) -> dict[str, Any]:
    """Return a part's figures with when and how long; of a part that fails, the error, so that the next ones run."""
    begun = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds")}
    bench.budget.cut = False
    start = time.monotonic()
    try:
        figures = PARTS[part](bench, subject, peaks)
    except Exception as error:
        traceback.print_exc()
        figures = {"error": f"{type(error).__name__}: {error}"}
    complete = "error" not in figures and not bench.budget.cut
    return begun | {"took_s": time.monotonic() - start, "complete": complete, **figures}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=_some_of((PREDICTED, *PARTS)), default=list(PARTS), metavar="A,B")
    parser.add_argument("--models", type=_some_of(tuple(MODELS)), default=list(MODELS), metavar="A,B")
    parser.add_argument("--out", type=Path, default=None, help="default: a file of benchmarks/results")
    parser.add_argument(
        "--budget-s", type=float, default=480.0, help="nothing new is begun after these seconds"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what the file already has whole")
    parser.add_argument("--toy", action="store_true", help="tiny models of the same families")
    parser.add_argument("--device", default=None, help="as torch names it; default: cuda, else cpu")
    parser.add_argument(
        "--predict-as", default=None, help="device of the catalog; default: the one that is here"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--table",
        type=Path,
        nargs="?",
        const=None,
        default=False,
        help="only print docs' section of a result",
    )
    return parser


def _some_of(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def some(given: str) -> list[str]:
        wanted = given.split(",")
        if unknown := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}: use some of {', '.join(known)}")
        return [name for name in known if name in wanted]

    return some


if __name__ == "__main__":
    sys.exit(main())
