"""What everyone above the engine knows of it: an engine, its lanes, and what a step became."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from farthing.engine.prefixes import Prefixes, shared_prefix
from farthing.errors import EngineError
from farthing.theory.dtypes import Dtype
from farthing.theory.shapes import ModelShape
from farthing.theory.work import StepWork, Work, WorkCounter

Ids = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.float32]

Mode = Literal["throughput", "latency"]
"""What a lane is for: many texts, beside other lanes; or few, as soon as can be, with the whole device."""


class Done(NamedTuple):
    """What one step became.

    Attributes:
        vectors: float32 (B, dimension), the receiver's own memory; rows of failed texts are zeros.
        failed: the error of each row that got no vector; the others stand.
        device_s: busy seconds of the lane.
        passes: rows and work of each pass that the step took: one, or more where something failed.
    """

    vectors: Vectors
    failed: Mapping[int, EngineError]
    device_s: float
    passes: Sequence[tuple[Sequence[int], StepWork]]

    @property
    def work(self) -> Work:
        """What ran, all of it."""
        return self.passes[0][1].total if len(self.passes) == 1 else sum(self.works(), Work())

    def works(self) -> list[Work]:
        """Return the work of each text; together they are `work`."""
        works = [Work()] * len(self.vectors)
        for rows, ran in self.passes:
            for row, one in zip(rows, ran.each(), strict=True):
                works[row] = works[row] + one.again() if works[row].useful_tokens else one
        return works


class Ran(NamedTuple):
    """What one pass over the device gave.

    Attributes:
        vectors: float32 (B, dimension), which may be memory that the next pass uses again.
        grid: places of a row of attention's grid; 0 for none.
        dense: whether the linear layers ran on all of those places.
        filler: tokens of texts that ran along to fill the step up.
    """

    vectors: Vectors
    grid: int = 0
    dense: bool = False
    filler: Sequence[int] = ()


class Passes(Protocol):
    """A way to the device: an infer request, a CUDA stream. Its lane alone uses it."""

    def run(self, texts: Sequence[Ids], past: Any, left_out: int = 0) -> Ran:
        """Return the vectors of some texts; not finite where there is no token to pool.

        Args:
            texts: int32 (tokens,) each, at least one text and one token each.
            past: what `keys_and_values` gave for tokens that all texts begin with, which are then left out of `texts`;
                None for none.
            left_out: tokens at the start of each text that are not pooled; given only where there are any.

        Raises:
            EngineError: the device refused.
        """

    def keys_and_values(self, ids: Ids) -> Any:
        """Return what texts reuse that begin with some tokens, int32 (P,).

        Raises:
            EngineError: the device refused.
        """


class Lane:
    """Runs one step at a time, whoever calls; lives as long as its engine."""

    def __init__(
        self,
        passes: Passes,
        counter: WorkCounter,
        dimension: int,
        prefixes: Prefixes | None = None,
        pools_prompt: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take what a lane needs.

        Args:
            passes: the way to the device.
            counter: counts the work of the model's steps.
            dimension: width of a vector.
            prefixes: keys and values that the engine's lanes share; None where the model cannot reuse any.
            pools_prompt: whether the pooling reads the tokens of a prompt.
            clock: seconds, from any start.
        """
        self._passes, self._counter, self._dimension = passes, counter, dimension
        self._prefixes, self._pools_prompt, self._clock = prefixes, pools_prompt, clock
        self._lock, self._process = Lock(), os.getpid()

    def run(self, texts: Sequence[Ids], prompt: Ids | None = None) -> Done:
        """Return what the texts of a step became; the GIL is released while the device works.

        A text that the device refuses, or whose vector is not finite, fails alone.

        Args:
            texts: token ids of each text, int32 (tokens,), at least one text and one token each.
            prompt: ids that all texts begin with. What they share with it is computed once where the model allows it.
                Where the model does not pool it, all of it is left out.

        Raises:
            EngineError: the process was forked since the lane was made.
        """
        require_same_process(self._process)
        with self._lock:
            started = self._clock()
            step = _Step(texts, np.zeros((len(texts), self._dimension), np.float32))
            if prompt is not None and not self._pools_prompt:
                step.left_out = len(prompt)
            try:
                if self._prefixes and prompt is not None and (prefix := shared_prefix(prompt, texts)):
                    step.past, step.made = self._prefixes.of(prompt[:prefix], self._passes.keys_and_values)
                    step.prefix = prefix
                self._run(step, range(len(texts)))
            except EngineError as error:  # of the prefix that all of them need
                step.failed.update(dict.fromkeys(range(len(texts)), error))
            return Done(step.vectors, step.failed, self._clock() - started, step.passes)

    def _run(self, step: _Step, rows: Sequence[int]) -> None:
        """Run some rows of a step; where the device refuses them, or one spoils the others, fewer at a time."""
        texts = [step.texts[row][step.prefix :] for row in rows]
        try:
            ran = self._passes.run(texts, step.past, *([step.left_out] if step.left_out else []))
        except EngineError as error:
            if len(rows) == 1:
                step.failed[rows[0]] = error
                return
            half = len(rows) // 2
            self._run(step, rows[:half])
            self._run(step, rows[half:])
            return
        work = self._counter.step(
            [len(step.texts[row]) for row in rows],
            prefix=step.prefix,
            prefix_made=step.made,
            grid=ran.grid,
            dense=ran.dense,
            filler=ran.filler,
        )
        step.passes.append((rows, work))
        step.made = False
        step.vectors[rows[0] : rows[-1] + 1] = ran.vectors
        if not math.isfinite(np.vdot(ran.vectors, ran.vectors)):  # one that overflows blames no row
            for place in np.flatnonzero(~np.isfinite(ran.vectors).all(axis=1)).tolist():
                step.vectors[rows[place]] = 0
                if len(rows) > 1:
                    self._run(step, [rows[place]])
                else:
                    empty = len(step.texts[rows[0]]) <= step.left_out
                    step.failed[rows[0]] = EngineError(
                        "a text has no token behind its prompt, which this model does not pool; shorten the prompt"
                        if empty
                        else "a vector came out of the model not finite; the weights or the dtype overflow"
                    )


