"""The formats that vectors leave in: cut to fewer dimensions, and as floats, 8-bit integers or bits.

The integers and bits are those of sentence-transformers' `quantize_embeddings`, so either library reads the other's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from farthing.errors import InputError

Precision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Vectors = npt.NDArray[np.float32]
Values = npt.NDArray[Any]
"""Vectors in one of the formats; which dtype and width follows from the format."""

_STEPS = 255
_SIGN_OFFSET = 128
_SIGN_BIT = np.uint8(_SIGN_OFFSET)
"""A byte with this bit turned over is the byte − 128, read as signed."""

_VALUE_TYPES: dict[Precision, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}


@dataclass(frozen=True, slots=True, eq=False)
class VectorFormat:
    """How vectors are written down, and how to read them again.

    Attributes:
        precision: `float32`, `float16`, `int8`, `uint8` (a step of 1/255 of each dimension's range), `ubinary` (a bit
            for each dimension, set where it is positive, eight in a byte) or `binary` (those bytes − 128).
        dimension: of the vectors, which `binary` and `ubinary` hold in an eighth as many bytes.
        ranges: float32 (2, dimension), the least and the greatest value of each dimension; int8 and uint8 only.
    """

    precision: Precision
    dimension: int
    ranges: Vectors | None = None

    @property
    def needs_ranges(self) -> bool:
        """Whether values mean nothing without ranges."""
        return self.precision in ("int8", "uint8")

    @property
    def value_type(self) -> np.dtype[Any]:
        """Type of one value."""
        return np.dtype(_VALUE_TYPES[self.precision])

    @property
    def width(self) -> int:
        """Values in one vector."""
        return (self.dimension + 7) // 8 if self.precision in ("binary", "ubinary") else self.dimension

    def quantized(self, vectors: Vectors) -> Values:
        """Return vectors (n, dimension) in this format, (n, width); what lies outside is clipped.

        Source: sentence-transformers 6.2, util/quantization.py, `quantize_embeddings`: the same to the bit.
        """
        match self.precision:
            case "float32":
                return vectors
            case "float16":
                most = np.finfo(np.float16).max
                return np.clip(vectors, -most, most).astype(np.float16)
            case "ubinary":
                return np.packbits(vectors > 0, axis=-1)
            case "binary":
                return np.bitwise_xor(np.packbits(vectors > 0, axis=-1), _SIGN_BIT).view(np.int8)
        least, _ = self._ranges()
        steps = self._steps()
        with np.errstate(over="ignore"):  # far outside a very narrow range: clipped below
            levels = (vectors - least) / np.where(steps == 0, np.float32(1), steps)
        np.clip(np.floor(levels, out=levels), 0, _STEPS, out=levels)
        if self.precision == "int8":
            levels -= _SIGN_OFFSET
        values: Values = levels.astype(self.value_type)
        return values

    def floats(self, values: Values) -> Vectors:
        """Return float32 vectors (n, dimension) from values (n, width).

        int8 and uint8 give the middle of their step, so values inside the range come back within half of one. A bit
        gives 1 or −1: the direction, not the length.
        """
        if self.precision in ("binary", "ubinary"):
            packed: npt.NDArray[np.uint8] = values.view(np.uint8)
            if self.precision == "binary":
                packed = np.bitwise_xor(packed, _SIGN_BIT)
            bits = np.unpackbits(packed, axis=-1, count=self.dimension)
            return bits.astype(np.float32) * 2 - 1
        floats = values.astype(np.float32)
        if self.needs_ranges:
            least, greatest = self._ranges()
            if self.precision == "int8":
                floats += _SIGN_OFFSET
            floats = np.minimum(least + (floats + np.float32(0.5)) * self._steps(), greatest)
        return floats

    def outside(self, vectors: Vectors) -> int:
        """Return how many values `quantized` would clip: those outside the ranges, or beyond what float16 holds."""
        if self.precision == "float16":
            return int(np.count_nonzero(np.abs(vectors) > np.finfo(np.float16).max))
        if not self.needs_ranges:
            return 0
        least, greatest = self._ranges()
        return int(np.count_nonzero(vectors < least) + np.count_nonzero(vectors > greatest))

    def _ranges(self) -> Vectors:
        assert self.ranges is not None, f"{self.precision} without ranges"
        return self.ranges

    def _steps(self) -> Vectors:
        least, greatest = self._ranges()
        return cast(Vectors, (greatest - least) / _STEPS)


def require_precision(name: str) -> Precision:
    """Return a precision by name.

    Raises:
        InputError: there is no such precision.
    """
    if not isinstance(name, str) or name not in PRECISIONS:
        raise InputError(f"precision {name!r}: use one of {', '.join(PRECISIONS)}")
    return name


def require_ranges(ranges: npt.ArrayLike, dimension: int) -> Vectors:
    """Return ranges that a user gave, as float32 (2, dimension).

    Raises:
        InputError: they have another shape, are not finite, or a greatest value is below its least.
    """
    try:
        array = np.asarray(ranges, np.float32)
    except (TypeError, ValueError):
        raise InputError(
            f"ranges is {str(ranges)[:100]!r}: give an array of numbers of shape (2, {dimension})"
        ) from None
    if array.shape != (2, dimension):
        raise InputError(
            f"ranges have shape {array.shape}, not (2, {dimension}): give the least and the greatest value of each "
            "dimension"
        )
    if not np.isfinite(array).all() or (array[0] > array[1]).any():
        raise InputError("ranges: each least value must be finite and at most the greatest")
    return array


def ranges_of(vectors: Vectors) -> Vectors:
    """Return the ranges of a sample of vectors (n, dimension): float32 (2, dimension).

    Raises:
        InputError: there are fewer than two vectors, whose range would be no range.
    """
    require_sample(len(vectors))
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def require_sample(texts: int) -> None:
    """Check that there are texts enough to take ranges from.

    Raises:
        InputError: there are fewer than two.
    """
    if texts < 2:
        raise InputError(
            "int8 and uint8 take the range of each dimension from the texts: give at least 2 texts, or `ranges`"
        )


def cut(vectors: Vectors, dimension: int) -> Vectors:
    """Return the first dimensions of vectors (n, d), as a Matryoshka model is meant to be cut."""
    return vectors if dimension == vectors.shape[1] else np.ascontiguousarray(vectors[:, :dimension])


def unit(vectors: Vectors) -> Vectors:
    """Return vectors (n, d) scaled to length one; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return cast(Vectors, vectors / np.maximum(norms, np.finfo(np.float32).tiny))
