"""Batches of texts of like length, each as large as pays and no larger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SMALLEST_SPLIT_TOKENS = 64
"""A job too small to fill every stream is split no finer than this: below it a step is all overhead."""


class Batch(NamedTuple):
    """Texts that run in one step.

    Attributes:
        rows: indices of the texts.
        length: tokens of the longest of them, to which the others are padded.
    """

    rows: tuple[int, ...]
    length: int

    @property
    def tokens(self) -> int:
        """Positions that the step computes, padding included."""
        return len(self.rows) * self.length


def batches_by_length(lengths: Sequence[int], max_batch_tokens: int, streams: int = 1) -> list[Batch]:
    """Group texts of like length, longest first, so that almost nothing is padded.

    The longest come first so that the last steps of a job are the cheapest ones and all streams end
    together. A job smaller than one full batch per stream is spread over the streams.

    Args:
        lengths: tokens of each text, all ≥ 1.
        max_batch_tokens: most positions in one step, padding included; one text may exceed it alone.
        streams: steps that run side by side.

    Returns:
        Batches that together hold every index exactly once.
    """
    if len(lengths) < 2:
        return [Batch((0,), length) for length in lengths]
    share = -(-sum(lengths) // streams)
    budget = max(min(max_batch_tokens, share), min(SMALLEST_SPLIT_TOKENS, max_batch_tokens))
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batches = []
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        size = max(1, budget // longest)
        batches.append(Batch(tuple(order[start : start + size]), longest))
        start += size
    return batches
