"""What waits and what runs: one queue for all models, and a thread per lane that takes from it the moment it is free.

Requests are made, cancelled and answered on the event loop's thread; lanes run on their own. A free lane takes what
waits at once, never by a timer: past the saturation point a larger step buys no throughput, and everyone in it waits
longer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from farthing.embedding.steps import MOST_POSITIONS
from farthing.engine.contract import Engine, Ids, Lane, Vectors
from farthing.errors import EngineError
from farthing.scheduling.queue import FILLER, Queue
from farthing.theory.work import Work

SHORT_TOKENS = (64, 512)
"""Tokens of a request: up to the first, up to the second, and more are classes of work. The shorter go first, and since
a step begins with one class, texts of like lengths share it: what it computes beside its tokens is then least."""

FREE_TOKENS = 128
"""Tokens up to which a step takes hardly longer for more: a lane's share is filled up to there (docs/log.md)."""


@dataclass(slots=True, eq=False)
class Text:
    """A text that waits for a lane.

    Attributes:
        request: whose it is.
        row: which of its texts.
        ids: int32 (tokens,).
        arrived_s: by the dispatcher's clock.
    """

    request: Request
    row: int
    ids: Ids
    arrived_s: float


@dataclass(slots=True, eq=False)
class Request:
    """Texts that came together and are waited for together.

    Attributes:
        model: name of the model.
        prompt: ids that all texts begin with; None for none.
        vectors: float32 (n, dimension); zeros for a text that failed.
        failed: the error of each text without a vector.
        answered: done when every text has a vector or an error, or was cancelled.
        work: what its texts computed, padding within.
        device_s: its share of the busy seconds of the steps that they rode in, by executed FLOPs.
        arrived_s: when it came, by the dispatcher's clock.
        taken_s: when its first text was taken by a lane; None while none was.
        done_s: when its last text was done.
    """

    model: str
    prompt: Ids | None
    vectors: Vectors
    answered: asyncio.Future[None]
    arrived_s: float
    waiting: list[Text] = field(default_factory=list)
    pending: int = 0
    failed: dict[int, EngineError] = field(default_factory=dict)
    work: Work = field(default_factory=Work)
    device_s: float = 0.0
    taken_s: float | None = None
    done_s: float = 0.0
    gone: bool = False


@dataclass(slots=True)
class Totals:
    """What all lanes did since the start.

    Attributes:
        busy_s: seconds of lanes in steps.
        billed_s: of them, shared out to requests that were answered.
        dropped_s: of them, those of texts whose client had gone.
        steps: steps run.
        work: what was computed.
    """

    busy_s: float = 0.0
    billed_s: float = 0.0
    dropped_s: float = 0.0
    steps: int = 0
    work: Work = field(default_factory=Work)


