"""Small steps recorded as CUDA graphs and replayed: launching their kernels costs a host longer than running them.

A graph is of one size. A step is filled up to the next size with a text that nobody asked for, whose vector is dropped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from farthing.engine.network.packing import Ids, PackedStep, packed
from farthing.engine.torch.staging import Staging, views

TOKENS = (16, 32, 64, 128, 256, 512)
"""Tokens of the recorded sizes: beyond, a step of a small model keeps the device longer than the host."""

TEXTS = (2, 5, 17)
"""Texts of the recorded sizes, the one that fills up among them."""

Run = Callable[[list[Tensor]], Tensor]
Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Takes work on fixed memory, does it, and gives a call that does it again and leaves the result in the same memory."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    memory: Tensor
    replay: Callable[[], Tensor]


class RecordedSteps:
    """The recorded sizes of one model on one device; a size is recorded when it is first met."""

    def __init__(self, run: Run, record: Record, device: torch.device, longest: int | None) -> None:
        """Take what runs and what records.

        Args:
            run: the model, from the arrays of a step on the device.
            record: `recorded_on_cuda`.
            device: where.
            longest: tokens that a text can have; None for any number.
        """
        self._run, self._record, self._device = run, record, device
        self._tokens = [tokens for tokens in TOKENS if longest is None or tokens <= longest]
        self._known: dict[tuple[int, int], _Recorded] = {}

    def filled(self, texts: Sequence[Ids]) -> PackedStep | None:
        """Return the step of some texts filled up to a recorded size, or None where it is too large for one."""
        row = bisect_left(TEXTS, len(texts) + 1)
        if row == len(TEXTS):
            return None
        more = TEXTS[row] - len(texts)
        column = bisect_left(self._tokens, sum(map(len, texts)) + more)
        if column == len(self._tokens):
            return None
        tokens = self._tokens[column]
        spare = tokens - sum(map(len, texts))
        lengths = [spare // more + (one < spare % more) for one in range(more)]
        return packed([*texts, *(np.zeros(length, np.int32) for length in lengths)], longest=tokens)

    def run(self, step: PackedStep, staging: Staging) -> Tensor:
        """Return the vectors of a filled step, the superfluous ones at the end; valid until the next step."""
        size = (len(step.ids), len(step.lengths))
        if size not in self._known:
            memory = torch.empty(
                sum(array.size for array in step.inputs), dtype=torch.int32, device=self._device
            )
            staging.placed(step, memory)
            arrays = views(step, memory)
            self._known[size] = _Recorded(memory, self._record(lambda: self._run(arrays)))
        recorded = self._known[size]
        staging.placed(step, recorded.memory)
        return recorded.replay()


def recorded_on_cuda(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record work as a CUDA graph on the current device.

    Two runs come first, on a stream of their own as torch asks for it, so that nothing is compiled or chosen while
    recording.
    """
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(2):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
