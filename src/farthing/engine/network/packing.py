"""Packed steps: the tokens of all texts one after another, with no padding between them.

Linear layers run on the packed tokens; only attention sees a padded grid, through two tables of indices. Knows
lengths and indices. Knows no model and no backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedStep:
    """The input of one step over B texts with T tokens, the longest of S.

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

    @property
    def inputs(self) -> list[Ids]:
        """The arrays in the order of the module's arguments."""
        return [self.ids, self.positions, self.slots, self.places, self.lengths]


def packed(texts: Sequence[Ids], longest: int | None = None) -> PackedStep:
    """Return the step of some texts.

    Args:
        texts: token ids of each text, int32 (tokens,), at least one text and one token each.
        longest: width of the grid, S, where it must be more than the longest text has.
    """
    lengths = np.fromiter(map(len, texts), np.int32, len(texts))
    longest = longest or int(lengths.max())
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    grid = np.arange(longest, dtype=np.int32)
    filled = grid < lengths[:, None]
    return PackedStep(
        ids=np.concatenate(texts, dtype=np.int32),
        positions=np.broadcast_to(grid, filled.shape)[filled],
        slots=np.where(filled, starts[:, None] + grid, np.int32(0)),
        places=np.flatnonzero(filled).astype(np.int32),
        lengths=lengths,
    )
