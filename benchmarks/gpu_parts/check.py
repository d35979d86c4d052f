"""Are the vectors right? Every way in which the engine runs a model, against the same weights in fp32 as written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from farthing.engine.compiled import Vectors
from farthing.engine.network.packing import Ids
from farthing.engine.quantized import quantized
from farthing.engine.torch.replica import Replica, Stream, prepared
from farthing.engine.network.transformer import Transformer
from farthing.engine.torch.varlen import Kernel, torch_kernel
from farthing.engine.torch.vector_error import vector_error
from farthing.theory.shapes import ModelShape
from gpu_parts.bench import Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import DTYPE, Subject, release
from gpu_parts.tables import markdown

REFERENCE_SHARE = 0.6
"""Share of the device's memory that the fp32 reference may take."""

Prepare = Callable[[Transformer], Replica]


def fitting_layers(shape: ModelShape, memory_bytes: int | None) -> int:
    """Return how many layers of a model fit in fp32 into `REFERENCE_SHARE` of a memory, at least one."""
    if memory_bytes is None:
        return shape.layers
    around = 4 * shape.embedding_parameters
    layer = 4 * (shape.total_parameters - shape.embedding_parameters) / shape.layers
    return max(1, min(shape.layers, int((REFERENCE_SHARE * memory_bytes - around) / layer)))


def compiler_of(bench: Bench) -> str:
    """Return what layers are compiled with: on a CPU they are only traced, and run as written."""
    return "inductor" if bench.device.cuda else "eager"


def ways(bench: Bench, kernel: Kernel | None) -> dict[str, tuple[bool, Prepare]]:
    """Return by name whether the linear layers are FP8, and what makes a replica of a model.

    Args:
        bench: the device.
        kernel: of attention without padding, where there is one.
    """
    device, compiler = bench.device.torch, compiler_of(bench)
    found: dict[str, tuple[bool, Prepare]] = {
        "bf16, as written, on a padded grid": (False, lambda model: Replica(model, device)),
        "bf16, compiled, on a padded grid": (False, lambda model: Replica(model, device, compiler=compiler)),
        "bf16, as the engine runs it": (False, lambda model: prepared(model, device, DTYPE)),
        "fp8, as written, on a padded grid": (True, lambda model: Replica(model, device)),
        "fp8, as the engine runs it": (True, lambda model: prepared(model, device, DTYPE)),
    }
    if kernel is not None:
        found["bf16, as written, without padding"] = (
            False,
            lambda model: Replica(model, device, kernel=kernel),
        )
    return found


def measure(bench: Bench, subject: Subject, _peaks: Peaks) -> dict[str, Any]:
    """Return deviation and cosines of each way to the reference."""
    return compared(bench, subject, ways(bench, torch_kernel() if bench.device.cuda else None))


def compared(bench: Bench, subject: Subject, wanted: Mapping[str, tuple[bool, Prepare]]) -> dict[str, Any]:
    """Return deviation and cosines of some ways."""
    layers = fitting_layers(subject.shape, bench.device.memory_bytes)
    mean = max(2, subject.sequence // 4)
    texts = bench.ragged(subject.shape.vocabulary, bench.sizes.check_texts, mean, subject.sequence)
    exact = _vectors(Replica(subject.transformer(torch.float32, layers), bench.device.torch), texts)
    release(bench.device)
    found: dict[str, Any] = {}
    for name, (small, prepare) in bench.budget.within(wanted.items()):
        model = subject.transformer(layers=layers)
        replica = prepare(quantized(model, "fp8") if small else model)
        found[name] = _distance(exact, _vectors(replica, texts))
        if name == "bf16, as the engine runs it":
            alone = np.concatenate([_vectors(replica, [text]) for text in texts])
            found["bf16, each text alone, small steps recorded"] = _distance(exact, alone)
        del model, replica
        release(bench.device)
    return {
        "compiler": compiler_of(bench),
        "layers": layers,
        "of_layers": subject.shape.layers,
        "lengths": [len(text) for text in texts],
        "ways": found,
    }


def _vectors(replica: Replica, texts: list[Ids]) -> Vectors:
    return Stream(replica).run(texts).copy()


def _distance(exact: Vectors, found: Vectors) -> dict[str, Any]:
    """Return cosines, and max‖a−b‖ / median‖a−mean‖, to which a lost bias is not blind (facts/cpu.md)."""
    spread = np.median(np.linalg.norm(exact - exact.mean(axis=0), axis=1))
    deviation = float(np.linalg.norm(found - exact, axis=1).max() / spread)
    return asdict(vector_error(exact, found, against="fp32")) | {"deviation": deviation}


def table(figures: dict[str, Any]) -> list[str]:
    """Return the ways as lines."""
    rows = (
        (name, f"{one['mean_cosine']:.6f}", f"{one['least_cosine']:.6f}", f"{one['deviation']:.4f}")
        for name, one in figures["ways"].items()
    )
    cut = (
        ""
        if figures["layers"] == figures["of_layers"]
        else (f", cut to {figures['layers']} of {figures['of_layers']} layers so that fp32 fits")
    )
    lengths = figures["lengths"]
    caption = (
        f"{len(lengths)} ragged texts of {min(lengths)} to {max(lengths)} tokens against the same random weights in "
        f"fp32, as written{cut}; deviation is max‖a−b‖ / median‖a−mean‖:"
    )
    return [caption, "", *markdown(("way", "mean cosine", "least cosine", "deviation"), rows)]
