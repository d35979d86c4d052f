"""What the theory says of each part, from the datasheet alone: written down before anything is measured.

Afterwards each prediction is set beside what was measured. A prediction is never written twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from farthing.catalog.load import load_devices
from farthing.catalog.lookups import find_device
from farthing.theory.devices import DeviceSpec
from farthing.theory.flops import forward_flops
from farthing.theory.generation import generation
from farthing.theory.time.efficiency import is_attention
from farthing.theory.time.roofline import datasheet_rates, mfu
from farthing.theory.time.steps import StepModel
from gpu_parts.bench import Bench
from gpu_parts.grid import cells
from gpu_parts.models import Subject
from gpu_parts.tables import markdown, number

_DEVICES = (
    ("H100 PCIe", "h100-pcie"),
    ("H100 NVL", None),
    ("GH200", None),
    ("H100", "h100-sxm"),
    ("H200 NVL", None),
    ("H200", "h200"),
    ("GB200", "gb200"),
    ("B200", "b200"),
    ("B300", "b300"),
    ("A100-SXM4-80GB", "a100-80g"),
    ("A100-SXM4-40GB", "a100-40g"),
    ("L40S", "l40s"),
    ("NVIDIA L4", "l4"),
    ("NVIDIA A10", "a10"),
    ("Tesla T4", "t4"),
    ("V100", "v100"),
    ("RTX 3090", "rtx-3090"),
    ("RTX 4090", "rtx-4090"),
    ("RTX 5090", "rtx-5090"),
    ("RTX 6000 Ada", "rtx-6000-ada"),
    ("RTX PRO 6000", "rtx-pro-6000"),
)
"""What torch's name of a device contains, and the catalog's name; None where the catalog has no such card."""

_TORCH_WORDS = frozenset({"L4", "A10"})


def catalog_device(torch_name: str) -> str | None:
    """Return the catalog's name of the device that torch calls so; None where it has none."""
    words = torch_name.split()
    for part, device in _DEVICES:
        short = part.removeprefix("NVIDIA ")
        if short in words if short in _TORCH_WORDS else part in torch_name:
            return device
    return None


def predictions(bench: Bench, subject: Subject, device: str | None) -> dict[str, Any]:
    """Return the predictions for a model; without a datasheet only why there are none.

    Args:
        bench: the sizes that will be measured.
        subject: the model.
        device: name in the catalog.
    """
    written = {"written_at": datetime.now(UTC).isoformat(timespec="seconds"), "device": device}
    if device is None:
        return written | {"none": "the catalog has no datasheet of this device"}
    spec = find_device(load_devices(), device).spec
    steps = StepModel(subject.shape, datasheet_rates(spec, "bf16"))
    return written | {
        "source": steps.basis_source,
        "best_product_flops_per_s": steps.rates.achievable_flops_per_s,
        "steps": {
            f"uniform {batch}×{length}": _step(steps, batch, length)
            for batch, length in cells(bench.sizes, subject.shape, subject.most_tokens)
        },
        "shares": _shares(steps, subject.sequence),
        "saturation_tokens": steps.saturation_tokens(subject.sequence),
        "sequence_gains": {
            str(n): n * steps.seconds(1, subject.sequence).mid / steps.seconds(n, subject.sequence).mid
            for n in bench.sizes.sequences
        },
        "fp8_speedups": _fp8_speedups(bench, subject, spec),
        "decode": _decode(bench, subject, steps),
    }


def _step(steps: StepModel, batch: int, length: int) -> dict[str, float]:
    seconds, rates = steps.seconds(batch, length), steps.rates
    flops = forward_flops(steps.shape, [length] * batch).total
    return {
        "low_s": seconds.low,
        "mid_s": seconds.mid,
        "high_s": seconds.high,
        "tokens_per_s": batch * length / seconds.mid,
        "mfu": mfu(flops, seconds.mid, rates.achievable_flops_per_s),
    }


