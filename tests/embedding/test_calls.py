"""Calls: the same vectors whichever way they are run, and the way that their number and length ask for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.embedding import steps
from farthing.embedding.cache import VectorCache
from farthing.embedding.steps import MOST_POSITIONS, EmbeddedTexts, StepPath, Totals
from farthing.engine.contract import Mode
from farthing.engine.load import EmbeddingModel, load_model
from farthing.errors import EngineError, InputError
from staged_engine import StagedEngine, staged_model

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MODES: tuple[Mode | None, ...] = (None, "latency", "throughput")

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def paths(tiny_bert: Path) -> Iterator[dict[Mode | None, StepPath]]:
    """Return a path for each mode, all over one model."""
    model = load_model(str(tiny_bert))
    made = {mode: StepPath(model, mode) for mode in MODES}
    yield made
    for path in made.values():
        path.close()


@pytest.fixture
def staged(tiny_bert: Path) -> Iterator[Callable[[Mode | None], tuple[StepPath, StagedEngine]]]:
    """Return what makes a path over an engine that tells which lanes it made and what they ran."""
    made: list[StepPath] = []

    def make(mode: Mode | None) -> tuple[StepPath, StagedEngine]:
        model, engine = staged_model(tiny_bert)
        made.append(StepPath(model, mode))
        return made[-1], engine

    yield make
    for path in made:
        path.close()


def texts_of(sizes: list[int]) -> list[str]:
    return [" ".join(LETTERS[:size]) for size in sizes]


def parts_of(
    path: StepPath, texts: list[str], **hooks: Callable[..., None]
) -> tuple[list[EmbeddedTexts], Totals]:
    run = path.call(texts, prompt="", cache=VectorCache(0), **hooks)
    return list(run), run.totals


def run(path: StepPath, texts: list[str]) -> tuple[Vectors, list[int], Totals]:
    done, totals = parts_of(path, texts)
    tokens = [int(count) for part in done for count in part.tokens]
    return np.concatenate([part.vectors for part in done]), tokens, totals


def one_by_one(model: EmbeddingModel, texts: list[str]) -> Vectors:
    lane = model.engine.lane()
    return np.concatenate([lane.run(model.tokenizer.encode([text]).ids).vectors for text in texts])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.sampled_from(MODES))
def test_the_vectors_of_each_text_alone(
    paths: dict[Mode | None, StepPath], sizes: list[int], mode: Mode | None
) -> None:
    path, texts = paths[mode], texts_of(sizes)
    vectors, tokens, totals = run(path, texts)
    np.testing.assert_allclose(vectors, one_by_one(path.model, texts), atol=1e-5)
    tokenized = path.model.tokenizer.encode(texts)
    assert tokens == tokenized.lengths
    assert (totals.texts, totals.truncated) == (len(texts), sum(tokenized.truncated))
    assert totals.duplicates == len(texts) - len(set(texts))
    first = {text: row for row, text in reversed(list(enumerate(texts)))}
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(vectors[row], vectors[first[text]])


MANY = texts_of([3 + row % 20 for row in range(200)])
LONG = [f"{letter} " * 30 for letter in LETTERS]
"""Each as long as the limit, 32 tokens."""


@pytest.mark.parametrize(
    ("mode", "texts", "made"),
    [
        (None, ["a text"], "latency"),
        (None, ["a", "b c", "d"], "latency"),
        (None, ["a " * 30], "latency"),  # one text, however long
        (None, LONG[: MOST_POSITIONS // 32], "latency"),
        (None, LONG[: MOST_POSITIONS // 32 + 1], "throughput"),
        (None, ["a " * 30] * 100, "latency"),  # repeats are not run
        (None, MANY, "throughput"),
        ("latency", MANY, "latency"),
        ("throughput", ["a text"], "throughput"),
    ],
)
def test_only_the_lanes_that_are_needed_are_made(
    staged: Callable[[Mode | None], tuple[StepPath, StagedEngine]],
    mode: Mode | None,
    texts: list[str],
    made: Mode,
) -> None:
    path, engine = staged(mode)
    run(path, texts)
    assert set(engine.made) == {made}
    run(path, texts)
    assert len(engine.made) == (engine.lanes if made == "throughput" else 1)  # they live as long as the path


def test_many_texts_in_the_mode_for_latency(
    paths: dict[Mode | None, StepPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokenized a part at a time, each of several steps, and every step is told."""
    monkeypatch.setattr(steps, "_AT_ONCE_TEXTS", 90)
    path = paths["latency"]
    texts = [f"{text} {row}" for row, text in enumerate(MANY)]
    ran: list[tuple[int, int]] = []
    done, totals = parts_of(path, texts, on_step=lambda *step: ran.append(step))
    assert [len(part.tokens) for part in done] == [90, 90, 20]
    expected = path.model.tokenizer.encode(texts)
    assert [int(tokens) for part in done for tokens in part.tokens] == expected.lengths
    assert (totals.texts, totals.truncated) == (200, sum(expected.truncated))
    assert len(ran) > len(done)
    assert [sum(column) for column in zip(*ran, strict=True)] == [200, sum(expected.lengths)]
    np.testing.assert_allclose(
        np.concatenate([part.vectors for part in done]), one_by_one(path.model, texts), atol=1e-5
    )


def test_an_error_at_once_runs_no_step_after_it(
    staged: Callable[[Mode | None], tuple[StepPath, StagedEngine]],
) -> None:
    """A Ctrl-C among the steps of the caller's own thread, for one, ends the call there."""
    path, engine = staged("latency")
    texts = [f"{text} {row}" for row, text in enumerate(MANY)]
    begun = 0

    def interrupt(_: object) -> None:
        nonlocal begun
        begun += 1
        if begun == 2:
            raise KeyboardInterrupt

    engine.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(path, texts)
    assert (begun, len(engine.ran)) == (2, 1)
    run(path, texts)
    assert begun > 4


def test_no_texts(paths: dict[Mode | None, StepPath]) -> None:
    for path in paths.values():
        parts, totals = parts_of(path, [])
        assert (parts, totals.texts) == ([], 0)


def test_threads_that_call_at_once(paths: dict[Mode | None, StepPath]) -> None:
    path = paths[None]
    draw = random.Random(0)
    jobs = [texts_of(draw.choices(range(25), k=draw.choice([1, 1, 1, 3, 40]))) for _ in range(60)]
    expected = [one_by_one(path.model, texts) for texts in jobs]
    with ThreadPoolExecutor(8) as pool:
        for (vectors, _, _), alone in zip(pool.map(lambda job: run(path, job), jobs), expected, strict=True):
            np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_an_unknown_mode(paths: dict[Mode | None, StepPath]) -> None:
    with pytest.raises(InputError, match="mode 'fast': expected throughput or latency"):
        StepPath(paths[None].model, "fast")  # type: ignore[arg-type]


def test_a_closed_path_runs_nothing(
    staged: Callable[[Mode | None], tuple[StepPath, StagedEngine]],
) -> None:
    for texts in (["a"], MANY):
        path, _ = staged(None)
        run(path, texts)
        path.close()
        path.close()
        with pytest.raises(EngineError, match="the model is closed; load it again"):
            run(path, texts)
