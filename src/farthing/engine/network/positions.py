"""Relative positions as biases on the scores, worked out for every distance before anything runs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

RELATIVE_REACH = 128
"""Distance from which on relative positions share a bucket. Source: transformers, MPNetEncoder."""


def biases_by_distance(table: npt.NDArray[np.float32], longest: int) -> npt.NDArray[np.float32]:
    """Return (2 · longest − 1, heads): the bias of a key that stands `row + 1 − longest` tokens behind its query.

    Args:
        table: (buckets, heads).
        longest: most tokens of a text.

    Source: Raffel et al. 2020, in buckets that grow with the distance, both ways, as MPNet has it.
    """
    ahead = np.arange(1 - longest, longest)
    half = len(table) // 2
    exact = half // 2
    far = np.maximum(np.abs(ahead), 1).astype(np.float32)
    grown = exact + (np.log(far / exact) / math.log(RELATIVE_REACH / exact) * (half - exact)).astype(np.int64)
    bucket = np.where(np.abs(ahead) < exact, np.abs(ahead), np.minimum(grown, half - 1))
    found: npt.NDArray[np.float32] = table[bucket + (ahead > 0) * half]
    return found
