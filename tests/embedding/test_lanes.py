"""Lanes that live as long as their model: many callers share them, and none of them can spoil another's work."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from farthing.embedding import steps
from farthing.embedding.cache import VectorCache
from farthing.embedding.steps import EmbeddedTexts, Run, StepPath
from farthing.embedding.windows import Window
from farthing.engine import contract
from farthing.engine.contract import Ids
from farthing.errors import EngineError
from staged_engine import StagedEngine, staged_model

WAIT_S = 20
"""Nothing here takes a second; what takes this long hangs."""


@pytest.fixture
def staged(tiny_bert: Path) -> Iterator[tuple[StepPath, StagedEngine]]:
    before = threading.active_count()
    model, engine = staged_model(tiny_bert)
    path = StepPath(model)
    yield path, engine
    path.close()
    deadline = time.monotonic() + WAIT_S
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


class Gate:
    """Holds passes up until it is opened, and tells how many wait."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, _: Sequence[Ids]) -> None:
        self.waiting.release()
        assert self.open.wait(WAIT_S)


def texts_of(name: str, count: int) -> list[str]:
    """Return different texts, of which no few are run at once."""
    return [f"{name} {number}" + " the end" * (number % 5) for number in range(count)]


def call(path: StepPath, texts: list[str]) -> Run:
    return path.call(texts, prompt="", cache=VectorCache(0))


def job(path: StepPath, texts: Iterator[str] | list[str], step_tokens: int = 64) -> Run:
    return path.job(texts, step_tokens, prompt="", cache=VectorCache(0))


def joined(parts: Iterator[EmbeddedTexts] | Run) -> npt.NDArray[np.float32]:
    return np.concatenate([part.vectors for part in parts])


def right(path: StepPath, engine: StagedEngine, texts: list[str]) -> npt.NDArray[np.float32]:
    return engine.vectors_of(path.model.tokenizer.encode(texts).ids)


def test_eight_threads_get_their_own_vectors(staged: tuple[StepPath, StagedEngine]) -> None:
    path, engine = staged
    engine.before = lambda _: time.sleep(0.0005)
    everyone = threading.Barrier(8)

    def ask(number: int) -> None:
        everyone.wait(WAIT_S)
        for turn in range(12):
            texts = texts_of(f"of {number} in {turn}", (1, 3, 70)[turn % 3])
            np.testing.assert_array_equal(joined(call(path, texts)), right(path, engine, texts))

    with ThreadPoolExecutor(8) as pool:
        for done in pool.map(ask, range(8)):
            assert done is None
    assert engine.made.count("throughput") == engine.lanes
    assert engine.made.count("latency") == 1


def test_two_jobs_and_calls_at_once(
    staged: tuple[StepPath, StagedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WINDOW_TEXTS", 40)
    path, engine = staged
    engine.before = lambda _: time.sleep(0.0005)

    def work(number: int) -> None:
        if number < 2:
            texts = texts_of(f"job {number}", 600)
            np.testing.assert_array_equal(joined(job(path, iter(texts))), right(path, engine, texts))
        else:
            for turn in range(20):
                texts = texts_of(f"call {number} {turn}", 1 + 7 * (turn % 8))
                np.testing.assert_array_equal(joined(call(path, texts)), right(path, engine, texts))

    with ThreadPoolExecutor(6) as pool:
        for done in pool.map(work, range(6)):
            assert done is None


def test_no_more_passes_at_once_than_lanes(staged: tuple[StepPath, StagedEngine]) -> None:
    path, engine = staged
    lock, running, most, threads = threading.Lock(), 0, 0, set()

    def count(_: object) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.get_ident())
        time.sleep(0.001)
        with lock:
            running -= 1

    engine.before = count
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: joined(job(path, texts_of(f"{number}", 100))), range(6)))
    assert most == len(threads) == engine.lanes


def test_a_call_goes_before_what_waits_of_a_job(staged: tuple[StepPath, StagedEngine]) -> None:
    path, engine = staged
    engine.before = gate = Gate()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(lambda: joined(job(path, texts_of("job", 200))))
        for _ in range(engine.lanes):
            assert gate.waiting.acquire(timeout=WAIT_S)
        asked = texts_of("call", 70)
        quick = pool.submit(lambda: joined(call(path, asked)))
        deadline = time.monotonic() + WAIT_S
        while len(path.lanes._queue) < 200 // 64 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        gate.open.set()
        np.testing.assert_array_equal(quick.result(WAIT_S), right(path, engine, asked))
        slow.result(WAIT_S)
    own = {tuple(ids.tolist()) for ids in path.model.tokenizer.encode(asked).ids}
    places = [number for number, texts in enumerate(engine.ran) if texts[0] in own]
    assert places[0] <= engine.lanes
    assert places[-1] < len(places) + engine.lanes


