"""Calls: the same vectors whichever way they are run, and the way that their number and length ask for."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.engine import calls as calls_module
from farthing.engine.calls import Calls
from farthing.engine.compiled import Mode
from farthing.engine.direct import MOST_POSITIONS
from farthing.engine.model import EmbeddingModel, load_model
from farthing.engine.openvino.engine import OpenVinoModel
from farthing.embedding.steps import Totals
from farthing.errors import InputError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MODES: tuple[Mode | None, ...] = (None, "latency", "throughput")

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> EmbeddingModel:
    return load_model(str(tiny_bert))


@pytest.fixture
def fresh(tiny_bert: Path) -> Callable[[Mode | None], tuple[Calls, OpenVinoModel]]:
    """Return what makes calls on a model of which nothing is compiled yet."""

    def make(mode: Mode | None) -> tuple[Calls, OpenVinoModel]:
        loaded = load_model(str(tiny_bert))
        assert isinstance(loaded.compiled, OpenVinoModel)
        return Calls(loaded, mode), loaded.compiled

    return make


def texts_of(sizes: list[int]) -> list[str]:
    return [" ".join(LETTERS[:size]) for size in sizes]


def run(calls: Calls, texts: list[str]) -> tuple[Vectors, list[int], Totals]:
    parts, totals = calls.embedded(len(texts), lambda: iter(texts))
    done = list(parts)
    tokens = [int(count) for part in done for count in part.tokens]
    return np.concatenate([part.vectors for part in done]), tokens, totals


def one_by_one(model: EmbeddingModel, texts: list[str]) -> Vectors:
    stream = model.compiled.stream()
    return np.concatenate([stream.run(model.tokenizer.encode([text]).ids).copy() for text in texts])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.sampled_from(MODES))
def test_the_vectors_of_each_text_alone(model: EmbeddingModel, sizes: list[int], mode: Mode | None) -> None:
    texts = texts_of(sizes)
    vectors, tokens, totals = run(Calls(model, mode), texts)
    np.testing.assert_allclose(vectors, one_by_one(model, texts), atol=1e-5)
    tokenized = model.tokenizer.encode(texts)
    assert tokens == tokenized.lengths
    assert (totals.texts, totals.truncated) == (len(texts), sum(tokenized.truncated))
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(vectors[row], vectors[first[text]])


MANY = texts_of([3 + row % 20 for row in range(200)])


@pytest.mark.parametrize(
    ("mode", "texts", "compiled"),
    [
        (None, ["a text"], "latency"),
        (None, ["a", "b c", "d"], "latency"),
        (None, ["a " * 30], "latency"),  # one text, however long
        (None, ["a " * 30] * (MOST_POSITIONS // 32), "latency"),
        (None, ["a " * 30] * (MOST_POSITIONS // 32 + 1), "throughput"),
        (None, MANY, "throughput"),
        ("latency", MANY, "latency"),
        ("throughput", ["a text"], "throughput"),
    ],
)
def test_only_what_is_needed_is_compiled(
    fresh: Callable[[Mode | None], tuple[Calls, OpenVinoModel]],
    mode: Mode | None,
    texts: list[str],
    compiled: Mode,
) -> None:
    calls, model = fresh(mode)
    run(calls, texts)
    assert set(model._compiled) == {compiled}


def test_many_texts_in_the_mode_for_latency(model: EmbeddingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokenized a part at a time, each of several steps, and every step is told."""
    monkeypatch.setattr(calls_module, "_TOKENIZED_TOGETHER", 90)
    texts = [f"{text} {row}" for row, text in enumerate(MANY)]
    steps: list[tuple[int, int]] = []
    parts, totals = Calls(model, "latency").embedded(
        len(texts), lambda: iter(texts), on_step=lambda *step: steps.append(step)
    )
    done = list(parts)
    assert [len(part.tokens) for part in done] == [90, 90, 20]
    expected = model.tokenizer.encode(texts)
    assert [int(tokens) for part in done for tokens in part.tokens] == expected.lengths
    assert (totals.texts, totals.truncated) == (200, sum(expected.truncated))
    assert len(steps) > len(done)
    assert [sum(column) for column in zip(*steps, strict=True)] == [200, sum(expected.lengths)]
    np.testing.assert_allclose(
        np.concatenate([part.vectors for part in done]), one_by_one(model, texts), atol=1e-5
    )


def test_no_texts(model: EmbeddingModel) -> None:
    for mode in MODES:
        parts, totals = Calls(model, mode).embedded(0, lambda: iter(()))
        assert sum(len(part.tokens) for part in parts) == totals.texts == 0


def test_threads_that_call_at_once(model: EmbeddingModel) -> None:
    calls = Calls(model)
    draw = random.Random(0)
    jobs = [texts_of(draw.choices(range(25), k=draw.choice([1, 1, 1, 3, 40]))) for _ in range(60)]
    expected = [one_by_one(model, texts) for texts in jobs]
    with ThreadPoolExecutor(4) as pool:
        for (vectors, _, _), alone in zip(pool.map(lambda job: run(calls, job), jobs), expected, strict=True):
            np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_an_unknown_mode(model: EmbeddingModel) -> None:
    with pytest.raises(InputError, match="mode 'fast': expected throughput or latency"):
        Calls(model, "fast")  # type: ignore[arg-type]
