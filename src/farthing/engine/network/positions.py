"""Relative positions as biases on the scores, worked out for every distance before anything runs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from farthing.theory.shapes import ModelShape

BIASES = "relative.table.weight"
"""Name of the table of biases, (buckets, heads), among the weights."""

Biases = npt.NDArray[np.float32]


def biases_by_distance(shape: ModelShape, table: Biases | None) -> Biases | None:
    """Return what scores get by distance, (2 · longest − 1, heads), of the model's longest text; None for nothing.

    A row is for keys that stand `row + 1 − longest` tokens behind their query.

    Args:
        shape: the model.
        table: as `BIASES`, where the model has one.
    """
    ahead = np.arange(1 - shape.max_positions, shape.max_positions)
    if shape.positions == "alibi":
        return -np.abs(ahead)[:, None].astype(np.float32) * _slopes(shape.heads)
    return None if table is None else _bucketed(table, ahead, shape.relative_distance)


def _slopes(heads: int) -> Biases:
    """Return what each head takes for a token of distance, (heads,).

    Source: Press et al. 2022: a geometric series where heads are a power of two, else that of the power below, with
    every second one of the power above.
    """
    power = 1 << (heads.bit_length() - 1)
    own = 2.0 ** (-8 / power * np.arange(1, power + 1))
    between = 2.0 ** (-4 / power * np.arange(1, 2 * power + 1, 2))
    return np.concatenate((own, between))[:heads].astype(np.float32)


def _bucketed(table: Biases, ahead: npt.NDArray[np.int64], reach: int) -> Biases:
    """Return the biases of some distances, from a table in buckets that grow with them, both ways.

    Source: Raffel et al. 2020, and transformers' `MPNetEncoder` and `T5Attention`.
    """
    half = len(table) // 2
    exact = half // 2
    far = np.maximum(np.abs(ahead), 1).astype(np.float32)
    grown = exact + (np.log(far / exact) / math.log(reach / exact) * (half - exact)).astype(np.int64)
    bucket = np.where(np.abs(ahead) < exact, np.abs(ahead), np.minimum(grown, half - 1))
    found: Biases = table[bucket + (ahead > 0) * half]
    return found
