"""Texts in, vectors out, in order: tokenizing, the device and the consumer overlap, in bounded memory.

One thread makes windows; one thread for each stream runs batches; the caller consumes finished windows.
At most `_WINDOWS` windows are on their way at a time, besides the one that the caller consumes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from farthing.engine.model import EmbeddingModel
from farthing.engine.spool import VectorSpool
from farthing.embedding.windows import REMEMBERED_TEXTS, Window, WindowMaker
from farthing.scheduling.batching import Batch
from farthing.theory.work import Work, packed_batch_work, prefix_work

_WINDOWS = 3

Progress = Callable[[int, int], None]
"""Called after each step with its texts and useful tokens, from the streams' threads."""


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """Consecutive texts and what they became.

    Attributes:
        vectors: float32 (n, dimension), one for each text.
        tokens: int32 (n,), tokens of each text.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int32]


@dataclass(slots=True)
class Totals:
    """What a pipeline has done so far; complete when its iterator ends.

    Attributes:
        texts: texts consumed.
        duplicates: of them, repeats that were not computed.
        truncated: of them, cut at the length limit.
        input_tokens: tokens over all texts.
        work: what was computed.
        busy_s: busy seconds of all streams together.
        tokenization_s: wall seconds of tokenizing.
    """

    texts: int = 0
    duplicates: int = 0
    truncated: int = 0
    input_tokens: int = 0
    work: Work = field(default_factory=Work)
    busy_s: float = 0.0
    tokenization_s: float = 0.0


class Pipeline:
    """Runs one job through a model."""

    def __init__(
        self,
        model: EmbeddingModel,
        max_batch_tokens: int,
        *,
        prompt: str = "",
        on_first_window: Callable[[Window], None] | None = None,
        on_step: Progress | None = None,
    ) -> None:
        """Prepare a job.

        Args:
            model: the loaded model.
            max_batch_tokens: most positions in one step.
            prompt: what all texts begin with; a causal model computes it once. Texts come with it.
            on_first_window: called when the first window is tokenized and before any step runs.
            on_step: called after each step.
        """
        self.totals = Totals()
        self._model = model
        self._maker = WindowMaker(
            model.tokenizer,
            model.compiled.dimension,
            max_batch_tokens,
            model.compiled.streams,
            prompt if model.checkpoint.reuses_prefixes else "",
        )
        self._on_first_window = on_first_window
        self._on_step = on_step
        self._slots = threading.Semaphore(_WINDOWS)
        self._steps: queue.SimpleQueue[tuple[Window, Batch] | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[Window | BaseException | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Window | BaseException] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def run(self, texts: Iterable[str]) -> Iterator[EmbeddedTexts]:
        """Yield the embedded texts in the order of the input, a window at a time.

        An error in any thread, or in the input, is raised here; leaving early stops all threads.
        """
        streams = self._model.compiled.streams
        threads = [threading.Thread(target=self._make_windows, args=(texts,), daemon=True)]
        threads += [threading.Thread(target=self._run_steps, daemon=True) for _ in range(streams)]
        for thread in threads:
            thread.start()
        try:
            yield from self._collect()
        finally:
            self._stopping.set()
            self._slots.release()
            for _ in range(streams):
                self._steps.put(None)
            for thread in threads:
                thread.join()

    def _make_windows(self, texts: Iterable[str]) -> None:
        try:
            windows = self._maker.windows(texts)
            first = True
            while self._wait_for_slot():
                window = next(windows, None)
                if window is None:
                    break
                if first and self._on_first_window is not None:
                    self._on_first_window(window)
                first = False
                self._made.put(window)
                for batch in window.batches:
                    self._steps.put((window, batch))
                if not window.batches:
                    self._finished.put(window)
                if window.last:
                    break
            self._made.put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            self._made.put(error)
            self._finished.put(error)

    def _wait_for_slot(self) -> bool:
        self._slots.acquire()
        return not self._stopping.is_set()

    def _run_steps(self) -> None:
        try:
            shape, trim = self._model.checkpoint.shape, self._model.checkpoint.trimmable
            stream = self._model.compiled.stream()
            while (step := self._steps.get()) is not None and not self._stopping.is_set():
                window, batch = step
                start = time.perf_counter()
                ids = [window.ids[row] for row in batch.rows]
                lengths, prefix, past, computed = list(map(len, ids)), window.prefix, None, False
                if prefix:
                    past, computed = self._model.compiled.prefix(ids[0][:prefix])
                    ids = [one[prefix:] for one in ids]
                window.vectors[list(batch.rows)] = stream.run(ids, past)
                busy_s = time.perf_counter() - start
                work = packed_batch_work(
                    shape,
                    lengths,
                    prefix=prefix,
                    prefix_known=True,
                    trim=trim,
                    grid=self._model.compiled.grid_width(max(map(len, ids))),
                )
                if computed:
                    work += prefix_work(shape, prefix)
                with self._lock:
                    self.totals.work += work
                    self.totals.busy_s += busy_s
                if self._on_step is not None:
                    self._on_step(len(ids), work.useful_tokens)
                if window.finished_one():
                    self._finished.put(window)
        except BaseException as error:  # handed to the consumer, which raises it
            self._finished.put(error)

    def _collect(self) -> Iterator[EmbeddedTexts]:
        done: set[int] = set()
        with contextlib.ExitStack() as stack:
            spool: VectorSpool | None = None
            while (window := self._made.get()) is not None:
                if isinstance(window, BaseException):
                    raise window
                while id(window) not in done:
                    finished = self._finished.get()
                    if isinstance(finished, BaseException):
                        raise finished
                    done.add(id(finished))
                done.remove(id(window))
                if spool is None and not window.last:
                    spool = stack.enter_context(VectorSpool(window.vectors.shape[1], REMEMBERED_TEXTS))
                vectors = _resolve(window, spool)
                if spool is not None and not window.last:
                    spool.append(window.first_serial, window.vectors)
                self._count(window)
                self._slots.release()
                yield EmbeddedTexts(vectors, window.tokens)

    def _count(self, window: Window) -> None:
        totals = self.totals
        totals.texts += window.texts
        totals.duplicates += window.duplicates
        totals.truncated += window.truncated
        totals.input_tokens += int(window.tokens.sum())
        totals.tokenization_s += window.tokenization_s


def _resolve(window: Window, spool: VectorSpool | None) -> npt.NDArray[np.float32]:
    """Return a vector for each text of the window, those of repeats included."""
    if window.duplicates == 0:
        return window.vectors
    local = window.source - window.first_serial
    here = local >= 0
    vectors = np.empty((window.texts, window.vectors.shape[1]), np.float32)
    vectors[here] = window.vectors[local[here]]
    for row in np.flatnonzero(~here):
        assert spool is not None  # an earlier window was not the last one, so it made the spool
        vectors[row] = spool.read(int(window.source[row]))
    return vectors
