"""The ways in which a checkpoint is run here: both op sets, with padding and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from farthing.engine.contract import Engine, Lane, Mode
from farthing.engine.folder.checkpoint import Checkpoint, Pooling, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.openvino.engine import OpenVinoEngine
from farthing.engine.torch.engine import Means, TorchEngine
from farthing.engine.torch.varlen import Kernel, has_plain_scores
from varlen_kernel import varlen_2_13


def torch_on_grid(checkpoint: Checkpoint) -> TorchEngine:
    return TorchEngine(checkpoint, "fp32", "cpu")


def torch_on_tokens(checkpoint: Checkpoint) -> TorchEngine:
    """Return the engine of a card, its kernel by what stands for it; on the grid where the kernel cannot be used."""
    kernel = Kernel(varlen_2_13) if has_plain_scores(checkpoint.shape) else None
    return TorchEngine(checkpoint, "fp32", "cpu", means=Means(kernel))


WAYS: dict[str, tuple[Callable[[Checkpoint], Engine], Mode]] = {
    "torch, on a grid": (torch_on_grid, "throughput"),
    "torch, on tokens": (torch_on_tokens, "throughput"),
    "openvino, packed": (OpenVinoEngine, "throughput"),
    "openvino, dense": (OpenVinoEngine, "latency"),
}
"""What makes an engine, and the mode of its lane."""


def lane_of(way: str, checkpoint: Checkpoint) -> Lane:
    """Return a lane of a new engine."""
    engine_of, mode = WAYS[way]
    return engine_of(checkpoint).lane(mode)


def checkpoint_of(folder: Path, pooling: Pooling, *, normalize: bool = False) -> Checkpoint:
    """Return a folder's checkpoint with another pooling."""
    return replace(read_checkpoint(locate_model(str(folder))), pooling=pooling, normalize=normalize)
