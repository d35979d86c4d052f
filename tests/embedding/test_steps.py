"""The step path: one vector for each text, in order, whatever the windows; errors surface and nothing else is lost."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.embedding import steps, windows
from farthing.embedding.cache import VectorCache
from farthing.embedding.steps import EmbeddedTexts, StepPath, Totals
from farthing.embedding.windows import Window
from farthing.engine.load import EmbeddingModel, load_model
from farthing.errors import EngineError, InputError
from farthing.theory.flops import forward_flops
from staged_engine import staged_model

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def path(tiny_bert: Path) -> Iterator[StepPath]:
    made = StepPath(load_model(str(tiny_bert)))
    yield made
    made.close()


@pytest.fixture
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make windows so small that a few texts need many."""
    set_window(monkeypatch, 7)


def set_window(monkeypatch: pytest.MonkeyPatch, texts: int, remembered: int = 1_000_000) -> None:
    monkeypatch.setattr(steps, "WINDOW_TEXTS", texts)
    monkeypatch.setattr(windows, "REMEMBERED_BYTES", remembered)


def random_texts(count: int, different: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    pool = [" ".join(generator.choices(LETTERS, k=generator.randint(0, 40))) for _ in range(different)]
    return generator.choices(pool, k=count)


def one_by_one(model: EmbeddingModel, texts: list[str]) -> npt.NDArray[np.float32]:
    lane = model.engine.lane()
    known: dict[str, npt.NDArray[np.float32]] = {}
    for text in texts:
        if text not in known:
            known[text] = lane.run(model.tokenizer.encode([text]).ids).vectors[0]
    return np.array([known[text] for text in texts], np.float32)


def run(path: StepPath, texts: list[str], **hooks: Any) -> tuple[list[EmbeddedTexts], Totals]:
    job = path.job(iter(texts), 64, prompt="", cache=VectorCache(0), **hooks)
    return list(job), job.totals


def started(path: StepPath, texts: Iterator[str]) -> Generator[EmbeddedTexts]:
    parts = iter(path.job(texts, 64, prompt="", cache=VectorCache(0)))
    assert isinstance(parts, Generator)
    return parts


def joined(parts: list[EmbeddedTexts]) -> npt.NDArray[np.float32]:
    return np.concatenate([part.vectors for part in parts])


@pytest.mark.usefixtures("_small_windows")
def test_in_order_and_as_each_text_alone(path: StepPath) -> None:
    texts = random_texts(200, 60)
    parts, _ = run(path, texts)
    assert [len(part.tokens) for part in parts] == [7] * 28 + [4]
    np.testing.assert_allclose(joined(parts), one_by_one(path.model, texts), atol=1e-5)
    tokens = np.concatenate([part.tokens for part in parts])
    assert tokens.tolist() == path.model.tokenizer.encode(texts).lengths
    assert tokens.dtype == np.int32


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    numbers=st.lists(st.integers(0, 12), max_size=60),
    size=st.integers(1, 12),
    remembered=st.sampled_from([0, 200, 1000, 1_000_000]),
)
def test_repeats_get_equal_vectors_in_any_window(
    path: StepPath, numbers: list[int], size: int, remembered: int
) -> None:
    """Nearby they are computed once; far back again, and right."""
    texts = [" ".join(LETTERS[:n]) for n in numbers]
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_window(monkeypatch, size, remembered)
        parts, totals = run(path, texts)
    expected = one_by_one(path.model, texts)
    vectors = joined(parts) if parts else np.empty((0, 36), np.float32)
    np.testing.assert_allclose(vectors.reshape(expected.shape), expected, atol=1e-5)
    assert totals.texts == len(texts)
    assert totals.duplicates <= len(texts) - len(set(texts))
    if remembered == 1_000_000:
        assert totals.duplicates == len(texts) - len(set(texts))
    tokens = path.model.tokenizer.encode(texts).lengths
    assert totals.input_tokens == sum(tokens)


@pytest.mark.usefixtures("_small_windows")
def test_repeats_are_bit_for_bit_equal(path: StepPath) -> None:
    texts = random_texts(100, 20)
    vectors = joined(run(path, texts)[0])
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(vectors[row], vectors[first[text]])


