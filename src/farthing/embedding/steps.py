"""The one step path: windows of texts onto the lanes of a model, and back in order, in bounded memory.

Lanes live as long as their model, each with a thread; calls and jobs share them. The caller's own thread reads the
input, tokenizes it and consumes what is done, while the lanes run what it has left in the queue: nothing but the
caller ever waits for the input, so leaving early never does.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from farthing.embedding.cache import VectorCache
from farthing.embedding.windows import WINDOW_TEXTS, Window, WindowMaker
from farthing.engine.calibration.kept import best_step_tokens
from farthing.engine.contract import Done, Engine, Ids, Lane, Mode
from farthing.engine.load import EmbeddingModel
from farthing.engine.prefixes import shared_prefix
from farthing.errors import EngineError, InputError
from farthing.scheduling.batching import Batch, batches_by_length
from farthing.scheduling.queue import Queue
from farthing.theory.work import StepWork, Work

MOST_WINDOWS = 3
"""Windows on their way at a time, besides the one that the caller consumes."""

MOST_POSITIONS = 384
"""Places that several texts take at most, padded to the longest of them, to be run at once unless the caller says so.
From about as many on the lanes for throughput finish as soon (docs/log.md)."""

_AT_ONCE_TEXTS = 1024
"""Texts of a call in the mode for latency that are tokenized, and grouped by length, at a time."""

_AGEING_S = 1.0
"""A job's step that has waited so much longer than a call's comes before it."""

CALL, JOB = 0, 1
"""Classes of work: someone waits for a call."""

Progress = Callable[[int, int], None]
"""Called after each step with its texts and tokens, from a lane's thread or the caller's."""


class EmbeddedTexts(NamedTuple):
    """Consecutive texts and what they became.

    Attributes:
        vectors: (n, dimension), one for each text, zeros for one that failed; float32, or in a format (n, width).
        tokens: int32 (n,), tokens of each text.
        failed: the error of each row without a vector.
    """

    vectors: npt.NDArray[Any]
    tokens: npt.NDArray[np.int32]
    failed: Mapping[int, EngineError] = MappingProxyType({})


@dataclass(slots=True)
class Totals:
    """What a run has done so far; complete when its iterator ends.

    Attributes:
        texts: texts consumed.
        duplicates: of them, repeats of others that were not computed.
        cached: of them, served from memory.
        truncated: of them, cut at the length limit.
        failed: the error of each text that got no vector, by its number in the run.
        input_tokens: tokens over all texts.
        ran: steps whose work is not added up yet.
        busy_s: busy seconds of all lanes together.
        tokenization_s: wall seconds of tokenizing.
    """

    texts: int = 0
    duplicates: int = 0
    cached: int = 0
    truncated: int = 0
    failed: dict[int, EngineError] = field(default_factory=dict)
    input_tokens: int = 0
    ran: list[Work | StepWork] = field(default_factory=list)
    busy_s: float = 0.0
    tokenization_s: float = 0.0
    _work: Work = field(default_factory=Work)

    @property
    def work(self) -> Work:
        """What was computed, added up here, since a call never asks for it."""
        while self.ran:
            one = self.ran.pop()
            self._work += one.total if isinstance(one, StepWork) else one
        return self._work


@dataclass(slots=True, eq=False)
class _Step:
    """Texts of a window that a lane takes together."""

    run: Run
    window: Window
    batch: Batch
    arrived_s: float = field(default_factory=time.perf_counter)

    def take(self, lane: Lane) -> None:
        """Run on a lane; errors that are no text's own end the window."""
        try:
            window, rows = self.window, list(self.batch.rows)
            done = lane.run([window.ids[row] for row in rows], self.run.prompt)
            places = [window.rows[row] for row in rows]
            window.vectors[places] = done.vectors
            # Its words alone: an error's traceback holds on to the texts and vectors of its step.
            for row, error in done.failed.items():
                window.failed[places[row]] = EngineError(str(error))
            self.run.count(done)
            if self.run.on_timed is not None:
                self.run.on_timed(window, self.batch, done.device_s)
            window.finish()
        except BaseException as error:  # handed to whoever consumes the window, and raised there
            self.window.fail(error)


