"""Where the tokens of a step stand, and which of them see which: what every way of computing attention is told.

Knows indices. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the tokens of a step stand. T tokens, B texts, the longest of S, P tokens of a shared prefix.

    Attributes:
        positions: (T,), place of each token in its text, the prefix counted.
        slots: (B, S), index of the token at each place of the grid.
        places: (T,), place in the flattened grid of each token.
        lengths: (B,), tokens of each text without the prefix.
        bounds: int32 (B + 1,), index of the first token of each text, and the end.
        prefix: tokens of the shared prefix, P.
    """

    positions: Tensor
    slots: Tensor
    places: Tensor
    lengths: Tensor
    bounds: Tensor
    prefix: int | Tensor = 0

    @property
    def keys(self) -> Tensor:
        """(S,), places of the grid, the prefix not counted."""
        return torch.arange(self.slots.shape[1], device=self.slots.device)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a layer's queries see of the keys, and how their scores are scaled.

    Attributes:
        scale: factor of the scores.
        causal: whether a token sees only itself and those before it.
        reach: farthest token that is seen, in tokens; None for all.
    """

    scale: float
    causal: bool
    reach: int | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The one token of each text whose output is wanted of a layer.

    Attributes:
        rows: (B,), their indices.
        last: whether they are the last of their texts; else the first.
    """

    rows: Tensor
    last: bool
