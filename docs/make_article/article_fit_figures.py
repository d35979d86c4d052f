"""What two host constants and one efficiency make of the article's 88 points, as printed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from article_material import H100, RTX4090, STATED, Material

ALLOWED = 0.1


def fit_figures(m: Material) -> SimpleNamespace:
    """Return the figures of the section on the fit."""
    devices: dict[str, Any] = m.fit["devices"]
    h100, rtx = devices[H100], devices[RTX4090]
    shared = rtx["with_the_shared_host"]
    outlier = tuple(m.fit["outlier"])
    errors = {
        (device, int(cell["stated_tokens"]), int(cell["concurrent_requests"])): error_of(cell)
        for device in devices
        for cell in m.cells(device)
    }
    missed = {key: error for key, error in errors.items() if abs(error) > ALLOWED and key != outlier}
    worst = max(missed, key=lambda key: abs(missed[key]))
    ratios = sorted(rtx[key] / h100[key] for key in ("latency_s", "per_request_s"))
    return SimpleNamespace(
        rows="\n".join(_row(device, fitted) for device, fitted in devices.items()),
        error_tables="\n\n".join(_error_table(device, m.cells(device)) for device in devices),
        points=len(errors),
        within=sum(abs(error) <= ALLOWED for error in errors.values()),
        bracketed=sum(_bracketed(cell) for device in devices for cell in m.cells(device)),
        worst_cell=_named(worst),
        worst_error=missed[worst],
        worst_from_64=max(abs(error) for (_, _, n), error in errors.items() if n >= 64),
        misses_as_said=all(
            error > 0 and stated <= STATED and 4 <= n <= 32 for (_, stated, n), error in missed.items()
        ),
        outlier_cell=_named(outlier),
        outlier_error=errors[outlier],
        worst=max(_worst(fitted, column) for fitted in devices.values() for column in COLUMNS),
        h100_worst=max(_worst(h100, column) for column in COLUMNS),
        h100_tflops=m.sustained(H100) / 1e12,
        h100_efficiency=h100["efficiency"],
        h100_latency_ms=h100["latency_s"] * 1e3,
        h100_cells=sum(len(h100[column]) for column in COLUMNS),
        rtx_tflops=m.sustained(RTX4090) / 1e12,
        rtx_efficiency=rtx["efficiency"],
        rtx_stated=rtx["efficiency_if_the_stated_tokens_were_true"],
        rtx_cells=sum(len(rtx[column]) for column in COLUMNS),
        host_ratio_low=ratios[0],
        host_ratio_high=ratios[1],
        shared_260=shared["saturated_errors"]["260"],
        shared_rest=max(abs(error) for key, error in shared["saturated_errors"].items() if key != "260"),
        shared_lone=max(shared["lone_errors"].values()),
        device_260_ms=m.cell(H100, 260, 1)["device_s"] * 1e3,
        device_1040_ms=m.cell(H100, STATED, 1)["device_s"] * 1e3,
        device_5200_ms=m.cell(H100, 5200, 1)["device_s"] * 1e3,
    )


COLUMNS = ("lone_errors", "saturated_errors")


def error_of(cell: dict[str, float]) -> float:
    """Return the relative error of a cell, host and device overlapping wholly: above 0 is too fast."""
    return cell["predicted_embeddings_per_s"] / cell["embeddings_per_s"] - 1


def _bracketed(cell: dict[str, float]) -> bool:
    low, high = cell["without_overlap_embeddings_per_s"], cell["predicted_embeddings_per_s"]
    return low * (1 - ALLOWED) <= cell["embeddings_per_s"] <= high * (1 + ALLOWED)


def _worst(fitted: dict[str, Any], column: str) -> float:
    return max(abs(float(error)) for error in fitted[column].values())


def _named(key: tuple[str, int, int]) -> str:
    device, stated, concurrent = key
    return f"{device}, {stated} × {concurrent}"


def _row(device: str, fitted: dict[str, Any]) -> str:
    tflops = fitted["efficiency"] * fitted["peak_flops_per_s"] / 1e12
    lone, saturated = (max(fitted[column].values(), key=abs) for column in COLUMNS)
    return (
        f"| {device} | {fitted['latency_s'] * 1e3:.1f} ms | {fitted['per_request_s'] * 1e3:.1f} ms | "
        f"{fitted['efficiency']:.1%} of the peak, {tflops:.0f} TFLOP/s | {lone:+.1%} | {saturated:+.1%} |"
    )


def _error_table(device: str, cells: list[dict[str, float]]) -> str:
    columns = sorted({int(cell["concurrent_requests"]) for cell in cells})
    lines = [f"| {device} | {' | '.join(f'N = {n}' for n in columns)} |", f"|---|{'---:|' * len(columns)}"]
    for stated in sorted({int(cell["stated_tokens"]) for cell in cells}):
        row = [cell for cell in cells if cell["stated_tokens"] == stated]
        errors = [error_of(cell) for cell in sorted(row, key=lambda cell: cell["concurrent_requests"])]
        shown = [f"**{error:+.0%}**" if abs(error) > ALLOWED else f"{error:+.0%}" for error in errors]
        lines.append(f"| {stated} ({row[0]['tokens']:.0f}) | {' | '.join(shown)} |")
    return "\n".join(lines)