class Lanes:
    """The lanes of an engine for throughput, each with a thread that takes steps from one queue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue = Queue[_Step](lambda s: s.batch.tokens, lambda s: s.arrived_s, ageing_s=_AGEING_S)
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed, self._process = False, os.getpid()

    def require_open(self) -> None:
        """Refuse what comes after the end.

        Raises:
            EngineError: the lanes are closed.
        """
        if self._closed:
            raise EngineError("the model is closed; load it again")

    @property
    def started(self) -> bool:
        """Whether its threads run, so that the next steps are not their first."""
        return bool(self._threads)

    def add(self, steps: Collection[_Step], work_class: int) -> None:
        """Leave steps in the queue; the threads start with the first.

        Raises:
            EngineError: the engine refuses a lane, or the lanes are closed.
        """
        with self._change:
            self.require_open()
            if not self._threads:
                lanes = [self._engine.lane("throughput") for _ in range(self._engine.lanes)]
                self._threads = [
                    threading.Thread(target=self._serve, args=(lane,), daemon=True) for lane in lanes
                ]
                for thread in self._threads:
                    thread.start()
            self._queue.add(steps, work_class)
            self._change.notify_all()

    def cancel(self, steps: Iterable[_Step]) -> None:
        """Take back steps that have not started."""
        with self._change:
            for step in steps:
                self._queue.cancel(step)

    def close(self) -> None:
        """End the threads after the steps that they are in; whoever waits for others gets an error."""
        if os.getpid() != self._process:  # a child: the threads are gone, and the lock may be held for ever
            return
        with self._change:
            self._closed = True
            while steps := self._queue.take():
                for step in steps:
                    step.window.fail(EngineError("the model was closed while texts waited for it"))
            self._change.notify_all()
        # A lane's thread may be where it is collected as garbage, with the lock held that the others wait for.
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()

    def _serve(self, lane: Lane) -> None:
        while True:
            with self._change:
                # Steps were grouped by length already: one is a step, whatever else waits.
                while not self._closed and not (steps := self._queue.take(step_tokens=1)):
                    self._change.wait()
                if self._closed:
                    return
            for step in steps:
                step.take(lane)
            del steps, step  # or the last window of a call would live until the next


class StepPath:
    """A model's way from texts to vectors. Several threads may run texts at the same time."""

    def __init__(self, model: EmbeddingModel, mode: Mode | None = None) -> None:
        """Take what runs texts; nothing is compiled yet.

        Args:
            model: the loaded model.
            mode: that every call takes; None for the faster of the two, by its texts.

        Raises:
            InputError: no such mode.
        """
        if mode is not None and mode not in get_args(Mode):
            raise InputError(f"mode {mode!r}: expected {' or '.join(get_args(Mode))}, or None for either")
        self.model, self.mode = model, mode
        self.lanes = Lanes(model.engine)
        self._soon: Lane | None = None
        self._lock = threading.Lock()

    def call(
        self, texts: Iterable[str], *, prompt: str, cache: VectorCache, on_step: Progress | None = None
    ) -> Run:
        """Return the run of a call's texts, in the mode that is faster for them.

        Args:
            texts: without the prompt.
            prompt: what is put before each.
            cache: vectors of earlier calls.
            on_step: called after each step.
        """
        return Run(self, texts, lambda: self._best, self.mode, prompt, cache, on_step=on_step)

    def job(
        self,
        texts: Iterable[str],
        step_tokens: int,
        *,
        prompt: str,
        cache: VectorCache,
        on_first_window: Callable[[Window], None] | None = None,
        on_step: Progress | None = None,
    ) -> Run:
        """Return the run of a job's texts, for throughput.

        Args:
            texts: without the prompt.
            step_tokens: most positions in one step.
            prompt: what is put before each.
            cache: vectors of earlier calls.
            on_first_window: called when the first window is tokenized and before any step runs.
            on_step: called after each step.
        """
        run = Run(
            self, texts, lambda: step_tokens, "throughput", prompt, cache, work_class=JOB, on_step=on_step
        )
        run.on_first_window = on_first_window
        return run

    @cached_property
    def _best(self) -> int:
        return best_step_tokens(self.model)

    def run_alone(self, text: str) -> None:
        """Run a job of one text."""
        list(self.job([text], self.model.engine.step_tokens, prompt="", cache=VectorCache(0)))

    def soon(self) -> Lane:
        """Return the lane for latency, made when it is first needed."""
        with self._lock:
            if self._soon is None:
                self._soon = self.model.engine.lane("latency")
            return self._soon

    def close(self) -> None:
        """End the lanes' threads and let go of the device."""
        self.lanes.close()
        self._soon = None
        self.model.engine.close()


