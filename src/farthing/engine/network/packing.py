"""The arrays of a step: the tokens of its texts one after another, and where they stand on a grid.

Linear layers run on the tokens; only attention may see a grid, a row for each text, through two tables of indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from farthing.engine.contract import Ids

_PLACES = 16
"""Places of a row that attention's kernels take together: as many fp32 numbers as AVX-512 has in a register."""


class PackedStep(NamedTuple):
    """The arrays of one step over B texts with T tokens, the longest of S.

    Attributes:
        ids: int32 (T,), token ids of all texts, one after another.
        positions: int32 (T,), place of each token in its text, from 0.
        slots: int32 (B, S), index into the tokens for each place of the grid; 0 where there is none.
        places: int32 (T,), index into the flattened grid for each token.
        lengths: int32 (B,), tokens of each text, all ≥ 1.
    """

    ids: Ids
    positions: Ids
    slots: Ids
    places: Ids
    lengths: Ids


def packed(texts: Sequence[Ids], width: int | None = None) -> PackedStep:
    """Return the step of some texts.

    Args:
        texts: token ids of each text, int32 (tokens,), at least one text and one token each.
        width: of the grid, S, where it must be more than the longest text has.
    """
    lengths = np.fromiter(map(len, texts), np.int32, len(texts))
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    grid = np.arange(width or int(lengths.max()), dtype=np.int32)
    filled = grid < lengths[:, None]
    return PackedStep(
        ids=np.concatenate(texts, dtype=np.int32),
        positions=np.broadcast_to(grid, filled.shape)[filled],
        slots=np.where(filled, starts[:, None] + grid, np.int32(0)),
        places=np.flatnonzero(filled).astype(np.int32),
        lengths=lengths,
    )


def padded(texts: Sequence[Ids], width: int) -> tuple[Ids, Ids, Ids, Ids]:
    """Return ids (B·S,), positions (B·S,), slots (B, S) and lengths (B,) of texts padded to one width, S."""
    lengths = list(map(len, texts))
    ids = np.zeros((len(texts), width), np.int32)
    for row, one in enumerate(texts):
        ids[row, : len(one)] = one
    return ids.reshape(-1), *_places(len(texts), width, max(lengths)), np.array(lengths, np.int32)


@lru_cache(maxsize=128)
def _places(texts: int, width: int, longest: int) -> tuple[Ids, Ids]:
    """Return positions (B·S,) and slots (B, S)."""
    slots = np.arange(texts * width, dtype=np.int32).reshape(texts, width)
    # No position that the longest text has not: a table of them may end there.
    return np.minimum(slots % width, longest - 1).reshape(-1).astype(np.int32), slots


def grid_width(longest: int) -> int:
    """Return the width of attention's grid for packed texts of so many tokens at most.

    The last places of a row cost the kernels about as much as 16 do. Where they are half of 16 or more, a grid that
    is filled up makes whole steps up to 7 % faster; where they are fewer, up to 8 % slower (docs/log.md).
    """
    return -(-longest // _PLACES) * _PLACES if longest % _PLACES >= _PLACES // 2 else longest


def dense_width(longest: int) -> int:
    """Return the width that texts of so many tokens at most are padded to: of eight for each doubling past 16.

    So it is ⅛ more at most. A length that was not met before costs a short text as much again as itself, and memory
    to remember it (docs/log.md).
    """
    step = 1 << max(0, (longest - 1).bit_length() - 4)
    return -(-longest // step) * step
