"""Do two host constants and one efficiency explain the article's 88 points? Fits them and keeps every cell's error.

A text costs the device max(FLOPs / (efficiency · peak), weights / bandwidth), the same in any company. The host adds
`latency` to a lone request and is busy for `per_request` with each, while the device works on another:

    N = 1:      seconds = latency + device
    saturated:  seconds per text = max(per_request, device)
    between:    seconds until the last of N = latency + device + (N - 1) · max(per_request, device), if the two overlap
                wholly; with per_request + device in place of the larger one, if they never do

The saturated column is the largest N, 128. The constants are fitted on it and on N = 1 alone, so that the worst of
these cells is as good as it can be; what lies between is predicted. A host is a machine's: the two of them are fitted
on the H100's, and then once more on the RTX 4090's, which was another one. What four constants make of both devices
(one host, two efficiencies) is kept beside it. The measurements are read from shared/data/article, the tokens from the
recount (article_tokens.py).

Run: .venv/bin/python benchmarks/article_fit.py
Source: docs/theory.md, "Time of one step".
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from farthing.catalog.load import load_devices, load_models
from farthing.catalog.lookups import find_device, find_model
from farthing.theory.devices import DeviceSpec
from farthing.theory.dtypes import DTYPE_BYTES
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import forward_flops
from farthing.theory.shapes import ModelShape
from results_file import RESULTS, save

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "article"
MODEL = "Qwen/Qwen3-Embedding-8B"
DEVICES = {"H100 SXM": "h100-sxm", "RTX 4090": "rtx-4090"}
"""The article's devices and their names in the catalog. The first one's host is the shared one."""

OUTLIER = ("RTX 4090", 260, 8)
"""A row with one 11-second run among ten. Source: docs/facts.md, Article."""

EFFICIENCIES = [step / 1000 for step in range(300, 1001)]
"""What is tried: shares of the datasheet's peak, in steps of 0.1 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One cell of the article's tables.

    Attributes:
        device: its name there.
        usd_per_hour: price of the device there.
        stated_tokens: words × 1.3.
        tokens: tokens of such a text by Qwen's tokenizer, the mean.
        concurrent: requests sent at once, one text each.
        embeddings_per_s: texts per second until the last returned.
    """

    device: str
    usd_per_hour: float
    stated_tokens: int
    tokens: float
    concurrent: int
    embeddings_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """All that is fitted: two constants of the host (seconds) and the device's share of its datasheet peak."""

    latency_s: float
    per_request_s: float
    efficiency: float


def read_points(throughput_csv: Path, tokens: Mapping[int, float]) -> list[Point]:
    """Return the article's cells with their tokens recounted (`tokens`: true ones by stated ones)."""
    with throughput_csv.open(encoding="utf-8") as file:
        return [
            Point(
                device=row["device"],
                usd_per_hour=float(row["usd_per_hour"]),
                stated_tokens=int(row["stated_tokens"]),
                tokens=tokens[int(row["stated_tokens"])],
                concurrent=int(row["concurrent_requests"]),
                embeddings_per_s=float(row["embeddings_per_s"]),
            )
            for row in csv.DictReader(file)
        ]


def recounted_tokens(result: Mapping[str, Any]) -> dict[int, float]:
    """Return true tokens by stated ones, from the kept result of article_tokens.py."""
    return {row["stated_tokens"]: row["tokens"] for row in result["article"]["lengths"]}


def latest(name: str) -> Path:
    """Return the newest kept result of this name."""
    return max(RESULTS.glob(f"{name}-*.json"))


def device_seconds(shape: ModelShape, tokens: float, spec: DeviceSpec, efficiency: float) -> float:
    """Return the device's seconds for one text in bf16: its FLOPs, but at least the time to read all weights."""
    flops = forward_flops(shape, [round(tokens)]).total
    weights = DTYPE_BYTES["bf16"] * shape.linear_parameters
    return max(flops / (efficiency * spec.peak_flops_per_s["bf16"]), weights / spec.bandwidth_bytes_per_s)


