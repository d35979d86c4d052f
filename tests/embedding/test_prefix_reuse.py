"""A prompt that all texts of a job begin with is computed once: the same vectors, less work, all of it counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from farthing.engine.calls import Calls
from farthing.engine.model import EmbeddingModel, load_model
from farthing.embedding.steps import Pipeline, Totals
from farthing.embedding.windows import SHORTEST_PREFIX, shared_prefix
from small_families import VOCABULARY, save_family

WORDS = [f"w{number}" for number in range(VOCABULARY - 1)]
PROMPT = "w1 w2 w3 w4 w5 w6 w7 "
TEXTS = [PROMPT + " ".join(WORDS[row : row + 1 + row % 9]) for row in range(8, 48)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingModel:
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
    return load_model(str(folder))


def embedded(model: EmbeddingModel, texts: list[str], prompt: str) -> tuple[npt.NDArray[np.float32], Totals]:
    job = Pipeline(model, 64, prompt=prompt)
    return np.concatenate([part.vectors for part in job.run(texts)]), job.totals


def test_the_same_vectors_with_less_work(model: EmbeddingModel) -> None:
    plain, without = embedded(model, TEXTS, "")
    reused, first = embedded(model, TEXTS, PROMPT)
    np.testing.assert_allclose(reused, plain, atol=2e-5)
    different = len(set(TEXTS))
    assert without.work.reused_tokens == 0
    assert first.work.reused_tokens == 7 * (different - 1)  # one text's share pays for the prompt's own pass
    assert first.work.executed_flops < 0.8 * without.work.executed_flops
    assert first.work.useful_flops == without.work.useful_flops
    assert first.input_tokens == without.input_tokens
    again, second = embedded(model, TEXTS, PROMPT)
    np.testing.assert_array_equal(again, reused)
    assert second.work.reused_tokens == 7 * different


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[:5], [*TEXTS[:3], TEXTS[0]]])
def test_texts_that_are_run_at_once_reuse_it_too(model: EmbeddingModel, texts: list[str]) -> None:
    plain, _ = embedded(model, texts, "")
    calls = Calls(model, "latency")
    steps: list[tuple[int, int]] = []
    parts, _ = calls.embedded(
        len(texts), lambda: iter(texts), prompt=PROMPT, on_step=lambda *step: steps.append(step)
    )
    (done,) = parts
    np.testing.assert_allclose(done.vectors, plain, atol=2e-5)
    assert done.tokens.tolist() == model.tokenizer.encode(texts).lengths
    assert sum(count for count, _ in steps) == len(set(texts))
    stream = model.compiled.stream("latency")
    ids = model.tokenizer.encode(texts[:1]).ids[0]
    past, computed = model.compiled.prefix(ids[:7])
    assert not computed  # the call made it
    np.testing.assert_allclose(stream.run([ids[7:]], past)[0], plain[0], atol=2e-5)


def test_texts_without_the_prompt_are_computed_whole(model: EmbeddingModel) -> None:
    texts = [*TEXTS[:5], "w30 w31"]
    plain, _ = embedded(model, texts, "")
    vectors, totals = embedded(model, texts, PROMPT)
    np.testing.assert_allclose(vectors, plain, atol=2e-5)
    assert totals.work.reused_tokens == 0


def test_what_is_shared_is_found_by_token() -> None:
    prompt = np.arange(10, dtype=np.int32)
    same = np.array([*range(10), 11, 12], np.int32)
    joined = np.array(
        [*range(9), 40, 41], np.int32
    )  # the tokenizer joined the prompt's last word to the text
    assert shared_prefix(prompt, [same, same]) == 10
    assert shared_prefix(prompt, [same, joined]) == 9
    assert shared_prefix(prompt, [same, prompt]) == 9  # the text that is the prompt keeps a token
    assert shared_prefix(prompt, [same, prompt[:SHORTEST_PREFIX]]) == 0
    assert shared_prefix(prompt, [same, np.array([7], np.int32)]) == 0
    assert shared_prefix(prompt, []) == 10


def test_a_model_of_the_mean_reuses_nothing(tiny_bert: Path) -> None:
    model = load_model(str(tiny_bert))
    plain, _ = embedded(model, ["a b c d e f", "a b c d e g"], "")
    vectors, totals = embedded(model, ["a b c d e f", "a b c d e g"], "a b c d e ")
    np.testing.assert_array_equal(vectors, plain)
    assert totals.work.reused_tokens == 0
