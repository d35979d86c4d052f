"""Work: how much was computed, split into what was asked for and what came with it; additive over steps and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import NamedTuple

from farthing.theory.flops import attention_pairs, forward_flops, linear_flops_per_token
from farthing.theory.savings import check_prefix, kept_block_flops, prefix_flops, reused_flops, trimmed_flops
from farthing.theory.shapes import ModelShape


class Work(NamedTuple):
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

    def __add__(self, other: Work) -> Work:  # type: ignore[override]
        """Return the work of both together."""
        return Work(*map(add, self, other))

    def again(self) -> Work:
        """Return this as work that was done a second time and asked for once: all of it is padding."""
        return Work(
            padded_tokens=self.useful_tokens + self.padded_tokens - self.reused_tokens,
            padded_flops=self.executed_flops,
        )


class _Text(NamedTuple):
    """What one text is worth: FLOPs of its own length, and pairs of tokens that attend, over all layers."""

    useful_flops: int
    reused_flops: int
    trimmed_flops: int
    pairs: int


class WorkCounter:
    """Counts the work of a model's steps; what a length costs is worked out once."""

    def __init__(self, shape: ModelShape, *, trim: bool) -> None:
        """Take what is the same for all steps.

        Args:
            shape: the model.
            trim: whether the last layer is computed for the pooled token alone, as cls and last-token pooling allow.
        """
        self.shape, self.trim = shape, trim
        self.place_flops = linear_flops_per_token(shape) - (kept_block_flops(shape) if trim else 0)
        self._known: dict[tuple[int, int], _Text] = {}

    def step(
        self,
        lengths: Sequence[int],
        *,
        prefix: int = 0,
        prefix_made: bool = False,
        grid: int = 0,
        dense: bool = False,
        filler: Sequence[int] = (),
    ) -> StepWork:
        """Return the work of one step.

        Args:
            lengths: tokens of each text, a reused prefix among them; at least one text.
            prefix: tokens that all texts begin with and whose keys and values they reuse.
            prefix_made: whether this step computed those first.
            grid: places of each row of the grid that attention runs on, at least the tokens that the longest text
                computes; 0 for attention without a grid.
            dense: whether the linear layers run on all places of the grid, too.
            filler: tokens of texts that ran along although nobody asked for them, behind the same prefix if there is
                one, and on the same grid.

        Raises:
            InputError: there is a prefix and the model is not causal, or a text is not longer than it.
        """
        check_prefix(self.shape, prefix, min(lengths))
        return StepWork(self, tuple(lengths), prefix, prefix_made, grid, dense, tuple(filler))

    def text(self, length: int, prefix: int) -> _Text:
        """Return what a text of so many tokens is worth, the first `prefix` of them reused."""
        known = self._known.get((length, prefix))
        if known is None:
            trimmed = trimmed_flops(self.shape, length, prefix) if self.trim else 0
            useful = forward_flops(self.shape, [length]).total
            reused = reused_flops(self.shape, prefix, length)
            known = self._known[length, prefix] = _Text(useful, reused, trimmed, self._pairs(length, prefix))
        return known

    def places(self, grid: int, prefix: int) -> int:
        """Return the pairs of places that attention runs on for one row of a grid, over all layers."""
        rows = (self.shape.layers - self.trim) * grid + self.trim
        return rows * (grid + prefix)

    def _pairs(self, length: int, prefix: int) -> int:
        pairs, causal = 0, self.shape.causal
        for layer, reach in enumerate(self.shape.attention_reach):
            if self.trim and layer == self.shape.layers - 1:
                pairs += length if reach is None else min(reach + 1, length)
            else:
                pairs += attention_pairs(length, causal=causal, reach=reach)
                pairs -= attention_pairs(prefix, causal=causal, reach=reach) if prefix else 0
        return pairs


class StepWork(NamedTuple):
    """What one step computed, in all and text by text; the fields are the arguments of `WorkCounter.step`."""

    counter: WorkCounter
    lengths: tuple[int, ...]
    prefix: int = 0
    prefix_made: bool = False
    grid: int = 0
    dense: bool = False
    filler: tuple[int, ...] = ()

    @property
    def total(self) -> Work:
        """The work of the whole step."""
        useful = padded = reused = trimmed = places = 0
        for length in set(self.lengths):
            texts, one = self.lengths.count(length), self.counter.text(length, self.prefix)
            useful += one.useful_flops * texts
            reused += one.reused_flops * texts
            trimmed += one.trimmed_flops * texts
            spare, flops = self._padding(length, one)
            places += spare * texts
            padded += flops * texts
        texts, tokens = len(self.lengths), sum(self.lengths)
        shared = self._shared()
        return Work(
            useful_tokens=tokens,
            padded_tokens=places + shared.padded_tokens,
            reused_tokens=self.prefix * texts + shared.reused_tokens,
            trimmed_tokens=tokens - (self.prefix + 1) * texts if self.counter.trim else 0,
            useful_flops=useful,
            padded_flops=padded + shared.padded_flops,
            reused_flops=reused + shared.reused_flops,
            trimmed_flops=trimmed,
        )

    def each(self) -> list[Work]:
        """Return the work of each text; together they are `total`.

        A text has the padding of its own row. What ran for none of them, a filler or a prefix that was made now, is
        shared out in equal parts.
        """
        texts, shared = len(self.lengths), self._shared()
        works = []
        for row, length in enumerate(self.lengths):
            one = self.counter.text(length, self.prefix)
            spare, flops = self._padding(length, one)
            works.append(
                Work(
                    useful_tokens=length,
                    padded_tokens=spare + _part(shared.padded_tokens, texts, row),
                    reused_tokens=self.prefix + _part(shared.reused_tokens, texts, row),
                    trimmed_tokens=length - self.prefix - 1 if self.counter.trim else 0,
                    useful_flops=one.useful_flops,
                    padded_flops=flops + _part(shared.padded_flops, texts, row),
                    reused_flops=one.reused_flops + _part(shared.reused_flops, texts, row),
                    trimmed_flops=one.trimmed_flops,
                )
            )
        return works

    def _padding(self, length: int, one: _Text) -> tuple[int, int]:
        """Return the places that the linear layers run on beside a text's tokens, and the FLOPs of all its padding."""
        if not self.grid:
            return 0, 0
        counter = self.counter
        flops = 4 * counter.shape.attention_width * (counter.places(self.grid, self.prefix) - one.pairs)
        if not self.dense:
            return 0, flops
        spare = self.grid - (length - self.prefix)
        return spare, flops + spare * counter.place_flops

    def _shared(self) -> Work:
        """Return what ran for none of the texts."""
        if not self.prefix_made and not self.filler:
            return _NOTHING
        tokens = flops = 0
        for length in self.filler:
            one = self.counter.text(self.prefix + length, self.prefix)
            spare, padding = self._padding(self.prefix + length, one)
            tokens += length + spare
            flops += one.useful_flops - one.reused_flops - one.trimmed_flops + padding
        return Work(
            padded_tokens=tokens,
            padded_flops=flops,
            # Nothing useful comes out of making a prefix, so it takes back what reusing it saves.
            reused_tokens=-self.prefix if self.prefix_made else 0,
            reused_flops=-prefix_flops(self.counter.shape, self.prefix) if self.prefix_made else 0,
        )


_NOTHING = Work()


def _part(whole: int, parts: int, index: int) -> int:
    """Return one of `parts` parts that together are `whole`."""
    return (index + 1) * whole // parts - index * whole // parts