@dataclass(slots=True)
class _Step:
    texts: Sequence[Ids]
    vectors: Vectors
    left_out: int = 0
    prefix: int = 0
    past: Any = None
    made: bool = False
    failed: dict[int, EngineError] = field(default_factory=dict)
    passes: list[tuple[Sequence[int], StepWork]] = field(default_factory=list)


class Engine(Protocol):
    """One model on one device. Its lanes may run at the same time, each on a thread of its own.

    Attributes:
        shape: the model.
        device: `cpu`, or a card as torch names it.
        dtype: of the matrix products.
        dimension: width of a vector.
        lanes: steps side by side that fill the device.
        step_tokens: tokens that a step may always have; past the saturation point more of them bring no throughput.
        vector_error: how far quantized vectors are from those of a wider dtype, as figures by name; None where
            nothing is quantized.
    """

    shape: ModelShape
    device: str
    dtype: Dtype
    dimension: int
    lanes: int
    step_tokens: int
    vector_error: Mapping[str, float | str] | None

    def warm(self, mode: Mode) -> None:
        """Compile and record what lanes of a mode can meet, so that no text waits for it."""

    def lane(self, mode: Mode = "throughput") -> Lane:
        """Return a new lane, for as long as the engine lives.

        Raises:
            EngineError: the device refused, the engine is closed, or the process was forked since it was made.
        """

    def close(self) -> None:
        """Let go of the device; no lane runs afterwards."""


def require_same_process(process: int) -> None:
    """Refuse to use a device in a child of the process that opened it: its threads are gone, and it would hang.

    Raises:
        EngineError: this is another process.
    """
    if os.getpid() != process:
        raise EngineError(
            "the process was forked after the model was loaded, and its device cannot be used in the child: load the "
            "model in the child, or start it by spawn or forkserver"
        )