class Dispatcher:
    """Takes requests, runs their texts in steps, and answers on the event loop."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        *,
        slack_s: float = 0.1,
        max_tokens: float = 1_000_000,
        filler_tokens: int = 512,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the models of one device; the lanes' threads start with `start`.

        Args:
            engines: name of a model → its engine; all on one device, whose lanes take turns.
            slack_s: seconds by which a text may be overtaken by shorter ones that came later, for each step of length.
            max_tokens: most tokens that wait, batch work left out; more are refused.
            filler_tokens: most tokens of a step of batch work, since what comes meanwhile waits for its end.
            clock: seconds, from any start.
        """
        self._engines, self._clock, self._filler_tokens = engines, clock, filler_tokens
        self.lanes = max(engine.lanes for engine in engines.values())
        self._step_tokens = min(engine.step_tokens for engine in engines.values())
        self._queue = Queue[Text](
            lambda text: len(text.ids), lambda text: text.arrived_s, ageing_s=slack_s, max_tokens=max_tokens
        )
        self._change = threading.Condition(threading.RLock())
        self._threads: list[threading.Thread] = []
        self._soon: dict[str, Lane] = {}
        self._running, self._closing = 0, False
        self.totals, self.started_s = Totals(), clock()

    def start(self) -> None:
        """Compile what traffic can meet and start the lanes' threads.

        Raises:
            EngineError: the device refused.
        """
        for engine in self._engines.values():
            engine.warm("throughput")
            engine.warm("latency")
        self._soon = {name: engine.lane("latency") for name, engine in self._engines.items()}
        for _ in range(self.lanes):
            lanes = {name: engine.lane("throughput") for name, engine in self._engines.items()}
            self._threads.append(threading.Thread(target=self._serve, args=(lanes,), daemon=True))
        self.started_s = self._clock()
        for thread in self._threads:
            thread.start()

    def submit(
        self, model: str, texts: Sequence[Ids], prompt: Ids | None = None, *, batch: bool = False
    ) -> Request:
        """Leave texts to the lanes and return their request; on the event loop's thread.

        Args:
            model: name of the model.
            texts: token ids of each, at least one.
            prompt: ids that all texts begin with; None for none.
            batch: whether they can wait for idle time.

        Raises:
            QueueFullError: too much waits already.
        """
        now = self._clock()
        vectors = np.zeros((len(texts), self._engines[model].dimension), np.float32)
        request = Request(model, prompt, vectors, asyncio.get_running_loop().create_future(), now)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        request.waiting = [Text(request, row, texts[row], now) for row in order]
        request.pending = len(texts)
        tokens = sum(map(len, texts))
        work_class = FILLER if batch else sum(tokens > most for most in SHORT_TOKENS)
        with self._change:
            if self._closing:
                raise EngineError("the server is stopping")
            self._queue.add(
                request.waiting, work_class, (model, None if prompt is None else prompt.tobytes())
            )
            self._change.notify_all()
        return request

    def cancel(self, request: Request) -> None:
        """Forget what has not started of a request whose client has gone; what has is billed to nobody."""
        with self._change:
            request.gone = True
            for text in request.waiting:
                if self._queue.cancel(text):
                    request.pending -= 1
        _settle([request])

    @property
    def waiting_tokens(self) -> float:
        """Tokens that wait, batch work left out."""
        return self._queue.tokens

    def close(self) -> None:
        """End the threads after the steps that they are in; whoever waits for others gets an error."""
        with self._change:
            self._closing = True
            while left := self._queue.take():
                self._finish(
                    [(text, EngineError("the server stopped before this text ran")) for text in left]
                )
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, lane: Lane, texts: Sequence[Text]) -> None:
        """Run a step and hand out what came of it."""
        try:
            done = lane.run([text.ids for text in texts], texts[0].request.prompt)
        except BaseException as error:  # of the device, not of a text: whoever waits must hear of it
            self._finish([(text, EngineError(f"the engine failed: {error}")) for text in texts])
            return
        works = done.works()
        flops = sum(work.executed_flops for work in works)
        now, outcomes = self._clock(), []
        with self._change:
            self.totals.steps += 1
            self.totals.busy_s += done.device_s
            self._leaves(sum(work.useful_tokens for work in works), done.device_s)
            for row, (text, work) in enumerate(zip(texts, works, strict=True)):
                share = work.executed_flops / flops if flops else 1 / len(texts)
                request = text.request
                self.totals.work += work
                if request.gone:
                    self.totals.dropped_s += share * done.device_s
                    continue
                self.totals.billed_s += share * done.device_s
                request.device_s += share * done.device_s
                request.work += work
                request.done_s = now
                outcomes.append((text, done.failed.get(row)))
                request.vectors[text.row] = done.vectors[row]
        self._finish(outcomes)

    def _leaves(self, tokens: int, seconds: float) -> None:
        """Keep how many tokens leave the queue a second, of the last dozens of steps."""
        if seconds:
            rate, known = self.lanes * tokens / seconds, self._queue.tokens_per_s
            self._queue.tokens_per_s = rate if known is None else known + (rate - known) / 16

    def _finish(self, outcomes: Sequence[tuple[Text, EngineError | None]]) -> None:
        """Count texts as done, and tell the event loop of the requests that are."""
        whole = []
        with self._change:
            for text, error in outcomes:
                request = text.request
                if error is not None:
                    request.failed[text.row] = EngineError(str(error))
                request.pending -= 1
                if not request.pending:
                    whole.append(request)
        with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            if whole:
                whole[0].answered.get_loop().call_soon_threadsafe(_settle, whole)

    def _serve(self, lanes: Mapping[str, Lane]) -> None:
        while True:
            with self._change:
                while not self._closing and not (texts := self._take()):
                    self._change.wait()
                if self._closing:
                    return
                now = self._clock()
                for text in texts:
                    if text.request.taken_s is None:
                        text.request.taken_s = now
                own = self._soon if self._finds_nobody(texts) else lanes
                self._running += 1
            try:
                self._run(own[texts[0].request.model], texts)
            finally:
                with self._change:
                    self._running -= 1
            del texts

    def _finds_nobody(self, texts: Sequence[Text]) -> bool:
        """Return whether a step may have the whole device: nothing runs or waits, and it is small.

        It then ends sooner, on all cores; what comes meanwhile is taken by the other lanes all the same.
        """
        positions = len(texts) * max(len(text.ids) for text in texts)
        return not self._running and not len(self._queue) and positions <= MOST_POSITIONS

    def _take(self) -> list[Text]:
        return self._queue.take(
            self._step_tokens, self.lanes, free_tokens=FREE_TOKENS, filler_tokens=self._filler_tokens
        )


def _settle(requests: Sequence[Request]) -> None:
    for request in requests:
        if not request.answered.done():
            request.answered.set_result(None)
