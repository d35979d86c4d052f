"""A text that the engine chokes on fails alone, by name; in calls, in jobs, in every format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.embedding import steps
from farthing.embedding.cache import VectorCache
from farthing.embedding.embedder import Embedder
from farthing.embedding.formats import PRECISIONS, Precision
from farthing.engine.contract import Ran
from farthing.engine.openvino.engine import OpenVinoEngine, _Request
from farthing.engine.openvino.runtime import import_openvino, openvino_errors
from farthing.errors import EngineError
from staged_engine import choke_on

pytestmark = pytest.mark.usefixtures("_calibrated")

TEXTS = [f"text {number} of the story" for number in range(60)]
BAD = (7, 31)


@pytest.fixture
def embedder(tiny_bert: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_bert)) as made:
        yield made


@pytest.fixture
def _choking(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    choke_on(monkeypatch, embedder.model.tokenizer, [TEXTS[row] for row in BAD])


@pytest.mark.usefixtures("_choking")
@pytest.mark.parametrize("rows", [[7], [0, 31, 7], range(60)])
def test_encode_names_the_first_text(embedder: Embedder, rows: list[int]) -> None:
    texts = [TEXTS[row] for row in rows]
    first = next(place for place, row in enumerate(rows) if row in BAD)
    for call in (embedder.encode, embedder.encode_query, embedder.encode_document):
        with pytest.raises(EngineError, match=rf"^text {first} got no vector: the device choked$") as caught:
            call(texts)
        assert isinstance(caught.value.__cause__, EngineError)
    if rows == [7]:
        with pytest.raises(EngineError, match=r"^text 0 got no vector"):
            embedder.encode(texts[0])


@pytest.mark.usefixtures("_choking")
@pytest.mark.parametrize("texts", [TEXTS[6:8], TEXTS[7:8] * 2])
def test_encode_names_it_where_too_few_are_left_for_ranges(embedder: Embedder, texts: list[str]) -> None:
    """Not the format is to blame, nor the caller, who gave texts enough."""
    with pytest.raises(EngineError, match=r"^text [01] got no vector: the device choked$"):
        embedder.encode(texts, precision="int8")


@pytest.mark.usefixtures("_choking")
def test_encode_ends_with_the_window_of_the_first(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is that in the call, and what was to come is not computed for nothing."""
    monkeypatch.setattr(steps, "WINDOW_TEXTS", 5)
    with pytest.raises(EngineError, match=r"^text 57 got no vector: the device choked$"):
        embedder.encode([*(f"other {number}" for number in range(50)), *TEXTS])
    assert len(embedder.cache) < 50 + 5 * (steps.MOST_WINDOWS + 2)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_job_names_them_and_the_others_stand(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    asked = [*TEXTS, TEXTS[31], TEXTS[2]]
    failed = [7, 31, 60]
    good = [row for row in range(len(asked)) if row not in failed]
    expected = embedder.embed([asked[row] for row in good], precision=precision)
    with Embedder(str(embedder.model.checkpoint.folder), cache_texts=0) as fresh:
        choke_on(monkeypatch, fresh.model.tokenizer, [TEXTS[row] for row in BAD])
        result = fresh.embed(asked, precision=precision)
    assert sorted(result.failed) == failed
    assert all("the device choked" in str(error) for error in result.failed.values())
    if expected.format.ranges is not None:
        assert result.format.ranges is not None
        np.testing.assert_allclose(result.format.ranges, expected.format.ranges, atol=1e-6)
        off = np.abs(result.vectors[good].astype(int) - expected.vectors)
        assert off.max() <= 1
    else:
        np.testing.assert_allclose(result.vectors[good], expected.vectors, atol=1e-3)
        np.testing.assert_array_equal(
            result.vectors[failed], expected.format.quantized(np.zeros((3, 36), np.float32))
        )
    assert result.range_sample_texts == expected.range_sample_texts
    assert result.clipped == 0
    assert result.tokens.tolist() == embedder.model.tokenizer.encode(asked).lengths
    receipt = result.receipt
    assert (receipt.texts, receipt.embedded, receipt.failed, receipt.duplicates) == (62, 59, 3, 2)
    assert receipt.as_dict()["failed"] == 3
    assert receipt.warnings[:3] == tuple(f"text {row} got no vector: the device choked" for row in failed)


@pytest.mark.usefixtures("_choking")
def test_a_job_in_which_nothing_got_a_vector_is_an_error(embedder: Embedder) -> None:
    for precision in ("float32", "int8"):
        with pytest.raises(EngineError, match="the device choked"):
            embedder.embed([TEXTS[row] for row in BAD], precision=precision)
    assert embedder.embed([TEXTS[7], "a"]).receipt.failed == 1


def test_the_cache_keeps_the_others_alone(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as inner:
        choke_on(inner, embedder.model.tokenizer, [TEXTS[7]])
        with pytest.raises(EngineError, match="text 7"):
            embedder.encode(TEXTS)
        assert len(embedder.cache) == 59
        assert embedder.embed(TEXTS).receipt.failed == 1
        assert len(embedder.cache) == 59
    vectors = embedder.encode(TEXTS)  # the device is well again
    assert len(embedder.cache) == 60
    assert np.linalg.norm(vectors[7]) == pytest.approx(1, abs=1e-5)


class Refusing:
    """Stands for what OpenVINO raises: errors of C++, of many lines, the reason last."""

    def __init__(self, real: object) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def infer(self, *_: object, **__: object) -> None:
        raise RuntimeError(
            "Exception from src/inference/src/cpp/infer_request.cpp:223:\n\nCheck failed: no memory\n"
        )

    compile_model = infer


@pytest.mark.parametrize("texts", [["a"], TEXTS])
def test_what_openvino_raises_is_an_error_of_the_engine(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    """One line, of what failed and why."""
    engine = embedder.model.engine
    assert isinstance(engine, OpenVinoEngine)
    with monkeypatch.context() as inner:
        inner.setattr(engine, "_core", Refusing(engine._core))
        with pytest.raises(
            EngineError, match=r"^compiling the model failed in OpenVINO: Check failed: no memory$"
        ):
            embedder.encode(texts)
    embedder.encode(texts)
    embedder.cache = VectorCache(0)
    run = _Request.run

    def refusing(self: _Request, *arguments: Any) -> Ran:
        if not isinstance(self._request, Refusing):
            self._request = Refusing(self._request)
        return run(self, *arguments)

    monkeypatch.setattr(_Request, "run", refusing)
    with pytest.raises(
        EngineError,
        match=r"^text 0 got no vector: a step of 1 texts, .* failed in OpenVINO: Check failed: no memory$",
    ):
        embedder.encode(texts)


def test_what_openvino_really_raises(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match=r"^reading failed in OpenVINO: .+") as caught,
        openvino_errors("reading"),
    ):
        import_openvino().Core().compile_model(str(tmp_path / "no such file.xml"), "CPU")
    assert "\n" not in str(caught.value)
    assert type(caught.value.__cause__) is RuntimeError