@pytest.mark.parametrize("how", ["closed", "an error in the input", "an error in the consumer"])
def test_what_had_not_started_is_taken_back(
    staged: tuple[StepPath, StagedEngine], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(steps, "WINDOW_TEXTS", 50)
    path, engine = staged
    first = texts_of("a", 50)
    passed = {tuple(ids.tolist()) for ids in path.model.tokenizer.encode(first).ids}
    gate = Gate()
    engine.before = lambda texts: None if tuple(texts[0].tolist()) in passed else gate(texts)

    def texts() -> Iterator[str]:
        yield from first
        yield from texts_of("b", 150)
        if how == "an error in the input":
            raise KeyError("broken")
        yield from texts_of("c", 10_000)

    parts = iter(job(path, texts(), 32))
    assert isinstance(parts, Generator)
    np.testing.assert_array_equal(next(parts).vectors, right(path, engine, first))
    for _ in range(engine.lanes):
        assert gate.waiting.acquire(timeout=WAIT_S)
    assert len(path.lanes._queue) > 0
    if how == "closed":
        parts.close()
    elif how == "an error in the input":
        with pytest.raises(KeyError, match="broken"):
            next(parts)
    else:
        with pytest.raises(LookupError):
            parts.throw(LookupError("of the consumer"))
    assert len(path.lanes._queue) == 0
    gate.open.set()
    asked = texts_of("d", 100)
    np.testing.assert_array_equal(joined(job(path, asked)), right(path, engine, asked))
    others = [texts for texts in engine.ran if texts[0] not in passed]
    mine = {tuple(ids.tolist()) for ids in path.model.tokenizer.encode(asked).ids}
    assert sum(texts[0] not in mine for texts in others) == engine.lanes


def test_an_error_in_one_job_is_not_anothers(staged: tuple[StepPath, StagedEngine]) -> None:
    """Several jobs in the same lanes, one of which trips over a hook of its own."""
    path, engine = staged
    engine.before = lambda _: time.sleep(0.0005)

    def fail(_texts: int, _tokens: int) -> None:
        raise LookupError("from the hook")

    def work(number: int) -> None:
        texts = texts_of(f"{number}", 300)
        if number == 1:
            run = path.job(texts, 64, prompt="", cache=VectorCache(0), on_step=fail)
            with pytest.raises(LookupError, match="from the hook"):
                list(run)
        else:
            np.testing.assert_array_equal(joined(job(path, texts)), right(path, engine, texts))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, range(3))) == [None] * 3
    assert len(path.lanes._queue) == 0


def test_closing_ends_whoever_waits(tiny_bert: Path) -> None:
    """Steps that run are finished; for others, whoever waits for them gets an error instead of waiting for ever."""
    model, engine = staged_model(tiny_bert)
    path, lanes = StepPath(model), engine.lanes
    engine.before = gate = Gate()
    with ThreadPoolExecutor(3) as pool:
        waiting: list[Future[object]] = [
            pool.submit(lambda name=name: joined(job(path, texts_of(name, 200))))  # type: ignore[misc]
            for name in ("a", "b")
        ]
        for _ in range(lanes):
            assert gate.waiting.acquire(timeout=WAIT_S)
        closing = pool.submit(path.close)
        for one in waiting:
            with pytest.raises(EngineError, match=r"the model (is|was) closed"):
                one.result(WAIT_S)
        assert not closing.done()
        gate.open.set()
        closing.result(WAIT_S)
    assert len(engine.ran) == lanes
    for run in (job, call):
        with pytest.raises(EngineError, match="the model is closed; load it again"):
            run(path, ["a"])


def test_closing_waits_for_no_input(tiny_bert: Path) -> None:
    """What is read by the time that it stalls is run; closing ends the lanes and not the reader."""
    path = StepPath(staged_model(tiny_bert)[0])
    stalled, go_on = threading.Event(), threading.Event()

    def texts() -> Iterator[str]:
        yield from texts_of("a", 10_000)
        stalled.set()
        assert go_on.wait(WAIT_S)
        yield from texts_of("b", 10_000)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: joined(job(path, texts())))
        assert stalled.wait(WAIT_S)
        before = time.monotonic()
        path.close()
        assert time.monotonic() - before < WAIT_S / 2
        assert not reading.done()
        go_on.set()
        with pytest.raises(EngineError, match="the model is closed"):
            reading.result(WAIT_S)


