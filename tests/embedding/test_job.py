"""A job: predicted before its first step, run once, billed for what it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing.bulk import job as module
from farthing.embedding.job import Job, Prediction
from farthing.bulk.records import Record
from farthing.embedding.scan import scan
from farthing.engine import windows
from farthing.engine.model import EmbeddingModel, load_model
from farthing.scheduling.forecast import forecast_job_s
from farthing.theory.devices import StepTimes
from makers import make_calibration, make_model_calibration

MACHINE = make_calibration()
MEASURED = make_model_calibration(
    step_times=StepTimes((8, 32), (32, 256), ((1e-4, 7e-4), (1e-4, 8e-4))), new_shape_s=1e-5
)


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> EmbeddingModel:
    return load_model(str(tiny_bert))


@pytest.fixture
def events() -> list[object]:
    return []


def make(model: EmbeddingModel, texts: list[str], events: list[object], *, sample: int = 2000) -> Job:
    held = scan((Record(str(row), text) for row, text in enumerate(texts)), sample_texts=sample)
    return Job(
        model,
        MACHINE,
        MEASURED,
        held,
        usd_per_hour=1.0,
        on_prediction=events.append,
        on_step=lambda count, tokens: events.append((count, tokens)),
    )


def set_window(monkeypatch: pytest.MonkeyPatch, texts: int) -> None:
    monkeypatch.setattr(windows, "WINDOW_TEXTS", texts)
    monkeypatch.setattr(module, "WINDOW_TEXTS", texts)


def texts_of(count: int) -> list[str]:
    return [" ".join([*str(n)][: n % 5] + ["a"] * (n % 17)) + f" {n}" for n in range(count)]


def test_a_job_of_one_window_is_predicted_from_all_its_lengths(
    model: EmbeddingModel, events: list[object]
) -> None:
    texts = [*texts_of(100), *texts_of(10)]
    job = make(model, texts, events)
    assert sum(len(part.tokens) for part in job.run(iter(texts))) == 110
    prediction = events[0]
    assert isinstance(prediction, Prediction)
    lengths = model.tokenizer.encode(texts_of(100)).lengths
    assert prediction.basis == "all"
    assert prediction.tokens == sum(lengths)
    assert prediction.seconds == forecast_job_s(
        lengths, MEASURED, max_batch_tokens=MEASURED.best_step_tokens(), window_texts=8192
    )
    receipt = job.settle()
    assert (receipt.predicted_seconds, receipt.prediction_basis) == (prediction.seconds, "all")


@pytest.mark.parametrize("sample", [40, 2000])
def test_a_longer_job_is_predicted_from_a_sample_of_its_lengths(
    model: EmbeddingModel, events: list[object], monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    set_window(monkeypatch, 50)
    texts = texts_of(300)
    job = make(model, texts, events, sample=sample)
    list(job.run(iter(texts)))
    prediction = events[0]
    assert isinstance(prediction, Prediction)
    assert prediction.basis == "sample of the lengths"
    tokens = sum(model.tokenizer.encode(texts).lengths)
    assert prediction.tokens == pytest.approx(tokens, rel=0.25 if sample == 40 else 1e-9)
    assert job.settle().prediction_basis == "sample of the lengths"


@pytest.mark.parametrize("window", [10, 8192])
def test_the_prediction_is_made_once_and_before_the_first_step(
    model: EmbeddingModel, events: list[object], monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    set_window(monkeypatch, window)
    texts = texts_of(60)
    job = make(model, texts, events)
    assert job.prediction is None
    list(job.run(iter(texts)))
    assert job.prediction is events[0]
    assert len(events) > 1
    assert all(isinstance(event, tuple) for event in events[1:])


def test_a_job_that_just_fills_its_window_is_predicted_from_all(
    model: EmbeddingModel, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_window(monkeypatch, 20)
    texts = texts_of(20)
    job = make(model, texts, events)
    list(job.run(iter(texts)))
    assert isinstance(events[0], Prediction)
    assert events[0].basis == "all"


def test_long_texts_that_fill_a_window_are_predicted_too(
    model: EmbeddingModel, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The characters fill the first window to the last one, and texts without any follow."""
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 40)
    monkeypatch.setattr(module, "WINDOW_CHARACTERS", 40)
    texts = ["a" * 20, "b" * 20, "", " "[:0]]
    job = make(model, texts, events)
    list(job.run(iter(texts)))
    assert isinstance(events[0], Prediction)
    assert events[0].seconds > 0
    assert events[0].tokens > 0


def test_steps_are_no_larger_than_pays(model: EmbeddingModel, events: list[object]) -> None:
    texts = texts_of(200)
    list(make(model, texts, events).run(iter(texts)))
    assert max(event[1] for event in events if isinstance(event, tuple)) <= MEASURED.best_step_tokens()


def test_vectors_and_receipt(
    model: EmbeddingModel, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_window(monkeypatch, 16)
    texts = [*texts_of(40), *texts_of(40)]
    job = make(model, texts, events)
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