def _shares(steps: StepModel, length: int) -> dict[str, float]:
    """Return the shares of GEMM, attention and rest of one text's kernels."""
    seconds = {"gemm": 0.0, "attention": 0.0, "rest": 0.0}
    for kernel in steps.kernel_times(1, length):
        operation = kernel.operation
        group = "attention" if is_attention(operation) else "gemm" if operation.flops else "rest"
        seconds[group] += kernel.seconds
    return {group: spent / sum(seconds.values()) for group, spent in seconds.items()}


def _fp8_speedups(bench: Bench, subject: Subject, spec: DeviceSpec) -> dict[str, float]:
    """Return bf16's seconds over FP8's at each batch; nothing where the datasheet has no FP8."""
    if "fp8" not in spec.peak_flops_per_s:
        return {}
    wide, small = (StepModel(subject.shape, datasheet_rates(spec, dtype)) for dtype in ("bf16", "fp8"))
    length = subject.sequence
    return {
        f"{batch}×{length}": wide.seconds(batch, length).mid / small.seconds(batch, length).mid
        for batch in bench.sizes.batches
    }


def _decode(bench: Bench, subject: Subject, steps: StepModel) -> dict[str, Any]:
    """Return each decode step's seconds and what bounds it; nothing for a model that cannot write."""
    if not subject.shape.causal:
        return {}
    found = {}
    for context in bench.sizes.contexts:
        made = generation(steps, context, bench.sizes.decode_batches)
        assert made is not None
        for step in made.decode:
            found[f"{step.batch}×{context}"] = {"seconds": step.seconds, "bound": step.bound}
    return found


def compared(predicted: dict[str, Any], parts: dict[str, Any]) -> dict[str, float]:
    """Return measured over predicted for all that was both, by name."""
    if "none" in predicted:
        return {}
    return {
        name: measured / expected
        for name, measured, expected in _pairs(predicted, parts)
        if measured is not None and expected
    }


def _pairs(predicted: dict[str, Any], parts: dict[str, Any]) -> Iterator[tuple[str, float | None, float]]:
    """Yield (name, measured, predicted)."""
    if "matmuls" in parts and "bf16" in parts["matmuls"]["dtypes"]:
        best = parts["matmuls"]["dtypes"]["bf16"]["best_flops_per_s"]
        yield "best product, FLOP/s", best, predicted["best_product_flops_per_s"]
    for name, step in predicted["steps"].items():
        cell = parts.get("grid", {}).get("cells", {}).get(name)
        if cell:
            yield f"step {name}, s", cell["step_s"], step["mid_s"]
            yield f"tokens/s {name}", cell["farthing"]["tokens_per_s"], step["tokens_per_s"]
    for name, cell in parts.get("gemm", {}).get("cells", {}).items():
        if cell["batch"] == 1:
            busy = sum(cell["kernel_s"].values())
            for group, spent in cell["kernel_s"].items():
                yield f"share of {group} {name}", spent / busy, predicted["shares"][group]
    line = parts.get("saturation", {}).get("lines", {}).get("device_s")
    if line:
        yield "n*, tokens", line["saturation_tokens"], predicted["saturation_tokens"]
    for count, gain in parts.get("saturation", {}).get("gains", {}).items():
        yield f"gain of {count} sequences", gain, predicted["sequence_gains"].get(count, 0.0)
    for name, cell in parts.get("fp8", {}).get("cells", {}).items():
        yield f"FP8's speed-up {name}", cell["speedup"], predicted["fp8_speedups"].get(name, 0.0)
    for name, step in parts.get("decode", {}).get("steps", {}).items():
        if name in predicted["decode"]:
            yield f"decode {name}, s", step.get("seconds"), predicted["decode"][name]["seconds"]


def table(predicted: dict[str, Any], parts: dict[str, Any]) -> list[str]:
    """Return measured over predicted as lines."""
    if "none" in predicted:
        return [f"No prediction: {predicted['none']}."]
    rows = (
        (name, number(expected), number(measured), f"{measured / expected:.2f}")
        for name, measured, expected in _pairs(predicted, parts)
        if measured is not None and expected
    )
    caption = f"Written {predicted['written_at']}, for {predicted['device']}: {predicted['source']}."
    return [caption, "", *markdown(("what", "predicted", "measured", "measured / predicted"), rows)]