@pytest.mark.parametrize("window", [5, 8192])
def test_totals_add_up(path: StepPath, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    set_window(monkeypatch, window)
    texts = [*random_texts(150, 40), "a " * 100, "a " * 100]
    ran: list[tuple[int, int]] = []
    _, totals = run(path, texts, on_step=lambda count, tokens: ran.append((count, tokens)))
    tokenized = path.model.tokenizer.encode(texts)
    unique = dict(zip(texts, tokenized.lengths, strict=True))
    assert (totals.texts, totals.duplicates, totals.cached) == (152, 152 - len(unique), 0)
    assert totals.failed == {}
    assert totals.truncated == sum(tokenized.truncated) > 2
    assert totals.input_tokens == sum(tokenized.lengths)
    assert totals.work.useful_tokens == sum(unique.values())
    assert totals.work.useful_flops == forward_flops(path.model.checkpoint.shape, list(unique.values())).total
    assert totals.work.executed_flops >= totals.work.useful_flops
    assert sum(count for count, _ in ran) == len(unique)
    assert sum(tokens for _, tokens in ran) == sum(unique.values())
    assert totals.busy_s > 0
    assert totals.tokenization_s > 0


def test_no_texts(path: StepPath) -> None:
    parts, totals = run(path, [])
    assert parts == []
    assert totals == Totals()


def test_the_first_window_is_seen_before_any_step(path: StepPath, monkeypatch: pytest.MonkeyPatch) -> None:
    set_window(monkeypatch, 3)
    events: list[str] = []

    def seen(window: Window) -> None:
        events.append(f"window of {len(window.texts)}")

    run(
        path,
        ["a", "b", "c", "d"],
        on_first_window=seen,
        on_step=lambda _texts, _tokens: events.append("step"),
    )
    assert events[0] == "window of 3"
    assert set(events[1:]) == {"step"}


@pytest.mark.usefixtures("_small_windows")
@pytest.mark.parametrize("good", [0, 1, 6, 7, 8, 50])
def test_an_error_in_the_input_surfaces(path: StepPath, good: int) -> None:
    def texts() -> Iterator[str]:
        yield from random_texts(good, 30)
        raise InputError("row 3 is broken")

    with pytest.raises(InputError, match="row 3 is broken"):
        list(started(path, texts()))
    assert joined(run(path, ["a", "b"])[0]).shape == (2, 36)


@pytest.mark.parametrize("step_tokens", [20, 64, 200])
def test_steps_keep_the_budget(tiny_bert: Path, step_tokens: int) -> None:
    """Padded to the longest of them; a text that is longer goes alone. Every text is run once."""
    model, engine = staged_model(tiny_bert)
    path = StepPath(model)
    texts = [str(n) + " a" * (n % 40) for n in range(200)]
    list(path.job(texts, step_tokens, prompt="", cache=VectorCache(0)))
    assert all(len(ran) == 1 or len(ran) * max(map(len, ran)) <= step_tokens for ran in engine.ran)
    assert engine.texts_run() == sorted(tuple(ids.tolist()) for ids in model.tokenizer.encode(texts).ids)
    engine.ran.clear()
    engine.step_tokens = step_tokens
    at_once = StepPath(model, "latency")
    list(at_once.call(texts, prompt="", cache=VectorCache(0)))
    assert all(len(ran) == 1 or len(ran) * max(map(len, ran)) <= step_tokens for ran in engine.ran)
    path.close()
    at_once.close()


@pytest.mark.usefixtures("_small_windows")
def test_an_error_that_is_no_texts_own_surfaces(tiny_bert: Path) -> None:
    """Whatever a lane raises but an `EngineError` is a mistake of ours: no text is to blame."""
    model, engine = staged_model(tiny_bert)
    path = StepPath(model)

    def fail(_: object) -> None:
        if len(engine.ran) > 5:
            raise IndexError("out of places")

    engine.before = fail
    with pytest.raises(IndexError, match="out of places"):
        run(path, random_texts(300, 300))
    engine.before = lambda _: None
    assert joined(run(path, ["a", "b"])[0]).shape == (2, 36)
    path.close()


def test_a_lane_that_cannot_be_made_surfaces(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, engine = staged_model(tiny_bert)
    path = StepPath(model)

    def fail(_mode: object) -> None:
        raise EngineError("no memory for a lane")

    with monkeypatch.context() as inner:
        inner.setattr(engine, "lane", fail)
        with pytest.raises(EngineError, match="no memory"):
            run(path, ["a"])
        with pytest.raises(EngineError, match="no memory"):
            list(path.call(["a"], prompt="", cache=VectorCache(0)))
    assert joined(run(path, ["a"])[0]).shape == (1, 36)  # there was some again
    path.close()


@pytest.mark.parametrize("hook", ["on_first_window", "on_step"])
def test_an_error_in_a_hook_surfaces(path: StepPath, hook: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("from the hook")

    with pytest.raises(RuntimeError, match="from the hook"):
        run(path, ["a", "b"], **{hook: fail})


@pytest.mark.usefixtures("_small_windows")
@pytest.mark.parametrize("parts", [0, 1, 3])
def test_leaving_early_reads_little(path: StepPath, parts: int) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield str(read)

    running = started(path, endless())
    for _ in range(parts):
        next(running)
    running.close()
    assert read <= (parts + 5) * 7


@pytest.mark.usefixtures("_small_windows")
def test_a_slow_consumer_holds_the_input_back(path: StepPath) -> None:
    """Bounded memory: no more than a few windows are read ahead of what was consumed."""
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for n in range(400):
            read += 1
            yield f"{n}"

    consumed = most_ahead = 0
    for part in started(path, texts()):
        consumed += len(part.tokens)
        most_ahead = max(most_ahead, read - consumed)
    assert consumed == 400
    assert most_ahead <= 6 * 7


def test_vectors_do_not_change_after_they_were_given(path: StepPath, monkeypatch: pytest.MonkeyPatch) -> None:
    set_window(monkeypatch, 4)
    kept: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    for part in started(path, iter(random_texts(100, 100))):
        kept.append((part.vectors, part.vectors.copy()))
    for now, then in kept:
        np.testing.assert_array_equal(now, then)