def last_returned_s(constants: Constants, device_s: float, concurrent: int, *, overlap: bool = True) -> float:
    """Return the seconds until the last of `concurrent` requests returns.

    Args:
        constants: of the host.
        device_s: the device's seconds per text.
        concurrent: requests sent at once.
        overlap: whether the host works on one text while the device works on another.
    """
    host_s = constants.per_request_s
    each_s = max(host_s, device_s) if overlap else host_s + device_s
    return constants.latency_s + device_s + (concurrent - 1) * each_s


def lone(points: Iterable[Point]) -> list[Point]:
    """Return the column N = 1."""
    return [point for point in points if point.concurrent == 1]


def saturated(points: Iterable[Point]) -> list[Point]:
    """Return the saturated column: the largest N."""
    cells = list(points)
    largest = max(point.concurrent for point in cells)
    return [point for point in cells if point.concurrent == largest]


def fitted_rate(constants: Constants, device_s: float, concurrent: int) -> float:
    """Return the texts per second of a fitted cell: of a lone request, or when requests never run out."""
    if concurrent == 1:
        return 1 / last_returned_s(constants, device_s, 1)
    return 1 / max(constants.per_request_s, device_s)


def error(point: Point, constants: Constants, shape: ModelShape, spec: DeviceSpec) -> float:
    """Return the relative error of a fitted cell, in texts per second: above 0 when too many are predicted."""
    device_s = device_seconds(shape, point.tokens, spec, constants.efficiency)
    return fitted_rate(constants, device_s, point.concurrent) / point.embeddings_per_s - 1


def fit(points: Iterable[Point], shape: ModelShape, spec: DeviceSpec) -> Constants:
    """Return the constants whose worst fitted cell is best: the least ratio, either way, to what was measured.

    Every efficiency is tried. For each, a ratio r leaves either host constant an interval; the least r that
    leaves both is found by halving.
    """
    everything = list(points)
    cells = lone(everything) + saturated(everything)
    best: tuple[float, Constants] | None = None
    for efficiency in EFFICIENCIES:
        device = [device_seconds(shape, point.tokens, spec, efficiency) for point in cells]
        low, high = 1.0, 10.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (low, middle) if _intervals(cells, device, middle) else (middle, high)
        found = _intervals(cells, device, high)
        if found and (best is None or high < best[0]):
            latency_s, per_request_s = (sum(interval) / 2 for interval in found)
            best = (
                high,
                Constants(latency_s=latency_s, per_request_s=per_request_s, efficiency=efficiency),
            )
    assert best is not None
    return best[1]


def fit_efficiency(
    points: Iterable[Point], host: Constants, shape: ModelShape, spec: DeviceSpec
) -> Constants:
    """Return another machine's host constants with this device's own efficiency, the only thing fitted.

    On the saturated column, by the least sum of ratios to what was measured: one cell that a foreign host
    cannot explain does not bend the others.
    """
    cells = saturated(points)

    def misfit(constants: Constants) -> float:
        return sum(abs(math.log(1 + error(cell, constants, shape, spec))) for cell in cells)

    return min((replace(host, efficiency=efficiency) for efficiency in EFFICIENCIES), key=misfit)


