"""A job: predicted before its first step, run once, billed for what it did."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from farthing.catalog.calibrations import kept_runs
from farthing.embedding import job as module
from farthing.embedding import steps, windows
from farthing.embedding.job import Job, Prediction, Watch
from farthing.embedding.scan import scan
from farthing.embedding.steps import EmbeddedTexts, StepPath
from farthing.engine.calibration.calibrate import Notify, when_free
from farthing.engine.load import load_model
from farthing.engine.machine import OtherLoad
from farthing.errors import EngineError
from farthing.scheduling import forecast as forecasts
from farthing.scheduling.forecast import forecast_job_s
from farthing.theory.devices import Calibration, ModelCalibration, StepTimes
from farthing.theory.work import WorkCounter
from makers import make_calibration, make_model_calibration
from staged_engine import StagedEngine, staged_model

MACHINE = make_calibration()
MEASURED = make_model_calibration(
    step_times=StepTimes((8, 32), (32, 256), ((1e-4, 7e-4), (1e-4, 8e-4))), new_shape_s=1e-5
)


@pytest.fixture(scope="module")
def path(tiny_bert: Path) -> Iterator[StepPath]:
    made = StepPath(load_model(str(tiny_bert)))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no test learns from another's runs
    monkeypatch.setattr(module, "ensure_calibrated", lambda *_: (MACHINE, MEASURED))


@pytest.fixture
def events() -> list[object]:
    return []


def make(
    path: StepPath, texts: list[str], events: list[object], *, sample: int = 2000, prompt: str = ""
) -> Job:
    watch = Watch(on_prediction=events.append, on_step=lambda count, tokens: events.append((count, tokens)))
    held = scan(texts, sample_texts=sample)
    return Job(path, held, prompt=prompt, usd_per_hour=1.0, watch=watch)


def set_window(monkeypatch: pytest.MonkeyPatch, texts: int) -> None:
    monkeypatch.setattr(steps, "WINDOW_TEXTS", texts)
    monkeypatch.setattr(module, "WINDOW_TEXTS", texts)


def texts_of(count: int) -> list[str]:
    return [" ".join([*str(n)][: n % 5] + ["a"] * (n % 17)) + f" {n}" for n in range(count)]


def test_a_job_of_one_window_is_predicted_from_all_its_lengths(path: StepPath, events: list[object]) -> None:
    texts = [*texts_of(100), *texts_of(10)]
    job = make(path, texts, events)
    assert sum(len(part.tokens) for part in job.run(iter(texts))) == 110
    prediction = events[0]
    assert isinstance(prediction, Prediction)
    lengths = path.model.tokenizer.encode(texts_of(100)).lengths
    assert prediction.basis == "all"
    assert prediction.tokens == sum(lengths)
    receipt = job.settle()
    tokenized = replace(MEASURED, tokenization_s_per_token=0.0)
    steps_s = forecast_job_s(
        lengths, tokenized, max_batch_tokens=MEASURED.best_step_tokens(), window_texts=8192
    )
    # What reading and tokenizing took is known by then.
    assert receipt.seconds.tokenization < prediction.seconds - steps_s < receipt.seconds.wall
    assert (receipt.predicted_seconds, receipt.prediction_basis) == (prediction.seconds, "all")


@pytest.mark.parametrize("sample", [40, 2000])
def test_a_longer_job_is_predicted_from_a_sample_of_its_lengths(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    set_window(monkeypatch, 50)
    texts = texts_of(300)
    job = make(path, texts, events, sample=sample)
    list(job.run(iter(texts)))
    prediction = events[0]
    assert isinstance(prediction, Prediction)
    assert prediction.basis == "sample of the lengths"
    tokens = sum(path.model.tokenizer.encode(texts).lengths)
    assert prediction.tokens == pytest.approx(tokens, rel=0.25 if sample == 40 else 1e-9)
    assert job.settle().prediction_basis == "sample of the lengths"


def test_the_prompt_is_predicted_too(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all lengths and of a sample: they are those of texts with the prompt."""
    texts = texts_of(60)
    expected = sum(path.model.tokenizer.encode([f"a b c {text}" for text in texts]).lengths)
    for window in (8192, 20):
        set_window(monkeypatch, window)
        job = make(path, texts, events, prompt="a b c ")
        list(job.run(iter(texts)))
        assert job.prediction is not None
        assert job.prediction.tokens == pytest.approx(expected)
        assert job.settle().tokens.input == expected


