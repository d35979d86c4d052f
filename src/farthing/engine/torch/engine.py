"""A checkpoint run by torch on one or several CUDA devices: the same surface as `openvino_model`.

Devices are data-parallel: each holds the whole model, and each has two streams, so that one packs while the other
runs. On a CPU it runs as written, for tests and where no graph can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count

import numpy as np
import torch

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.compiled import Mode, Vectors
from farthing.engine.torch.fp8 import runs_fp8
from farthing.engine.network.packing import Ids
from farthing.engine.prefixes import Prefixes
from farthing.engine.quantized import quantized
from farthing.engine.torch.replica import Past, Replica, Stream, prepared
from farthing.engine.torch.vector_error import vector_error
from farthing.engine.network.weights import load_transformer
from farthing.errors import InputError
from farthing.theory.devices import Dtype

DTYPES: dict[Dtype, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.bfloat16,
}
"""Dtype of the weights as they are loaded; fp8's are quantized afterwards."""

STREAMS_PER_DEVICE = 2

_ERROR_TEXTS, _ERROR_TOKENS = 32, 64
"""Texts of random ids, and their tokens, that the error of a quantized model is measured on when it is loaded."""


class TorchModel:
    """A checkpoint on devices of torch.

    Attributes:
        dtype: of the matrix products.
        dimension: width of a vector.
        streams: steps on their way at a time, over all devices.
        vector_error: how far a quantized model's vectors are from bf16's (`vector_error.VectorError`); None for one
            that is not.
    """

    def __init__(
        self, checkpoint: Checkpoint, dtype: Dtype = "bf16", devices: Sequence[str] = ("cuda:0",)
    ) -> None:
        """Load the checkpoint onto every device.

        Args:
            checkpoint: the model folder.
            dtype: fp32, bf16, fp16 or fp8.
            devices: as torch names them.

        Raises:
            InputError: a device is not here, or the dtype is none of these.
            ModelError: the weights cannot be used.
        """
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r} is not run by torch here; use {', '.join(DTYPES)}")
        self.dtype: Dtype = dtype
        self.dimension = checkpoint.dimension
        self.vector_error: Mapping[str, float | str] | None = None
        self._checkpoint = checkpoint
        self._replicas = [self._replica(_device(name)) for name in devices]
        self.streams = STREAMS_PER_DEVICE * len(self._replicas)
        self._next = count()
        self._prefixes: Prefixes[Past] = Prefixes(checkpoint)

    @property
    def devices(self) -> tuple[str, ...]:
        """What it runs on, as torch names them."""
        return tuple(str(one.device) for one in self._replicas)

    def prepare(self, mode: Mode) -> None:
        """Do nothing: every stream is for both modes."""

    def stream(self, mode: Mode = "throughput") -> Stream:
        """Return a stream, on the devices in turn; each belongs to one thread at a time."""
        return Stream(self._replicas[next(self._next) % len(self._replicas)])

    def grid_width(self, longest: int) -> int:
        """Return `longest` where attention runs on a padded grid, else 0."""
        return longest if self._replicas[0].pads_attention else 0

    def prefix(self, ids: Ids) -> tuple[Past, bool]:
        """Return the keys and values of tokens that many texts begin with, computed once and kept.

        Args:
            ids: int32 (P,), at least one token.

        Returns:
            What `Stream.run` takes, and whether it was computed just now.

        Raises:
            InputError: the model attends both ways, or its pooling reads more than the last token.
        """
        return self._prefixes.of(ids, self._keys_and_values)

    def _keys_and_values(self, ids: Ids) -> Past:
        return {one.device: one.keys_and_values(ids) for one in self._replicas}

    def _replica(self, device: torch.device) -> Replica:
        if self.dtype == "fp8":
            require_fp8(device)
        model = load_transformer(self._checkpoint, DTYPES[self.dtype]).to(device)
        if self.dtype == "fp8":
            exact = _sample_vectors(Replica(model, device))
            quantized(model, "fp8")
            error = vector_error(exact, _sample_vectors(Replica(model, device)), against="bf16")
            self.vector_error = asdict(error)
        return prepared(model, device, DTYPES[self.dtype])


def require_fp8(device: torch.device) -> None:
    """Refuse a card without FP8 units: it would run the same numbers slower than bf16. A processor emulates them.

    Raises:
        InputError: the card has none.
    """
    if device.type == "cuda" and not runs_fp8(device):
        raise InputError(
            f"dtype fp8: {device} has no FP8 units (NVIDIA has them since Ada and Hopper); use bf16"
        )


def _device(name: str) -> torch.device:
    """Return a device that is here.

    Raises:
        InputError: it is not.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r}: torch knows no such device") from error
    if device.type == "cuda":
        here = torch.cuda.device_count()
        index = device.index or 0
        if index >= here:
            raise InputError(f"device {name!r}: torch sees {here} CUDA devices here; is a driver missing?")
        return torch.device("cuda", index)
    return device


def _sample_vectors(replica: Replica) -> Vectors:
    """Return the vectors of random ids, (texts, dimension)."""
    generator = np.random.default_rng(0)
    vocabulary = replica.model.shape.vocabulary
    texts = [generator.integers(0, vocabulary, _ERROR_TOKENS, np.int32) for _ in range(_ERROR_TEXTS)]
    return Stream(replica).run(texts).copy()
