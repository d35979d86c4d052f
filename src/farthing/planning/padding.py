"""Padding waste: the share of computed positions that hold no token, under several batching policies."""

from __future__ import annotations

from itertools import accumulate

from farthing.planning.answer import PaddingWaste
from farthing.scheduling.batching import Batch
from farthing.theory.lengths import LengthDistribution

USUAL_BATCH = 32
"""Texts per batch by count: the default of sentence-transformers' `encode`."""

_SAMPLE = 2048
"""Texts of the sample that sorting policies are tried on."""


def padding_wastes(lengths: LengthDistribution) -> tuple[PaddingWaste, ...]:
    """Return the waste of batching by count, in arrival order and sorted, and of packing, as Farthing does it."""
    sample = _sample(lengths)
    by_count = [
        Batch(tuple(range(start, min(start + USUAL_BATCH, len(sample)))), sample[start])
        for start in range(0, len(sample), USUAL_BATCH)
    ]
    return (
        PaddingWaste(
            policy=f"arrival order, {USUAL_BATCH} texts a batch, padded",
            waste=1 - lengths.mean / expected_longest(lengths, USUAL_BATCH),
        ),
        PaddingWaste(
            policy=f"sorted by length, {USUAL_BATCH} texts a batch, padded", waste=waste_of(sample, by_count)
        ),
        PaddingWaste(policy="packed, no padding (Farthing)", waste=0.0),
    )


def waste_of(lengths: list[int], batches: list[Batch]) -> float:
    """Return the share of the positions of these batches that are padding.

    Args:
        lengths: tokens of each text.
        batches: what runs together; each holds indices of `lengths`.
    """
    computed = sum(batch.tokens for batch in batches)
    return 1 - sum(lengths[row] for batch in batches for row in batch.rows) / computed


def expected_longest(lengths: LengthDistribution, texts: int) -> float:
    """Return the expected length of the longest of `texts` independent texts, in tokens."""
    below = [0.0, *accumulate(lengths.probabilities)]
    return sum(
        n * (min(above, 1.0) ** texts - under**texts)
        for n, under, above in zip(lengths.lengths, below, below[1:], strict=False)
    )


def _sample(lengths: LengthDistribution) -> list[int]:
    """Return lengths at evenly spaced quantiles, longest first: a sorted sample, the same each time."""
    texts: list[int] = []
    reached = 0.0
    for n, p in zip(lengths.lengths, lengths.probabilities, strict=True):
        reached += p
        texts += [n] * (round(reached * _SAMPLE) - len(texts))
    return texts[::-1]