@pytest.mark.parametrize("window", [10, 8192])
def test_the_prediction_is_made_once_and_before_the_first_step(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    set_window(monkeypatch, window)
    texts = texts_of(60)
    job = make(path, texts, events)
    assert job.prediction is None
    list(job.run(iter(texts)))
    assert job.prediction is events[0]
    assert len(events) > 1
    assert all(isinstance(event, tuple) for event in events[1:])


def test_a_job_that_just_fills_its_window_is_predicted_from_all(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_window(monkeypatch, 20)
    texts = texts_of(20)
    job = make(path, texts, events)
    list(job.run(iter(texts)))
    assert isinstance(events[0], Prediction)
    assert events[0].basis == "all"


def test_long_texts_that_fill_a_window_are_predicted_too(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The characters fill the first window to the last one, and texts without any follow."""
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 40)
    monkeypatch.setattr(module, "WINDOW_CHARACTERS", 40)
    texts = ["a" * 20, "b" * 20, "", " "[:0]]
    job = make(path, texts, events)
    list(job.run(iter(texts)))
    assert isinstance(events[0], Prediction)
    assert events[0].seconds > 0
    assert events[0].tokens > 0


def test_steps_are_no_larger_than_pays(path: StepPath, events: list[object]) -> None:
    texts = texts_of(200)
    list(make(path, texts, events).run(iter(texts)))
    assert max(event[1] for event in events if isinstance(event, tuple)) <= MEASURED.best_step_tokens()


def test_vectors_and_receipt(path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    set_window(monkeypatch, 16)
    texts = [*texts_of(40), *texts_of(40)]
    job = make(path, texts, events)
    vectors = np.concatenate([part.vectors for part in job.run(iter(texts))])
    np.testing.assert_array_equal(vectors[:40], vectors[40:])
    receipt = job.settle(startup_s=2.0, writing_s=3.0, trailing_s=5.0)
    assert (receipt.texts, receipt.duplicates) == (80, 40)
    assert receipt.tokens.useful * 2 == receipt.tokens.input
    assert (receipt.seconds.startup, receipt.seconds.writing) == (2.0, 3.0)
    # Closing the output belongs to the wall seconds, and so to the price.
    assert receipt.seconds.wall == pytest.approx(5.0 + job.settle().seconds.wall)
    assert receipt.usd.total == pytest.approx(receipt.seconds.wall / 3600)
    assert receipt.seconds.device < job.settle().seconds.wall


def choking(path: StepPath, engine: StagedEngine, texts: list[str]) -> None:
    bad = {tuple(ids.tolist()) for ids in path.model.tokenizer.encode(texts).ids}
    engine.refuses = lambda ids: tuple(ids.tolist()) in bad


@pytest.mark.parametrize("failing", [1, 3, 5])
def test_failed_texts_are_on_the_receipt(
    tiny_bert: Path, events: list[object], monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    set_window(monkeypatch, 16)
    model, engine = staged_model(tiny_bert)
    path = StepPath(model)
    texts = texts_of(40)
    rows = [4, 17, 30, 31, 39][:failing]
    choking(path, engine, [texts[row] for row in rows])
    job = make(path, texts, events)
    assert sum(len(part.tokens) for part in job.run(iter(texts))) == 40
    receipt = job.settle()
    assert (receipt.texts, receipt.embedded, receipt.failed) == (40, 40 - failing, failing)
    named = [f"text {row} got no vector: the device choked" for row in rows[:3]]
    more = [f"{failing - 3} more got no vector"] if failing > 3 else []
    assert list(receipt.warnings)[: len(named) + len(more)] == [*named, *more]
    again = job.settle(name_of=lambda row: f"in.txt: row {row}").warnings
    assert again[0] == "in.txt: row 4 got no vector: the device choked"
    path.close()


def test_a_job_in_which_no_text_got_a_vector_is_an_error(
    tiny_bert: Path, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_window(monkeypatch, 16)
    model, engine = staged_model(tiny_bert)
    path = StepPath(model)
    texts = texts_of(40)
    choking(path, engine, texts)
    parts: list[EmbeddedTexts] = []
    with pytest.raises(EngineError, match="the device choked"):
        parts.extend(make(path, texts, events).run(iter(texts)))
    choking(path, engine, texts[1:])
    job = make(path, texts, events)
    parts = list(job.run(iter(texts)))
    assert job.settle().embedded == 1
    path.close()


def test_reuse_of_a_prompt_is_predicted(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forecast is told of the tokens that all texts share, which only causal models reuse."""
    asked: list[int] = []

    def forecast(lengths: list[int], *_: object, prefix: int, counter: WorkCounter, **__: object) -> float:
        asked.append(prefix)
        assert counter.step([max(lengths)]).total.useful_tokens == max(lengths)
        return 1.0

    monkeypatch.setattr(module, "forecast_job_s", forecast)
    path = StepPath(staged_model(tiny_bert)[0])
    texts = texts_of(10)
    for prompt in ("", "a b c d e f "):
        list(make(path, texts, [], prompt=prompt).run(texts))
    monkeypatch.setattr(type(path.model.checkpoint), "reuses_prefixes", True)
    list(make(path, texts, [], prompt="a b c d e f ").run(texts))
    assert asked == [0, 0, 7]  # [CLS] among them
    path.close()


def test_runs_are_kept_with_what_their_steps_took(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SHARE", 2)
    monkeypatch.setattr(
        module, "HELD_UP", math.inf
    )  # so small a model's steps take no longer than tokenizing
    texts = texts_of(100)
    for count in (1, 2):
        job = make(path, texts, events)
        list(job.run(iter(texts)))
        receipt = job.settle()
        run = kept_runs(MACHINE, MEASURED)[-1]
        assert len(kept_runs(MACHINE, MEASURED)) == count
        assert (run.predicted_s, run.wall_s) == (receipt.predicted_seconds, receipt.seconds.wall)
        assert run.error == receipt.prediction_error
        taken = sum(taken for _, _, taken in run.steps)
        assert taken == pytest.approx(receipt.seconds.device * path.model.engine.lanes)
        assert {length for length, _, _ in run.steps} <= {8, 32}


def test_the_second_job_is_predicted_from_the_first(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A calibration that is a hundred times too slow, as if the machine had been busy; no command by hand."""
    monkeypatch.setattr(module, "BUSY_SHARE", 2)
    monkeypatch.setattr(
        module, "HELD_UP", math.inf
    )  # so small a model's steps take no longer than tokenizing
    monkeypatch.setattr(forecasts, "LEAST_STEPS_S", 0.0)
    monkeypatch.setattr(module, "SHORT_S", math.inf)
    times = replace(MEASURED.step_times, seconds=((0.1, 0.7), (0.1, 0.8)))
    slow = replace(MEASURED, step_times=times, job_overhead_s=1.0)
    monkeypatch.setattr(module, "ensure_calibrated", lambda *_: (MACHINE, slow))
    texts, errors = texts_of(400), []
    for _ in range(3):
        job = make(path, texts, events)
        list(job.run(iter(texts)))
        errors.append(job.settle().prediction_error or 0.0)
    assert errors[0] > 5
    assert max(errors[1:]) < errors[0] / 5


def test_a_receipt_warns_of_a_calibration_that_was_made_beside_others(
    path: StepPath, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(_path: object, _run: object, notify: Notify) -> tuple[Calibration, ModelCalibration]:
        when_free(lambda: None, notify, lambda: OtherLoad(readings.__next__))
        return MACHINE, MEASURED

    monkeypatch.setattr(module, "ensure_calibrated", ensure)
    for used, warned in ((10.0, 1), (0.0, 0)):
        readings = iter([(0.0, 0.0, 0.0), (0.0, used, 0.0)] * 2)
        job = make(path, ["a"], events)
        list(job.run(["a"]))
        assert len([line for line in job.settle().warnings if "others used 100%" in line]) == warned
