"""What waits and what runs, on an engine that computes nothing: order, admission, cancelling, a bill that adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from farthing.engine.contract import Done, Ids, Lane
from farthing.errors import EngineError, QueueFullError
from farthing.serve.dispatch import Dispatcher
from staged_engine import StagedEngine, staged_model

MODEL = "m"


def text(tokens: int, first: int = 1) -> Ids:
    return np.arange(first, first + tokens, dtype=np.int32) % 50


def step_s(lengths: Sequence[int]) -> float:
    return 0.001 + 0.0001 * sum(lengths)


@pytest.fixture
def engine(tiny_bert: Path) -> Iterator[StagedEngine]:
    """An engine whose passes wait for `gate`; one lane, so that the order of steps is the order of passes."""
    _, engine = staged_model(tiny_bert, lanes=1, step_s=step_s)
    yield engine
    engine.before = lambda _: None


def gated(engine: StagedEngine) -> tuple[Event, Event]:
    """Hold every pass until the second event; the first says that one has begun."""
    begun, gate = Event(), Event()

    def hold(_: object) -> None:
        begun.set()
        assert gate.wait(10)

    engine.before = hold
    return begun, gate


def run(dispatcher: Dispatcher, main: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine with the lanes' threads running."""

    async def whole() -> None:
        dispatcher.start()
        try:
            await asyncio.wait_for(main(), 20)
        finally:
            dispatcher.close()

    asyncio.run(whole())


def test_each_text_gets_its_vector_and_the_bill_adds_up(tiny_bert: Path) -> None:
    _, engine = staged_model(tiny_bert, lanes=2, step_s=step_s)
    dispatcher = Dispatcher({MODEL: engine})

    async def main() -> None:
        texts = [[text(n % 7 + 1, n + k) for k in range(n % 5 + 1)] for n in range(60)]
        requests = [dispatcher.submit(MODEL, some) for some in texts]
        await asyncio.gather(*(request.answered for request in requests))
        for request, some in zip(requests, texts, strict=True):
            assert np.array_equal(request.vectors, engine.vectors_of(some))
            assert request.failed == {}
            assert request.work.useful_tokens == sum(map(len, some))
            assert request.arrived_s <= (request.taken_s or 0) <= request.done_s
        totals = dispatcher.totals
        assert totals.billed_s == pytest.approx(sum(request.device_s for request in requests))
        assert totals.billed_s == pytest.approx(totals.busy_s)
        assert totals.busy_s > 0.001 * totals.steps
        assert totals.work.useful_tokens == sum(len(one) for some in texts for one in some)
        assert totals.steps < sum(map(len, texts))

    run(dispatcher, main)


def test_a_share_of_a_step_is_by_flops(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine})
    begun, gate = gated(engine)

    async def main() -> None:
        first = dispatcher.submit(MODEL, [text(3)])
        await asyncio.to_thread(begun.wait)
        long, short = dispatcher.submit(MODEL, [text(30)]), dispatcher.submit(MODEL, [text(10)])
        gate.set()
        await asyncio.gather(first.answered, long.answered, short.answered)
        assert [len(some) for some in engine.ran] == [1, 2]
        flops = long.work.executed_flops / short.work.executed_flops
        assert long.device_s / short.device_s == pytest.approx(flops)

    run(dispatcher, main)


def test_a_text_that_the_device_refuses_fails_alone(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine})
    engine.refuses = lambda ids: len(ids) == 4

    async def main() -> None:
        request = dispatcher.submit(MODEL, [text(3), text(4), text(5)])
        await request.answered
        assert [*request.failed] == [1]
        assert request.vectors[[0, 2]].all()
        after = dispatcher.submit(MODEL, [text(3)])
        await after.answered
        assert after.failed == {}

    run(dispatcher, main)


def test_short_requests_overtake_long_ones_within_the_slack(engine: StagedEngine) -> None:
    orders = {}
    for slack_s in (0.0, 60.0):
        engine.ran.clear()
        dispatcher = Dispatcher({MODEL: engine}, slack_s=slack_s)
        begun, gate = gated(engine)

        async def main(dispatcher: Dispatcher = dispatcher, begun: Event = begun, gate: Event = gate) -> None:
            first = dispatcher.submit(MODEL, [text(2)])
            await asyncio.to_thread(begun.wait)
            long = dispatcher.submit(MODEL, [text(39, k) for k in range(40)])
            short = dispatcher.submit(MODEL, [text(7)])
            gate.set()
            await asyncio.gather(first.answered, long.answered, short.answered)

        run(dispatcher, main)
        orders[slack_s] = len(engine.ran[1][0])
    assert orders == {0.0: 39, 60.0: 7}