def test_closing_from_a_lane(tiny_bert: Path) -> None:
    """As happens where a lane's own thread collects the garbage that an embedder has become."""
    path = StepPath(staged_model(tiny_bert)[0])
    before = threading.active_count()

    def close() -> None:
        with path.lanes._change:
            path.lanes.close()

    ended = threading.Thread(
        target=lambda: list(path.job(["a"], 64, prompt="", cache=VectorCache(0), on_step=lambda *_: close()))
    )
    ended.start()
    ended.join(WAIT_S)
    assert not ended.is_alive()
    for thread in path.lanes._threads:
        thread.join(WAIT_S)
    assert threading.active_count() == before


@pytest.mark.parametrize("texts", [["a"], texts_of("many", 100)])
def test_no_window_outlives_its_call(staged: tuple[StepPath, StagedEngine], texts: list[str]) -> None:
    path, _ = staged
    before = [one for one in gc.get_objects() if type(one) is Window]
    joined(call(path, texts))
    joined(job(path, texts))
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        gc.collect()
        alive = [one for one in gc.get_objects() if type(one) is Window]
        if len(alive) <= len(before):
            return
        del alive
        time.sleep(0.01)
    pytest.fail("a lane holds on to the last window")


CHOKES = (3, 11, 12, 40, 41, 42, 199)
"""Rows of texts that the device chokes on, in small windows and large ones, alone and beside each other."""

Choke = Callable[[StagedEngine, Callable[[Ids], bool]], None]


def refuse(engine: StagedEngine, chokes: Callable[[Ids], bool]) -> None:
    engine.refuses = chokes


def spoil(engine: StagedEngine, chokes: Callable[[Ids], bool]) -> None:
    engine.spoils = chokes


@pytest.mark.parametrize("window", [16, 8192])
@pytest.mark.parametrize("choke", [refuse, spoil])
def test_a_text_that_the_device_chokes_on_fails_alone(
    staged: tuple[StepPath, StagedEngine], monkeypatch: pytest.MonkeyPatch, choke: Choke, window: int
) -> None:
    monkeypatch.setattr(steps, "WINDOW_TEXTS", window)
    path, engine = staged
    texts = texts_of("a", 200)
    bad = {tuple(path.model.tokenizer.encode([texts[row]]).ids[0].tolist()) for row in CHOKES}
    choke(engine, lambda ids: tuple(ids.tolist()) in bad)
    # Some are repeated, near and far: a repeat fails as what it repeats.
    asked = [*texts, texts[3], texts[4], texts[199], texts[0]]
    expected = {*CHOKES, 200, 202}
    run = job(path, iter(asked))
    parts = list(run)
    vectors = joined(iter(parts))
    correct = right(path, engine, asked)
    good = [row for row in range(len(asked)) if row not in expected]
    np.testing.assert_array_equal(vectors[good], correct[good])
    np.testing.assert_array_equal(vectors[sorted(expected)], 0)
    assert set(run.totals.failed) == expected
    assert all(isinstance(error, EngineError) for error in run.totals.failed.values())
    start, said = 0, set()
    for part in parts:
        said |= {start + row for row in part.failed}
        start += len(part.tokens)
    assert said == expected
    assert run.totals.texts == len(asked)
    assert run.totals.input_tokens == sum(path.model.tokenizer.encode(asked).lengths)


def test_of_texts_that_fail_in_calls_the_others_stand(staged: tuple[StepPath, StagedEngine]) -> None:
    path, engine = staged
    for asked in (["a", "b", "c"], texts_of("x", 100)):
        bad = tuple(path.model.tokenizer.encode([asked[1]]).ids[0].tolist())
        engine.refuses = lambda ids, bad=bad: tuple(ids.tolist()) == bad  # type: ignore[misc]
        (part,) = list(call(path, asked))
        assert set(part.failed) == {1}
        rest = [0, *range(2, len(asked))]
        np.testing.assert_array_equal(part.vectors[rest], right(path, engine, asked)[rest])


def test_errors_that_are_kept_hold_on_to_nothing(staged: tuple[StepPath, StagedEngine]) -> None:
    """Else a job with a bad text in each step would keep the vectors of all steps, by its errors' tracebacks."""
    path, engine = staged
    texts = texts_of("a", 300)
    bad = {tuple(ids.tolist()) for ids in path.model.tokenizer.encode(texts[::10]).ids}
    engine.refuses = lambda ids: tuple(ids.tolist()) in bad
    before = [one for one in gc.get_objects() if type(one) is contract._Step]
    run = job(path, texts)
    for part in run:
        del part
    assert len(run.totals.failed) == 30
    gc.collect()
    assert len([one for one in gc.get_objects() if type(one) is contract._Step]) <= len(before)
    assert {str(error) for error in run.totals.failed.values()} == {"the device choked"}
