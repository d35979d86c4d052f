"""The pipeline: one vector for each text, in order, whatever the windows; errors surface and threads end."""

from __future__ import annotations

import random
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.engine import pipeline, windows
from farthing.engine.model import EmbeddingModel, load_model
from farthing.engine.openvino.engine import OpenVinoModel, Stream
from farthing.embedding.steps import EmbeddedTexts, Pipeline, Totals
from farthing.embedding.windows import Window
from farthing.errors import EngineError, InputError
from farthing.theory.flops import forward_flops

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> EmbeddingModel:
    return load_model(str(tiny_bert))


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make windows so small that a few texts need many, and the spool."""
    set_window(monkeypatch, 7)
    return 7


def set_window(monkeypatch: pytest.MonkeyPatch, texts: int, remembered: int = 1_000_000) -> None:
    monkeypatch.setattr(windows, "WINDOW_TEXTS", texts)
    monkeypatch.setattr(windows, "REMEMBERED_TEXTS", remembered)
    monkeypatch.setattr(pipeline, "REMEMBERED_TEXTS", remembered)


def random_texts(count: int, different: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    pool = [" ".join(generator.choices(LETTERS, k=generator.randint(0, 40))) for _ in range(different)]
    return generator.choices(pool, k=count)


def one_by_one(model: EmbeddingModel, texts: list[str]) -> npt.NDArray[np.float32]:
    stream = model.compiled.stream()
    known: dict[str, npt.NDArray[np.float32]] = {}
    for text in texts:
        if text not in known:
            ids = model.tokenizer.encode([text]).ids
            known[text] = stream.run(ids)[0].copy()
    return np.array([known[text] for text in texts], np.float32)


def run(model: EmbeddingModel, texts: list[str]) -> tuple[list[EmbeddedTexts], Totals]:
    job = Pipeline(model, 64)
    return list(job.run(iter(texts))), job.totals


def joined(parts: list[EmbeddedTexts]) -> npt.NDArray[np.float32]:
    return np.concatenate([part.vectors for part in parts])


@pytest.mark.usefixtures("small_windows")
def test_in_order_and_as_each_text_alone(model: EmbeddingModel) -> None:
    texts = random_texts(200, 60)
    parts, _ = run(model, texts)
    assert [len(part.tokens) for part in parts] == [7] * 28 + [4]
    np.testing.assert_allclose(joined(parts), one_by_one(model, texts), atol=1e-5)
    tokens = np.concatenate([part.tokens for part in parts])
    assert tokens.tolist() == model.tokenizer.encode(texts).lengths
    assert tokens.dtype == np.int32


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    numbers=st.lists(st.integers(0, 12), max_size=60),
    size=st.integers(1, 12),
    remembered=st.sampled_from([0, 1, 5, 1000]),
)
def test_repeats_get_equal_vectors_in_any_window(
    model: EmbeddingModel, numbers: list[int], size: int, remembered: int
) -> None:
    texts = [" ".join(LETTERS[:n]) for n in numbers]
    with pytest.MonkeyPatch.context() as monkeypatch:
        # The spool holds one window at least: what is remembered was made before it.
        set_window(monkeypatch, size, max(remembered, 1))
        parts, totals = run(model, texts)
    expected = one_by_one(model, texts)
    vectors = joined(parts) if parts else np.empty((0, 36), np.float32)
    np.testing.assert_allclose(vectors.reshape(expected.shape), expected, atol=1e-5)
    assert totals.texts == len(texts)


@pytest.mark.usefixtures("small_windows")
def test_repeats_are_bit_for_bit_equal(model: EmbeddingModel) -> None:
    texts = random_texts(100, 20)
    vectors = joined(run(model, texts)[0])
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(vectors[row], vectors[first[text]])


@pytest.mark.parametrize("window", [5, 8192])
def test_totals_add_up(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    set_window(monkeypatch, window)
    texts = [*random_texts(150, 40), "a " * 100, "a " * 100]
    steps: list[tuple[int, int]] = []
    job = Pipeline(model, 64, on_step=lambda count, tokens: steps.append((count, tokens)))
    for _ in job.run(texts):
        pass
    totals = job.totals
    tokenized = model.tokenizer.encode(texts)
    unique = dict(zip(texts, tokenized.lengths, strict=True))
    assert (totals.texts, totals.duplicates) == (152, 152 - len(unique))
    assert totals.truncated == sum(tokenized.truncated) > 2
    assert totals.input_tokens == sum(tokenized.lengths)
    assert totals.work.useful_tokens == sum(unique.values())
    assert totals.work.useful_flops == forward_flops(model.checkpoint.shape, list(unique.values())).total
    assert totals.work.executed_flops >= totals.work.useful_flops
    assert sum(count for count, _ in steps) == len(unique)
    assert sum(tokens for _, tokens in steps) == sum(unique.values())
    assert totals.busy_s > 0
    assert totals.tokenization_s > 0


def test_no_texts(model: EmbeddingModel) -> None:
    parts, totals = run(model, [])
    assert parts == []
    assert totals == Totals()


def test_the_first_window_is_seen_before_any_step(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_window(monkeypatch, 3)
    events: list[str] = []

    def seen(window: Window) -> None:
        events.append(f"window of {window.texts}")

    job = Pipeline(model, 64, on_first_window=seen, on_step=lambda _texts, _tokens: events.append("step"))
    for _ in job.run(["a", "b", "c", "d"]):
        pass
    assert events[0] == "window of 3"
    assert set(events[1:]) == {"step"}


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("good", [0, 1, 6, 7, 8, 50])
def test_an_error_in_the_input_surfaces(model: EmbeddingModel, good: int) -> None:
    def texts() -> Iterator[str]:
        yield from random_texts(good, 30)
        raise InputError("row 3 is broken")

    with pytest.raises(InputError, match="row 3 is broken"):
        list(Pipeline(model, 64).run(texts()))


@pytest.mark.usefixtures("small_windows")
def test_an_error_in_a_step_surfaces(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    real = Stream.run

    def fail(
        stream: Stream, ids: list[npt.NDArray[np.int32]], past: object = None
    ) -> npt.NDArray[np.float32]:
        nonlocal ran
        ran += 1
        if ran > 5:
            raise EngineError("not finite")
        return real(stream, ids)

    monkeypatch.setattr(Stream, "run", fail)
    with pytest.raises(EngineError, match="not finite"):
        list(Pipeline(model, 64).run(random_texts(300, 300)))


def test_a_stream_that_cannot_be_made_surfaces(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: OpenVinoModel) -> Stream:
        raise EngineError("no memory for a stream")

    monkeypatch.setattr(OpenVinoModel, "stream", fail)
    with pytest.raises(EngineError, match="no memory"):
        list(Pipeline(model, 64).run(["a"]))


@pytest.mark.parametrize("hook", ["on_first_window", "on_step"])
def test_an_error_in_a_hook_surfaces(model: EmbeddingModel, hook: str) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("from the hook")

    hooks: dict[str, Any] = {hook: fail}
    job = Pipeline(model, 64, **hooks)
    with pytest.raises(RuntimeError, match="from the hook"):
        list(job.run(["a", "b"]))


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("parts", [0, 1, 3])
def test_leaving_early_ends_the_threads(model: EmbeddingModel, parts: int) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield str(read)

    running = Pipeline(model, 64).run(endless())
    for _ in range(parts):
        next(running)
    assert isinstance(running, Generator)
    running.close()
    # The autouse fixture sees that no thread is left.
    assert read <= (parts + 5) * 7


@pytest.mark.usefixtures("small_windows")
def test_a_slow_consumer_holds_the_input_back(model: EmbeddingModel) -> None:
    """Bounded memory: no more than a few windows are read ahead of what was consumed."""
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for n in range(400):
            read += 1
            yield f"{n}"

    consumed = most_ahead = 0
    for part in Pipeline(model, 64).run(texts()):
        consumed += len(part.tokens)
        most_ahead = max(most_ahead, read - consumed)
    assert consumed == 400
    assert most_ahead <= 6 * 7


def test_vectors_do_not_change_after_they_were_given(
    model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_window(monkeypatch, 4)
    kept: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    for part in Pipeline(model, 64).run(random_texts(100, 100)):
        kept.append((part.vectors, part.vectors.copy()))
    for now, then in kept:
        np.testing.assert_array_equal(now, then)
