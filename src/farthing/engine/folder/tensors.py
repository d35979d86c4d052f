"""Tensors of safetensors files as numpy arrays over the mapped file: nothing is read before it is used.

The format is read here and not by its library, which copies what it gives to numpy, and gives it no bf16.
Source: huggingface.co/docs/safetensors: 8 bytes of length, little-endian, so much JSON, then the tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from farthing.errors import ModelError

Array = npt.NDArray[Any]

_TYPES: dict[str, type[np.generic]] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
}
"""How numpy reads the types that weights come in; bf16 as its 16 bits."""

_INTEGERS: dict[str, type[np.generic]] = {"I8": np.int8, "I32": np.int32, "I64": np.int64}
"""Types that static models have tables and indices in besides."""

_MOST_HEADER_BYTES = 100_000_000
"""The format's own limit. Source: the safetensors crate, MAX_HEADER_SIZE."""


class TensorFile:
    """A safetensors file, mapped. Arrays that it gives hold the mapping."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            ModelError: the file is missing, damaged or cut off.
        """
        self.path = path
        try:
            # Copy on write: OpenVINO refuses memory that is read-only.
            self._bytes = np.memmap(path, np.uint8, "c")
            length = int.from_bytes(self._bytes[:8].tobytes(), "little")
            if not 0 < length <= min(_MOST_HEADER_BYTES, self._bytes.size - 8):
                raise ValueError("its header is longer than the file")
            self._start = 8 + length
            header = json.loads(self._bytes[8 : self._start].tobytes())
            header.pop("__metadata__", None)
            self._entries = {name: self._entry(entry) for name, entry in header.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(
                f"{path}: cannot be read as safetensors: {error}; fetch the model again"
            ) from error

    def _entry(self, entry: Mapping[str, Any]) -> tuple[str, tuple[int, ...], int, int]:
        kind, (first, last) = str(entry["dtype"]), entry["data_offsets"]
        shape = tuple(int(size) for size in entry["shape"])
        if not 0 <= first <= last <= self._bytes.size - self._start or min(shape, default=0) < 0:
            raise ValueError(f"a tensor lies at {first} to {last}, outside the file")
        known = _TYPES.get(kind) or _INTEGERS.get(kind)
        if known is not None and math.prod(shape) * np.dtype(known).itemsize != last - first:
            raise ValueError(f"a tensor of shape {shape} in {kind} has {last - first} bytes")
        return kind, shape, first, last

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the tensors."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        """Say whether there is a tensor of that name."""
        return name in self._entries

    @property
    def kinds(self) -> set[str]:
        """The types that its tensors are stored in, as the format names them."""
        return {kind for kind, *_ in self._entries.values()}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._entries[name][1]

    def array(self, name: str, *, integers: bool = False) -> Array:
        """Return a tensor as it is stored; bf16 as uint16.

        Args:
            name: of the tensor.
            integers: whether it may be of whole numbers.

        Raises:
            ModelError: it is of a type that weights do not come in.
        """
        kind, shape, first, last = self._entries[name]
        types = _TYPES | _INTEGERS if integers else _TYPES
        if kind not in types:
            raise ModelError(
                f"{self.path}: tensor {name} is of type {kind}; weights are F32, F16, BF16 or F64"
            )
        return self._bytes[self._start + first : self._start + last].view(types[kind]).reshape(shape)


def as_float32(stored: Array) -> npt.NDArray[np.float32]:
    """Return what `TensorFile.array` gives as float32: the same memory where it is that already."""
    if stored.dtype == np.uint16:  # bf16 is the upper half of a float32
        wide = np.empty(stored.shape, np.uint32)
        np.left_shift(stored, 16, out=wide, dtype=np.uint32)
        return wide.view(np.float32)
    return stored.astype(np.float32, copy=False)


def is_finite(values: npt.NDArray[np.float32]) -> bool:
    """Say whether all numbers are finite, without another array of their number."""
    flat = values.reshape(-1)
    # A sum of squares tells in one pass, unless finite ones overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(flat, flat))
    return math.isfinite(total) or bool(np.isfinite(flat).all())