def _intervals(
    cells: Sequence[Point], device: Sequence[float], ratio: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the latencies and the seconds per request that bring every cell within `ratio`, or None."""
    latency, host = (0.0, float("inf")), (0.0, float("inf"))
    for point, device_s in zip(cells, device, strict=True):
        measured_s = 1 / point.embeddings_per_s
        least, most = measured_s / ratio, measured_s * ratio
        if point.concurrent == 1:
            latency = max(latency[0], least - device_s), min(latency[1], most - device_s)
        elif device_s > most:
            return None
        else:
            host = (host[0] if device_s >= least else max(host[0], least)), min(host[1], most)
    return (latency, host) if latency[0] <= latency[1] and host[0] <= host[1] else None


def qwen3_embedding_8b() -> ModelShape:
    """Return the shape of the article's model, from the catalog."""
    model = find_model(load_models(), MODEL)
    assert model is not None
    return shape_from_config(model.config, MODEL)


def spec_of(device: str) -> DeviceSpec:
    """Return the datasheet of one of the article's devices."""
    return find_device(load_devices(), DEVICES[device]).spec


def figures_of(
    points: Sequence[Point], shape: ModelShape, spec: DeviceSpec, shared: Constants | None
) -> dict[str, Any]:
    """Return what is kept of one device: constants, errors of the fitted cells, and every cell predicted.

    Args:
        points: its cells.
        shape: the model.
        spec: the device.
        shared: constants of the machine whose host is tried on this device too; None for that one itself.
    """
    constants = fit(points, shape, spec)
    as_stated = [replace(point, tokens=point.stated_tokens) for point in points]
    figures: dict[str, Any] = {
        "peak_flops_per_s": spec.peak_flops_per_s["bf16"],
        "bandwidth_bytes_per_s": spec.bandwidth_bytes_per_s,
        "usd_per_hour": points[0].usd_per_hour,
        **asdict(constants),
        **_column_errors(points, constants, shape, spec),
        "efficiency_if_the_stated_tokens_were_true": fit(as_stated, shape, spec).efficiency,
    }
    if shared:
        theirs = fit_efficiency(points, shared, shape, spec)
        figures["with_the_shared_host"] = {**asdict(theirs), **_column_errors(points, theirs, shape, spec)}
    return {**figures, "cells": [_cell(point, constants, shape, spec) for point in points]}


def _column_errors(
    points: Sequence[Point], constants: Constants, shape: ModelShape, spec: DeviceSpec
) -> dict[str, dict[int, float]]:
    return {
        name: {point.stated_tokens: error(point, constants, shape, spec) for point in column(points)}
        for name, column in (("lone_errors", lone), ("saturated_errors", saturated))
    }


def _cell(point: Point, constants: Constants, shape: ModelShape, spec: DeviceSpec) -> dict[str, float]:
    device_s = device_seconds(shape, point.tokens, spec, constants.efficiency)
    whole, none = (
        point.concurrent / last_returned_s(constants, device_s, point.concurrent, overlap=overlap)
        for overlap in (True, False)
    )
    return {
        "stated_tokens": point.stated_tokens,
        "tokens": point.tokens,
        "concurrent_requests": point.concurrent,
        "embeddings_per_s": point.embeddings_per_s,
        "device_s": device_s,
        "predicted_embeddings_per_s": whole,
        "without_overlap_embeddings_per_s": none,
    }


def error_table(cells: Sequence[Mapping[str, float]]) -> str:
    """Return the errors of all cells as text, a line per length and a column per N: percent, whole overlap."""
    columns = sorted({cell["concurrent_requests"] for cell in cells})
    lines = ["tokens   " + "".join(f"{f'N={n}':>8}" for n in columns)]
    for stated in sorted({cell["stated_tokens"] for cell in cells}):
        errors = {
            cell["concurrent_requests"]: cell["predicted_embeddings_per_s"] / cell["embeddings_per_s"] - 1
            for cell in cells
            if cell["stated_tokens"] == stated
        }
        lines.append(f"{stated:6d}   " + "".join(f"{errors[n]:+8.1%}" for n in columns))
    return "\n".join(lines)


def figures_of_all(points: Sequence[Point], shape: ModelShape) -> dict[str, Any]:
    """Return the figures of every device, the first one's host being the shared one."""
    devices: dict[str, Any] = {}
    shared: Constants | None = None
    for device in DEVICES:
        own = [point for point in points if point.device == device]
        devices[device] = figures_of(own, shape, spec_of(device), shared)
        shared = shared or Constants(**{name: devices[device][name] for name in Constants.__slots__})
    return devices


def main() -> None:
    """Fit both devices, print every cell's error and keep the result."""
    tokens_file = latest("article-tokens")
    tokens = recounted_tokens(json.loads(tokens_file.read_text(encoding="utf-8")))
    points = read_points(DATA / "throughput.csv", tokens)
    devices = figures_of_all(points, qwen3_embedding_8b())
    for device, figures in devices.items():
        print(device, json.dumps({key: value for key, value in figures.items() if key != "cells"}, indent=1))
        print(error_table(figures["cells"]))
    kept = {
        "source": "figures of github.com/tugot17/embeddings-economics, docs/facts.md, Article",
        "tokens_from": tokens_file.name,
        "outlier": OUTLIER,
        "devices": devices,
    }
    print(save("article-fit", kept))


if __name__ == "__main__":
    main()