class Run:
    """Texts on their way; iterate once to get them in order. Errors of single texts are in what comes out.

    Attributes:
        totals: what was done so far.
        prompt: token ids of the prompt, None for none.
        on_first_window: called when the first window is tokenized and before any step runs.
        on_timed: called after each step with its window, its batch and its seconds, from a lane's thread.
    """

    def __init__(
        self,
        path: StepPath,
        texts: Iterable[str],
        step_tokens: Callable[[], int],
        mode: Mode | None,
        prompt: str,
        cache: VectorCache,
        *,
        work_class: int = CALL,
        on_step: Progress | None = None,
    ) -> None:
        path.lanes.require_open()
        self.totals = Totals()
        self.prompt: Ids | None = path.model.tokenizer.prompt(prompt) if prompt else None
        self._maker = WindowMaker(
            path.model.tokenizer,
            path.model.engine.dimension,
            prompt=prompt,
            cache=cache,
            window_texts=_AT_ONCE_TEXTS if mode == "latency" else WINDOW_TEXTS,
        )
        self._path, self._texts, self._mode = path, texts, mode
        self._step_tokens, self._work_class = step_tokens, work_class
        self.on_first_window: Callable[[Window], None] | None = None
        self.on_timed: Callable[[Window, Batch, float], None] | None = None
        self._on_step = on_step
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[EmbeddedTexts]:
        """Yield the texts a window at a time; leaving early takes back all steps that have not started."""
        flying: deque[tuple[Window, list[_Step]]] = deque()
        try:
            for window in self._maker.windows(self._texts):
                if self.on_first_window is not None and not window.serial:
                    self.on_first_window(window)
                flying.append((window, self._started(window)))
                if len(flying) == MOST_WINDOWS:
                    yield self._finished(*flying.popleft())
            while flying:
                yield self._finished(*flying.popleft())
        finally:
            for _, steps in flying:
                self._path.lanes.cancel(steps)

    def count(self, done: Done) -> None:
        """Add what a step has done."""
        with self._lock:
            self.totals.ran.append(done.passes[0][1] if len(done.passes) == 1 else done.work)
            self.totals.busy_s += done.device_s
        if self._on_step is not None:
            self._on_step(len(done.vectors), done.work.useful_tokens)

    def prefix_of(self, window: Window) -> int:
        """Return how many tokens the texts of a window reuse of each other."""
        if self.prompt is None or not window.ids or not self._path.model.checkpoint.reuses_prefixes:
            return 0
        return shared_prefix(self.prompt, window.ids)

    def _started(self, window: Window) -> list[_Step]:
        """Run a window's texts at once, or leave them to the lanes; return the steps that they took over."""
        engine, prefix = self._path.model.engine, self.prefix_of(window)
        own = [length - prefix for length in window.lengths] if prefix else window.lengths
        few = len(own) == 1 or len(own) * max(own, default=0) <= MOST_POSITIONS
        at_once = self._mode == "latency" or (
            self._mode is None and window.last and not window.serial and few
        )
        tokens, streams = (engine.step_tokens, 1) if at_once else (self._step_tokens(), engine.lanes)
        batches = batches_by_length(own, tokens, streams)
        window.pending = len(batches)
        steps = [_Step(self, window, batch) for batch in batches]
        if steps and not at_once:
            window.done = threading.Event()
            self._path.lanes.add(steps, self._work_class)
            return steps
        for step in steps:
            if window.error is None:
                step.take(self._path.soon())
        return []

    def _finished(self, window: Window, steps: list[_Step]) -> EmbeddedTexts:
        duplicates = len(window.repeats)
        try:
            if window.done is not None:
                window.done.wait()
            window.settle(self._maker.cache)
        except BaseException:
            self._path.lanes.cancel(steps)
            raise
        totals, failed = self.totals, window.failed
        if failed:
            failed = dict(sorted(failed.items()))
            totals.failed.update({totals.texts + row: error for row, error in failed.items()})
        totals.texts += len(window.texts)
        totals.duplicates += duplicates
        totals.cached += window.cached
        totals.truncated += sum(window.truncated)
        totals.input_tokens += sum(window.tokens)
        totals.tokenization_s += window.tokenization_s
        if not window.last:
            _ = totals.work  # or a long job would keep every step of it
        return EmbeddedTexts(window.vectors, np.array(window.tokens, np.int32), failed)
