"""The result file: what is kept, how runs are merged into it, whether the bars are met, and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from farthing.engine.machine import library_versions
from gpu_parts import check, decode, fp8, gemm, grid, http_beside, matmuls, predicted, ragged, saturation
from gpu_parts.bench import Bench
from gpu_parts.tables import markdown

NOT_YET = "not yet run"

TABLES = {
    "matmuls": ("The card's own matrix product", matmuls.table),
    "check": ("Are the vectors right?", check.table),
    "gemm": ("The step by kernel", gemm.table),
    "grid": ("Tokens per second and MFU", grid.table),
    "ragged": ("A ragged corpus", ragged.table),
    "saturation": ("Saturation", saturation.table),
    "http": ("Through HTTP", http_beside.table),
    "decode": ("Generation with the same weights", decode.table),
    "fp8": ("FP8", fp8.table),
}

BAR_MODEL, BAR_LENGTH = "qwen3-8b", 1024
MOST_GEMM_RATIO, LEAST_MFU = 1.05, 0.85
LEAST_FP8_SPEEDUP, LEAST_FP8_COSINE, LEAST_RAGGED_SPEEDUP = 1.5, 0.98, 2.0
"""Bars of issue 4. Where a part has several batches, its largest one counts: a saturated step."""


def opened(path: Path, bench: Bench, *, toy: bool) -> dict[str, Any]:
    """Return the document of a path, or a new one.

    Raises:
        SystemExit: it is of another device, of other versions, or of other sizes.
    """
    here: dict[str, Any] = {
        "benchmark": "gpu",
        "toy": toy,
        "dtype": "bf16",
        "device": bench.device.facts,
        "versions": dict(library_versions()) | _versions(),
    }
    if not path.is_file():
        return here | {"created_at": _now(), "runs": [], "predictions": {}, "models": {}, "bars": {}}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # By name: two cards of one kind may differ in the memory that they report.
    pairs = {key: (document[key], here[key]) for key in ("toy", "versions")}
    pairs["device"] = document["device"]["name"], here["device"]["name"]
    for key, (there, value) in pairs.items():
        if there != value:
            raise SystemExit(f"{path}: its {key} is {there}, here it is {value}; name another --out")
    return document


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"cuda": str(torch.version.cuda)}
    for library in ("triton", "transformers", "sentence-transformers"):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found


def saved(path: Path, document: dict[str, Any]) -> None:
    """Write the document with its bars and comparisons, whole or not at all."""
    for name, model in document["models"].items():
        model["measured_over_predicted"] = predicted.compared(document["predictions"][name], measured(model))
    document["bars"] = bars({} if document["toy"] else document["models"])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def measured(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the parts that did not fail."""
    return {part: figures for part, figures in model["parts"].items() if "error" not in figures}


def kept(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """Return which figures of a part stay: a run that failed or was cut short does not replace one that was whole."""
    if before is None or now["complete"] or not before["complete"]:
        return now
    return before | ({"last_error": now["error"]} if "error" in now else {})


def bars(models: Mapping[str, Any]) -> dict[str, Any]:
    """Return each bar of issue 4 with its figure, its bound, and whether it is met, not met or not measured."""
    parts = measured(models[BAR_MODEL]) if BAR_MODEL in models else {}
    step: Any = _largest(parts.get("gemm"))
    small: Any = None if parts.get("fp8", {}).get("emulated") else _largest(parts.get("fp8"))
    corpus, sequences = parts.get("ragged", {}), parts.get("saturation", {})
    cosine = parts["fp8"]["vector_error"]["least_cosine"] if small else None
    peers = corpus.get("sentence_transformers", {}).values()
    speedup = min((peer["farthing_speedup"] for peer in peers), default=None)
    verdict = sequences.get("verdict")
    return {
        "GEMM time over plain products": _bar(step and step["gemm_ratio"], most=MOST_GEMM_RATIO),
        "MFU of the whole step": _bar(step and step["mfu"], least=LEAST_MFU)
        | {"without_trimming": step and step["mfu_executed"]},
        "FP8 over bf16, speed": _bar(small and small["speedup"], least=LEAST_FP8_SPEEDUP),
        "FP8 to bf16, least cosine": _bar(cosine, least=LEAST_FP8_COSINE),
        "ragged texts over sentence-transformers, speed": _bar(speedup, least=LEAST_RAGGED_SPEEDUP),
        "verdict on the article's claim": {
            "status": "reported" if verdict else "not measured",
            "sentence": verdict and verdict["sentence"],
        },
    }


def _bar(value: float | None, *, least: float | None = None, most: float | None = None) -> dict[str, Any]:
    met = value is not None and (value >= least if least is not None else most is not None and value <= most)
    status = "not measured" if value is None else "met" if met else "not met"
    return {"value": value, "least": least, "most": most, "status": status}


def _largest(part: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the cell with the most texts of about 1024 tokens, or None."""
    found = [cell for cell in (part or {}).get("cells", {}).values() if cell["length"] == BAR_LENGTH]
    return max(found, key=lambda cell: cell["batch"]) if found else None


def section(path: Path | None) -> str:
    """Return docs' section on the GPU: the tables of a result file, or that it was not yet run."""
    if path is None or not path.is_file():
        return NOT_YET
    document = json.loads(path.read_text(encoding="utf-8"))
    device, versions = document["device"], document["versions"]
    lines = [
        f"{device['name']}, {document['created_at'][:10]}, {document['dtype']}; torch {versions['torch']}, CUDA "
        f"{versions['cuda']}, sentence-transformers {versions['sentence-transformers']}. Random weights.",
        "",
    ]
    if document["toy"]:
        lines[0] = f"Toy sizes, which say nothing of speed. {lines[0]}"
    lines += [*bar_lines(document["bars"]), ""]
    for name, model in document["models"].items():
        lines += [f"### {model['name']}", ""]
        for part, (title, table) in TABLES.items():
            figures = model["parts"].get(part)
            if figures is None:
                lines += [f"**{title}**: {NOT_YET}.", ""]
            elif "error" in figures:
                lines += [f"**{title}**: failed: {figures['error']}", ""]
            else:
                more = "" if figures["complete"] else " (not all of it: the time was spent)"
                lines += [f"**{title}**{more}", "", *table(figures), ""]
        lines += ["**Predicted and measured**", ""]
        lines += [*predicted.table(document["predictions"][name], measured(model)), ""]
    return "\n".join(lines).rstrip()


def bar_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the bars as lines."""
    rows = []
    for name, bar in found.items():
        if "sentence" in bar:
            rows.append((name, bar["sentence"] or "–", "", bar["status"]))
            continue
        bound = f"≥ {bar['least']}" if bar["least"] is not None else f"≤ {bar['most']}"
        rows.append((name, "–" if bar["value"] is None else f"{bar['value']:.3f}", bound, bar["status"]))
    return markdown((f"{BAR_MODEL}, texts of {BAR_LENGTH} tokens", "figure", "bar", ""), rows)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