def test_a_text_that_finds_nobody_has_the_whole_device(tiny_bert: Path) -> None:
    _, engine = staged_model(tiny_bert, lanes=2, step_s=step_s)
    soon: list[list[int]] = []

    class Told(Lane):
        """The lane for latency, which says what it ran."""

        def run(self, texts: Sequence[Ids], prompt: Ids | None = None) -> Done:
            soon.append(list(map(len, texts)))
            return super().run(texts, prompt)

    make = engine.lane
    engine.lane = (  # type: ignore[method-assign]
        lambda mode="throughput": (
            Told(engine, engine._counter, engine.dimension) if mode == "latency" else make(mode)
        )
    )
    dispatcher = Dispatcher({MODEL: engine})
    begun, gate = gated(engine)

    async def main() -> None:
        alone = dispatcher.submit(MODEL, [text(5)])
        await asyncio.to_thread(begun.wait)
        begun.clear()
        beside = [dispatcher.submit(MODEL, [text(6)]), dispatcher.submit(MODEL, [text(7)])]
        await asyncio.to_thread(begun.wait)
        gate.set()
        await asyncio.gather(alone.answered, *(request.answered for request in beside))
        assert soon == [[5]]
        many = dispatcher.submit(MODEL, [text(39, k) for k in range(60)])
        await many.answered
        assert sum(map(len, soon[1:])) <= 9  # at most what is left in the end is so little
        assert len(engine.texts_run()) == 63

    run(dispatcher, main)


def test_batch_work_runs_while_nothing_else_waits(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine}, filler_tokens=8)
    begun, gate = gated(engine)

    async def main() -> None:
        first = dispatcher.submit(MODEL, [text(2)])
        await asyncio.to_thread(begun.wait)
        batch = dispatcher.submit(MODEL, [text(5), text(6)], batch=True)
        online = dispatcher.submit(MODEL, [text(7)])
        gate.set()
        await asyncio.gather(first.answered, batch.answered, online.answered)
        assert [[len(ids) for ids in some] for some in engine.ran] == [[2], [7], [5], [6]]

    run(dispatcher, main)


def test_what_finds_no_room_is_refused_whole_and_a_large_request_alone_is_not(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine}, max_tokens=20)
    begun, gate = gated(engine)

    async def main() -> None:
        large = dispatcher.submit(MODEL, [text(30)])
        await asyncio.to_thread(begun.wait)
        waiting = dispatcher.submit(MODEL, [text(15)])
        with pytest.raises(QueueFullError) as full:
            dispatcher.submit(MODEL, [text(3), text(3)])
        assert full.value.retry_after_s is None  # no step has ended yet
        assert dispatcher.waiting_tokens == 15
        gate.set()
        await asyncio.gather(large.answered, waiting.answered)
        assert len(engine.texts_run()) == 2
        begun.clear()
        gate.clear()
        running = dispatcher.submit(MODEL, [text(2)])
        await asyncio.to_thread(begun.wait)
        later = dispatcher.submit(MODEL, [text(15)])
        with pytest.raises(QueueFullError) as full:
            dispatcher.submit(MODEL, [text(6)])
        rates = [tokens / step_s([tokens]) for tokens in (30, 15)]
        assert 15 / max(rates) <= (full.value.retry_after_s or 0) <= 15 / min(rates)
        gate.set()
        await asyncio.gather(running.answered, later.answered)

    run(dispatcher, main)


def test_what_has_not_started_when_its_client_goes_never_runs(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine})
    begun, gate = gated(engine)

    async def main() -> None:
        started = dispatcher.submit(MODEL, [text(2)])
        await asyncio.to_thread(begun.wait)
        waiting, staying = dispatcher.submit(MODEL, [text(5)]), dispatcher.submit(MODEL, [text(6)])
        dispatcher.cancel(started)
        dispatcher.cancel(waiting)
        gate.set()
        await staying.answered
        assert engine.texts_run() == sorted([(*text(2).tolist(),), (*text(6).tolist(),)])
        totals = dispatcher.totals
        assert totals.dropped_s > 0
        assert totals.busy_s == pytest.approx(totals.billed_s + totals.dropped_s)
        assert staying.device_s == pytest.approx(totals.billed_s)

    run(dispatcher, main)


def test_whoever_waits_when_the_server_stops_gets_an_error(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine})
    begun, gate = gated(engine)

    async def main() -> None:
        first = dispatcher.submit(MODEL, [text(2)])
        await asyncio.to_thread(begun.wait)
        waiting = dispatcher.submit(MODEL, [text(5)])
        closing = asyncio.create_task(asyncio.to_thread(dispatcher.close))
        await waiting.answered
        assert "stopped before this text ran" in str(waiting.failed[0])
        gate.set()
        await asyncio.gather(first.answered, closing)
        assert first.failed == {}
        with pytest.raises(EngineError, match="stopping"):
            dispatcher.submit(MODEL, [text(5)])

    run(dispatcher, main)


def test_an_engine_that_breaks_tells_everyone_in_the_step(engine: StagedEngine) -> None:
    dispatcher = Dispatcher({MODEL: engine})

    def broken(_: object) -> None:
        raise MemoryError("out of memory")

    engine.before = broken

    async def main() -> None:
        request = dispatcher.submit(MODEL, [text(2), text(3)])
        await request.answered
        assert sorted(request.failed) == [0, 1]
        assert "out of memory" in str(request.failed[0])
        engine.before = lambda _: None
        after = dispatcher.submit(MODEL, [text(2)])
        await after.answered
        assert after.failed == {}

    run(dispatcher, main)
