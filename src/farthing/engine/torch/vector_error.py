"""How far vectors are from those of the same model in a wider dtype. Knows arrays; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farthing.errors import EngineError
from farthing.theory.devices import Dtype


@dataclass(frozen=True, slots=True)
class VectorError:
    """How far vectors are from those of the same model in a wider dtype.

    Attributes:
        mean_cosine: mean over the texts of the cosine between both vectors.
        least_cosine: the smallest of them.
        texts: how many texts were measured.
        against: dtype of the other vectors.
    """

    mean_cosine: float
    least_cosine: float
    texts: int
    against: Dtype


def vector_error(
    reference: npt.NDArray[np.floating], found: npt.NDArray[np.floating], against: Dtype
) -> VectorError:
    """Return how far vectors are from others of the same texts.

    Args:
        reference: (texts, dimension), of any length.
        found: of the same shape.
        against: dtype that `reference` was computed in.

    Raises:
        EngineError: no texts, other shapes, or a vector that is zero or not finite: it has no direction.
    """
    if reference.shape != found.shape or reference.ndim != 2 or not len(found):
        raise EngineError(f"vectors of shapes {reference.shape} and {found.shape} cannot be compared")
    wide, other = reference.astype(np.float64), found.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(other, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise EngineError("a vector to compare is zero or not finite; it has no direction")
    cosines = (wide * other).sum(axis=1) / lengths
    return VectorError(float(cosines.mean()), float(cosines.min()), len(cosines), against)
