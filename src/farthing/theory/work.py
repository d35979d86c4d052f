"""Work: how much was computed, split into what was asked for and what came with it.

Knows tokens and FLOPs, additive over steps and jobs. Knows no time and no money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from farthing.theory.flops import forward_flops
from farthing.theory.shapes import ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Tokens and FLOPs of one or many forward passes. Works add up.

    Attributes:
        useful_tokens: tokens of the texts that were computed, special tokens included.
        padded_tokens: positions computed beside them to make a batch rectangular.
        reused_tokens: tokens whose keys and values were taken from a shared prefix.
        trimmed_tokens: tokens that the last layer skipped.
        useful_flops: closed form over each text's true length.
        executed_flops: closed form over the shapes that really ran, padding included.
    """

    useful_tokens: int = 0
    padded_tokens: int = 0
    reused_tokens: int = 0
    trimmed_tokens: int = 0
    useful_flops: int = 0
    executed_flops: int = 0

    def __add__(self, other: Work) -> Work:
        """Return the work of both together."""
        return Work(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Work)})


def padded_batch_work(shape: ModelShape, lengths: Sequence[int]) -> Work:
    """Return the work of one batch that is padded to its longest text.

    Args:
        shape: the model.
        lengths: tokens of each text of the batch; at least one.
    """
    longest, tokens = max(lengths), sum(lengths)
    return Work(
        useful_tokens=tokens,
        padded_tokens=longest * len(lengths) - tokens,
        useful_flops=forward_flops(shape, lengths).total,
        executed_flops=forward_flops(shape, [longest] * len(lengths)).total,
    )
