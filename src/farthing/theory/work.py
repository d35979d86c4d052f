"""Work: how much was computed, split into what was asked for and what came with it.

Knows tokens and FLOPs, additive over steps and jobs. Knows no time and no money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from farthing.theory.flops import attention_pairs, forward_flops
from farthing.theory.savings import reused_flops, trimmed_flops
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
        padded_flops: what the padding cost.
        reused_flops: what the shared prefix saved.
        trimmed_flops: what the skipped tokens of the last layer saved.
    """

    useful_tokens: int = 0
    padded_tokens: int = 0
    reused_tokens: int = 0
    trimmed_tokens: int = 0
    useful_flops: int = 0
    padded_flops: int = 0
    reused_flops: int = 0
    trimmed_flops: int = 0

    @property
    def executed_flops(self) -> int:
        """FLOPs that really ran: the useful ones, with padding, less what was reused and trimmed."""
        return self.useful_flops + self.padded_flops - self.reused_flops - self.trimmed_flops

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
    useful = forward_flops(shape, lengths).total
    return Work(
        useful_tokens=tokens,
        padded_tokens=longest * len(lengths) - tokens,
        useful_flops=useful,
        padded_flops=forward_flops(shape, [longest] * len(lengths)).total - useful,
    )


def packed_batch_work(
    shape: ModelShape,
    lengths: Sequence[int],
    *,
    prefix: int = 0,
    prefix_known: bool = False,
    trim: bool = False,
    grid: int = 0,
) -> Work:
    """Return the work of one batch without padding, whose texts may share their first tokens.

    The first text computes the prefix, unless it is known, and the others reuse its keys and values. On a grid
    the linear layers run on the tokens alone; attention runs on every pair of places of a row, seen or not.

    Args:
        shape: the model.
        lengths: tokens of each text, the prefix among them; at least one.
        prefix: tokens that all texts begin with, and that are computed once.
        prefix_known: whether they were computed before; then `prefix_work` is their own pass.
        trim: whether the last layer is computed for the pooled token alone, as cls and last-token pooling allow.
        grid: places of each row of such a grid, at least the tokens that the longest text computes; those of a
            prefix that all of them reuse come before it. 0 for no grid.

    Raises:
        InputError: there is a prefix and the model is not causal, or a text is not longer than it.
    """
    saved = reused_flops(shape, prefix, min(lengths))  # the same for each text that does not come first
    texts = [(length, prefix if place or prefix_known else 0) for place, length in enumerate(lengths)]
    return Work(
        useful_tokens=sum(lengths),
        reused_tokens=sum(reused for _, reused in texts),
        trimmed_tokens=sum(length - reused - 1 for length, reused in texts) if trim else 0,
        useful_flops=forward_flops(shape, lengths).total,
        padded_flops=_grid_flops(shape, texts, grid, trim=trim) if grid else 0,
        reused_flops=saved * (len(texts) - (not prefix_known)),
        trimmed_flops=sum(trimmed_flops(shape, length, reused) for length, reused in texts) if trim else 0,
    )


def prefix_work(shape: ModelShape, prefix: int) -> Work:
    """Return the work of the pass that computes a shared prefix: what every text but one saves by it.

    Nothing useful comes out of it, so it takes back the savings of one text: a job whose texts all reuse the
    prefix is then as one whose first text computed it.

    Args:
        shape: a causal model.
        prefix: tokens of the prefix, on no grid but their own.
    """
    return Work(reused_tokens=-prefix, reused_flops=-forward_flops(shape, [prefix]).total)


def _grid_flops(shape: ModelShape, texts: Sequence[tuple[int, int]], grid: int, *, trim: bool) -> int:
    """Return the FLOPs of attention over the places of a grid that no pair of a text needs.

    Args:
        shape: the model.
        texts: (tokens, of them reused) of each.
        grid: places of a row.
        trim: whether the last layer has one query for each text.
    """
    longest = grid + min(reused for _, reused in texts)
    spare = 0
    for layer, reach in enumerate(shape.attention_reach):
        rows = 1 if trim and layer == shape.layers - 1 else grid
        for length, reused in texts:
            if rows == 1:
                needed = length if reach is None else min(reach + 1, length)
            else:
                needed = attention_pairs(length, causal=shape.causal, reach=reach)
                if reused:
                    needed -= attention_pairs(reused, causal=shape.causal, reach=reach)
            spare += rows * longest - needed
    return 4 * spare * shape.attention_width
