"""Are the vectors right? Every way in which the engine runs a model, against the same weights in fp32 as written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from farthing.engine.contract import Ids, Vectors
from farthing.engine.torch.engine import DTYPES, Means, TorchEngine
from farthing.engine.torch.fp8 import vector_error
from farthing.engine.torch.varlen import Kernel, kernel_for
from farthing.theory.dtypes import Dtype
from farthing.theory.shapes import ModelShape
from gpu_parts.bench import Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject, release
from gpu_parts.tables import markdown

REFERENCE_SHARE = 0.6
"""Share of the device's memory that the fp32 reference may take."""

Ways = Mapping[str, tuple[Dtype, Means | None]]
"""By name, the dtype of the products and what makes an engine fast; None for its own choice."""


def fitting_layers(shape: ModelShape, memory_bytes: int | None) -> int:
    """Return how many layers of a model fit in fp32 into `REFERENCE_SHARE` of a memory, at least one."""
    if memory_bytes is None:
        return shape.layers
    around = 4 * shape.embedding_parameters
    layer = 4 * (shape.total_parameters - shape.embedding_parameters) / shape.layers
    return max(1, min(shape.layers, int((REFERENCE_SHARE * memory_bytes - around) / layer)))


def compiler_of(bench: Bench) -> str:
    """Return what the network is compiled with: on a CPU it is only traced, and runs as written."""
    return "inductor" if bench.device.cuda else "eager"


def ways(bench: Bench, kernel: Kernel | None) -> Ways:
    """Return the ways of running a model.

    Args:
        bench: the device.
        kernel: of attention without padding, where there is one.
    """
    found: dict[str, tuple[Dtype, Means | None]] = {
        "bf16, as written, on a padded grid": ("bf16", Means()),
        "bf16, compiled, on a padded grid": ("bf16", Means(compiler=compiler_of(bench))),
        "bf16, as the engine runs it": ("bf16", None),
        "fp8, as written, on a padded grid": ("fp8", Means()),
        "fp8, as the engine runs it": ("fp8", None),
    }
    if kernel is not None:
        found["bf16, as written, without padding"] = "bf16", Means(kernel)
    return found


def measure(bench: Bench, subject: Subject, _peaks: Peaks) -> dict[str, Any]:
    """Return deviation and cosines of each way to the reference."""
    return compared(
        bench, subject, ways(bench, kernel_for(subject.shape, DTYPES["bf16"], bench.device.torch))
    )


def compared(bench: Bench, subject: Subject, wanted: Ways) -> dict[str, Any]:
    """Return deviation and cosines of some ways."""
    layers = fitting_layers(subject.shape, bench.device.memory_bytes)
    mean = max(2, subject.sequence // 4)
    texts = bench.ragged(subject.shape.vocabulary, bench.sizes.check_texts, mean, subject.sequence)
    exact = _vectors(subject.new_engine("fp32", layers=layers, means=Means()), texts)
    release(bench.device)
    found: dict[str, Any] = {}
    for name, (dtype, means) in bench.budget.within(wanted.items()):
        engine = subject.new_engine(dtype, layers=layers, means=means)
        found[name] = _distance(exact, _vectors(engine, texts))
        if name == "bf16, as the engine runs it":
            alone = np.concatenate([_vectors(engine, [text]) for text in texts])
            found["bf16, each text alone, small steps recorded"] = _distance(exact, alone)
        engine.close()
        release(bench.device)
    return {
        "compiler": compiler_of(bench),
        "layers": layers,
        "of_layers": subject.shape.layers,
        "lengths": [len(text) for text in texts],
        "ways": found,
    }


def _vectors(engine: TorchEngine, texts: list[Ids]) -> Vectors:
    done = engine.lane().run(texts)
    for error in done.failed.values():
        raise error
    return done.vectors


def _distance(exact: Vectors, found: Vectors) -> dict[str, Any]:
    """Return cosines, and max‖a−b‖ / median‖a−mean‖, to which a lost bias is not blind."""
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
