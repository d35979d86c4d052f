"""A prompt that all texts of a job begin with is computed once: the same vectors, less work, all of it counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from farthing.embedding.cache import VectorCache
from farthing.embedding.job import Job
from farthing.embedding.scan import scan
from farthing.embedding.steps import StepPath, Totals
from farthing.engine.load import load_model
from farthing.theory.devices import StepTimes
from makers import make_calibration, make_model_calibration
from small_families import VOCABULARY, save_family

WORDS = [f"w{number}" for number in range(VOCABULARY - 1)]
PROMPT = "w1 w2 w3 w4 w5 w6 w7 "
TEXTS = [" ".join(WORDS[row : row + 1 + row % 9]) for row in range(8, 48)]


@pytest.fixture
def path(folder: Path) -> Iterator[StepPath]:
    """Return a path on which no prefix is made yet."""
    made = StepPath(load_model(str(folder)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Qwen3 that takes the last token, an end-of-text token as real ones have it."""
    folder = save_family("qwen3", tmp_path_factory.mktemp("qwen3"))
    tokenizer = Tokenizer(WordLevel({word: row for row, word in enumerate([*WORDS, "</s>"])}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", pair=None, special_tokens=[("</s>", VOCABULARY - 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = {"0": ("", "Transformer"), "1": ("1_Pooling", "Pooling"), "2": ("2_Normalize", "Normalize")}
    modules = [
        {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for name, (path, kind) in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 60, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def whole(path: StepPath, texts: list[str]) -> npt.NDArray[np.float32]:
    """Return the vectors of texts with the prompt, by a job that knows nothing of it."""
    return embedded(path, [PROMPT + text for text in texts], "")[0]


def embedded(path: StepPath, texts: list[str], prompt: str) -> tuple[npt.NDArray[np.float32], Totals]:
    job = path.job(texts, 64, prompt=prompt, cache=VectorCache(0))
    return np.concatenate([part.vectors for part in job]), job.totals


def test_the_same_vectors_with_less_work(path: StepPath) -> None:
    plain, without = embedded(path, [PROMPT + text for text in TEXTS], "")
    reused, first = embedded(path, TEXTS, PROMPT)
    np.testing.assert_allclose(reused, plain, atol=2e-5)
    different = len(set(TEXTS))
    assert without.work.reused_tokens == 0
    assert first.work.reused_tokens == 7 * (different - 1)  # one text's share pays for the prompt's own pass
    assert first.work.executed_flops < 0.8 * without.work.executed_flops
    assert first.work.useful_flops == without.work.useful_flops
    assert first.input_tokens == without.input_tokens
    again, second = embedded(path, TEXTS, PROMPT)
    np.testing.assert_allclose(again, reused, atol=2e-5)
    assert second.work.reused_tokens == 7 * different


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[:5], [*TEXTS[:3], TEXTS[0]]])
def test_texts_that_are_run_at_once_reuse_it_too(path: StepPath, texts: list[str]) -> None:
    plain = whole(path, texts)
    steps: list[tuple[int, int]] = []
    different = len(set(texts))
    for making in (1, 0):
        run = path.call(texts, prompt=PROMPT, cache=VectorCache(0), on_step=lambda *step: steps.append(step))
        (done,) = run
        np.testing.assert_allclose(done.vectors, plain, atol=2e-5)
        assert done.tokens.tolist() == path.model.tokenizer.encode([PROMPT + text for text in texts]).lengths
        assert run.totals.work.reused_tokens == 7 * (different - making)
    assert sum(count for count, _ in steps) == 2 * different


def test_both_modes_share_what_was_made(path: StepPath) -> None:
    embedded(path, TEXTS, PROMPT)
    run = path.call(TEXTS[:1], prompt=PROMPT, cache=VectorCache(0))
    list(run)
    assert run.totals.work.reused_tokens == 7


def test_texts_that_do_not_all_begin_so_are_computed_whole(path: StepPath) -> None:
    """As where the tokenizer joins the prompt's end to a text."""
    tokenized = path.model.tokenizer.encode([*(PROMPT + text for text in TEXTS[:5]), "w30 w31"]).ids
    prompt = path.model.tokenizer.encode([PROMPT]).ids[0]
    lane = path.model.engine.lane()
    plain, told = lane.run(tokenized), lane.run(tokenized, prompt)
    np.testing.assert_array_equal(told.vectors, plain.vectors)
    assert told.work.reused_tokens == 0
    assert lane.run(tokenized[:5], prompt).work.reused_tokens == 7 * 4


def test_a_model_of_the_mean_reuses_nothing(tiny_bert: Path) -> None:
    path = StepPath(load_model(str(tiny_bert)))
    plain, _ = embedded(path, ["a b c d e f", "a b c d e g"], "")
    vectors, totals = embedded(path, ["f", "g"], "a b c d e ")
    np.testing.assert_array_equal(vectors, plain)
    assert totals.work.reused_tokens == 0
    path.close()


def test_a_prediction_knows_of_the_reuse(path: StepPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt before short texts: the job is predicted to take less than the same tokens without one."""
    long = " ".join(WORDS[1:31]) + " "
    slow = StepTimes((8, 64), (128, 1024), ((0.1, 0.8), (0.1, 0.8)))  # beside which tokenizing is nothing
    monkeypatch.setattr(
        "farthing.embedding.job.ensure_calibrated",
        lambda *_: (make_calibration(), make_model_calibration(step_times=slow, new_shape_s=0.0)),
    )
    predicted = {}
    for prompt, texts in ((long, TEXTS), ("", [long + text for text in TEXTS])):
        job = Job(path, scan(texts), prompt=prompt)
        list(job.run(texts))
        assert job.prediction is not None
        predicted[prompt] = job.prediction
    assert predicted[long].tokens == predicted[""].tokens
    assert predicted[long].seconds < 0.7 * predicted[""].seconds
