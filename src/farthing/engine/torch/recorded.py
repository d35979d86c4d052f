"""Small steps recorded as CUDA graphs and replayed: launching their kernels costs a host longer than running them.

A graph is of one size. A step is filled up to the next size with texts that nobody asked for, whose vectors are
dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from farthing.engine.contract import Ids
from farthing.engine.torch.staging import Staging, room
from farthing.theory.shapes import ModelShape

_TOKENS = (16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 7168, 8448)
_TEXTS = (2, 5, 17, 65, 257)
"""Tokens and texts of the recorded sizes, what fills up among them: a full step of 8,192 tokens in 256 texts, too."""

_FEWEST_TOKENS = 4
"""Mean tokens of a text below which a size is not recorded, unless it is of two texts."""

_LONGEST = 512
"""Most tokens of a text in a recorded step of many texts: attention's launches are as many as such texts need."""

_FEW_TEXTS = 5
"""A recorded step of so many texts takes texts of any length: these launches are few."""

_ALWAYS = 512
_LAUNCHED = 2e11
"""Weights × tokens of a layer from which on a card takes longer than the host that launches it: 0.65 ms at 600 TFLOP/s.
Measured on an H100 with torch 2.11: 0.41 to 0.8 ms a layer. Steps of `_ALWAYS` tokens are recorded whatever the model.
"""

Forward = Callable[[Tensor, Tensor, int], Tensor]
"""(ids, bounds, longest) → (B, dimension)."""

Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Takes work on fixed memory, does it, and gives a call that does it again and leaves the result in the same memory."""


class Size(NamedTuple):
    """A recorded size.

    Attributes:
        tokens: T.
        texts: B.
        longest: most tokens of a text.
    """

    tokens: int
    texts: int
    longest: int

    def filler(self, lengths: Sequence[int]) -> list[int] | None:
        """Return the tokens of the texts that fill a step up to this size; None where it is none of this size."""
        more, spare = self.texts - len(lengths), self.tokens - sum(lengths)
        if more < 1 or spare < more or spare > more * self.longest or max(lengths) > self.longest:
            return None
        return [spare // more + (one < spare % more) for one in range(more)]


def recorded_sizes(shape: ModelShape, *, padded: bool) -> Iterator[Size]:
    """Yield the sizes worth recording, smallest first.

    Args:
        shape: the model.
        padded: whether attention runs on a padded grid, which for many tokens would be far larger than they are.
    """
    weights = shape.total_parameters - shape.embedding_parameters
    most = _ALWAYS if padded else max(_ALWAYS, _LAUNCHED * shape.layers / weights)
    for tokens, texts in product(_TOKENS, _TEXTS):
        longest = min(tokens, shape.max_positions, *(() if texts <= _FEW_TEXTS else (_LONGEST,)))
        worth = texts == _TEXTS[0] or texts * _FEWEST_TOKENS <= tokens
        if worth and tokens <= min(most, texts * longest):
            yield Size(tokens, texts, longest)


class RecordedSteps:
    """The recorded sizes of one model on one device."""

    def __init__(self, sizes: Iterable[Size], forward: Forward, record: Record, device: torch.device) -> None:
        """Record them.

        Args:
            sizes: smallest first.
            forward: what runs.
            record: how it is recorded.
            device: where.
        """
        staging, found = Staging(device), {}
        for size in reversed(list(sizes)):  # the largest first: the smaller ones use its memory
            memory = room(size.tokens, size.texts, device)
            text = np.zeros(size.tokens // size.texts, np.int32)
            inputs = staging.placed([text], size.filler([len(text)]) or (), memory)
            found[size] = memory, record(partial(forward, inputs.ids, inputs.bounds, size.longest))
        self._known = dict(sorted(found.items()))

    def filled(self, lengths: Sequence[int]) -> tuple[Size, list[int]] | None:
        """Return the size that a step is filled up to, and the tokens of the texts that do so; None for no size."""
        fillers = ((size, size.filler(lengths)) for size in self._known)
        return next(((size, filler) for size, filler in fillers if filler is not None), None)

    def run(self, size: Size, texts: Sequence[Ids], filler: Sequence[int], staging: Staging) -> Tensor:
        """Return the vectors of a step, the superfluous ones at the end; valid until the next step."""
        memory, replay = self._known[size]
        staging.placed(texts, filler, memory)
        return replay()


def cuda_graphs(stream: Any) -> Record:
    """Return what records on a stream of a card, on which everything else of the engine runs as well.

    Not on torch's own stream for it, which is one of the first card's; and only calls of this thread can break it,
    not another's that asks for memory meanwhile. Whatever runs on the stream must run under one lock.
    """
    pool = torch.cuda.graph_pool_handle()  # one memory for all: only one of them runs at a time

    def record(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        for _ in range(2):  # so that nothing is compiled or chosen while recording
            work()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    return record
