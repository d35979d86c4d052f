"""The embedder: sentence-transformers' vectors and a receipt whose numbers agree with each other."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.embedding.embedder import Embedder, EmbedResult
from farthing.errors import InputError
from farthing.theory.flops import forward_flops

pytestmark = pytest.mark.usefixtures("_calibrated")

WORDS = ["the", "cost", "of", "a", "text", "is", "what", "reading", "it", "took", "and", "no", "more"]

MIXED = [
    "",
    "   ",
    "\n\t",
    "a",
    "A short sentence.",
    "word " * 2000,
    "naïve café façade",
    "🙂 emoji 🚀 and 👩‍👩‍👧 a family",
    "🙂" * 300,
    "今日は天気がいいですね。",
    "中文 and English 混在",
    "안녕하세요",
    "שלום עולם",
    "Привет, мир",
    "https://example.org/a?b=c&d=%20e#f",
    "def f(x):\n    return x ** 2  # squared",
    "1234567890 3.14159 1e-9",
    "[CLS] [SEP] [PAD] [MASK]",
    "\x00\x01 control \x7f",
    "x" * 500,
    "A short sentence.",
]


def mixed_texts() -> list[str]:
    generator = random.Random(0)
    return [*MIXED, *(" ".join(generator.choices(WORDS, k=generator.randint(1, 300))) for _ in range(40))]


def cosines(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    cosine: npt.NDArray[np.float64] = (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1)
    cosine /= np.linalg.norm(b, axis=-1)
    return cosine


def test_one_text_is_a_vector_and_several_a_matrix(tiny: Embedder) -> None:
    assert tiny.dimension == 36
    assert tiny.encode("a text").shape == (36,)
    assert tiny.encode(["a text"]).shape == (1, 36)
    assert tiny.encode(["a text", "b", ""]).shape == (3, 36)
    assert tiny.encode(("a", "b")).shape == (2, 36)
    assert tiny.encode(["a"]).dtype == np.float32
    np.testing.assert_allclose(tiny.encode("a text"), tiny.encode(["b", "a text"])[1], atol=1e-5)


def test_no_texts(tiny: Embedder) -> None:
    assert tiny.encode([]).shape == (0, 36)
    assert tiny.encode([], truncate_dim=5).shape == (0, 5)
    assert tiny.encode([], normalize_embeddings=True).dtype == np.float32


def test_any_iterable_that_comes_as_texts(tiny: Embedder) -> None:
    """Outside the types, but common: a generator must not become no texts."""

    def texts() -> Iterator[str]:
        yield from ("a", "b")

    expected = tiny.encode(["a", "b"])
    np.testing.assert_array_equal(tiny.encode(texts()), expected)  # type: ignore[arg-type]
    np.testing.assert_array_equal(tiny.encode(np.array(["a", "b"])), expected)  # type: ignore[arg-type]


def test_as_sentence_transformers_does(default: Embedder, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = mixed_texts()
    theirs = SentenceTransformer(str(minilm), device="cpu").encode(texts, convert_to_numpy=True)
    ours = default.encode(texts)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert cosines(ours, theirs).min() >= 0.99999
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    alone = np.array([default.encode(text) for text in texts[:25]])
    assert cosines(alone, ours[:25]).min() >= 0.99999


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=30), max_size=12))
def test_every_text_gets_one_finite_vector(tiny: Embedder, texts: list[str]) -> None:
    vectors = tiny.encode(texts)
    assert vectors.shape == (len(texts), 36)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_fewer_dimensions_have_length_one_again(tiny: Embedder) -> None:
    whole, cut = tiny.encode(["a text", "b"]), tiny.encode(["a text", "b"], truncate_dim=10)
    expected = whole[:, :10] / np.linalg.norm(whole[:, :10], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-6)
    np.testing.assert_array_equal(tiny.encode(["a text", "b"], truncate_dim=36), whole)
    assert tiny.encode("b", truncate_dim=1).shape == (1,)


@pytest.mark.parametrize("dimension", [0, -1, 37])
def test_a_dimension_out_of_range(tiny: Embedder, dimension: int) -> None:
    with pytest.raises(InputError, match=f"{dimension} dimensions: must be 1 to 36"):
        tiny.encode(["a"], truncate_dim=dimension)


def test_a_model_that_does_not_normalise(prompted: Embedder) -> None:
    raw = prompted.encode(["a text", "b"])
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(norms - 1).max() > 0.1
    np.testing.assert_array_equal(prompted.encode(["a text", "b"], truncate_dim=4), raw[:, :4])
    unit = prompted.encode(["a text", "b"], normalize_embeddings=True)
    np.testing.assert_allclose(unit, raw / norms, atol=1e-6)
    both = prompted.encode(["a text", "b"], normalize_embeddings=True, truncate_dim=4)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)


def test_prompts(prompted: Embedder, tiny: Embedder) -> None:
    assert [prompted.prefix(), prompted.prefix("plain"), prompted.prefix("query", "x ")] == ["of: ", "", "x "]
    assert prompted.prefix(prompt="") == ""
    assert tiny.prefix() == ""
    plain = prompted.encode(["of: a", "x a", "a"], "plain")
    np.testing.assert_allclose(prompted.encode("a"), plain[0], atol=1e-5)
    np.testing.assert_allclose(prompted.encode("a", "query"), plain[0], atol=1e-5)
    np.testing.assert_allclose(prompted.encode("a", prompt="x "), plain[1], atol=1e-5)
    np.testing.assert_allclose(prompted.embed(["a"]).vectors[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(prompted.embed(["a"], prompt="").vectors[0], plain[2], atol=1e-5)


def test_an_unknown_prompt_lists_the_known(prompted: Embedder, tiny: Embedder) -> None:
    with pytest.raises(InputError, match=r"'passage'.* plain, query"):
        prompted.encode("a", "passage")
    with pytest.raises(InputError, match="none"):
        tiny.embed(["a"], "query")


@pytest.mark.parametrize("bad", [None, 3, 1.5, b"bytes", ["a"], float("nan")])
def test_a_text_that_is_no_string_is_named(tiny: Embedder, bad: Any) -> None:
    for call in (tiny.encode, tiny.embed):
        with pytest.raises(InputError, match=f"text 1 is {type(bad).__name__}"):
            call(["a", bad])


def test_half_of_a_surrogate_pair_is_named(tiny: Embedder) -> None:
    for call in (tiny.encode, tiny.embed):
        with pytest.raises(InputError, match=r"text 1 .*surrogate"):
            call(["a", "b\ud800"])
    with pytest.raises(InputError, match=r"text 0 .*surrogate"):
        tiny.encode("\udfff")


def test_a_job_of_one_string_or_none_is_refused(tiny: Embedder) -> None:
    with pytest.raises(InputError, match="at least one"):
        tiny.embed([])
    with pytest.raises(InputError, match="list"):
        tiny.embed("a text, not its letters")


def test_the_receipt_agrees_with_itself(tiny: Embedder, tiny_bert: Path) -> None:
    texts = ["a b c", "the", "a b c", "", "a " * 100, "the", "the"]
    lengths = tiny.model.tokenizer.encode(texts).lengths
    unique = tiny.model.tokenizer.encode(list(dict.fromkeys(texts))).lengths
    result = tiny.embed(texts)
    assert isinstance(result, EmbedResult)
    receipt = result.receipt
    assert result.vectors.shape == (7, 36)
    assert result.tokens.tolist() == lengths
    assert (receipt.texts, receipt.embedded, receipt.failed) == (7, 7, 0)
    assert (receipt.duplicates, receipt.truncated) == (3, 1)
    assert (receipt.tokens.input, receipt.tokens.useful) == (sum(lengths), sum(unique))
    assert receipt.flops.useful == forward_flops(tiny.model.checkpoint.shape, unique).total
    assert receipt.flops.executed >= receipt.flops.useful
    assert receipt.tokens_per_s == pytest.approx(receipt.tokens.useful / receipt.seconds.wall)
    assert receipt.mfu == pytest.approx(receipt.flops.useful / receipt.seconds.wall / 1e11)
    assert receipt.mfu_device == pytest.approx(receipt.flops.useful / receipt.seconds.device / 1e11)
    assert receipt.seconds.device <= receipt.seconds.wall
    assert receipt.seconds.startup > 0
    assert receipt.predicted_seconds is not None
    assert receipt.prediction_basis == "all"
    assert receipt.prediction_error == pytest.approx(
        abs(receipt.predicted_seconds - receipt.seconds.wall) / receipt.seconds.wall
    )
    assert (receipt.usd.per_hour, receipt.usd.total) == (None, None)
    assert (receipt.model, receipt.device) == (str(tiny_bert.resolve()), "a machine")
    assert len(receipt.elsewhere) == 4
    json.dumps(receipt.as_dict(), allow_nan=False)


def test_safe_for_threads(prompted: Embedder) -> None:
    """Calls large and small, with prompts and without, and jobs, of texts that many of them share."""
    folder = str(prompted.model.checkpoint.folder)
    texts = [f"text {number} of the story" for number in range(90)]
    expected = {prompt: prompted.encode(texts, prompt=prompt) for prompt in ("", "of: ", "x ")}
    everyone = threading.Barrier(8)
    with Embedder(folder, cache_texts=400) as embedder:

        def ask(number: int) -> None:
            everyone.wait(20)
            draw = random.Random(number)
            for turn in range(15):
                rows = draw.sample(range(90), draw.choice((1, 4, 30, 80)))
                prompt = draw.choice(("", "of: ", "x "))
                asked = [texts[row] for row in rows]
                vectors = embedder.embed(asked, prompt=prompt).vectors if turn % 5 == 0 else None
                got = embedder.encode(asked, prompt=prompt) if vectors is None else vectors
                np.testing.assert_allclose(got, expected[prompt][rows], atol=1e-5)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [None] * 8
        assert 0 < len(embedder.cache) <= 270
        assert embedder.cache.hits > 0


def test_repeats_get_the_same_vector(tiny: Embedder) -> None:
    vectors = tiny.embed(["a b", "c", "a b"]).vectors
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_allclose(vectors, tiny.encode(["a b", "c", "a b"]), atol=1e-5)


def test_a_price_makes_a_bill(tiny_bert: Path) -> None:
    receipt = Embedder(str(tiny_bert), usd_per_hour=3.6).embed(["a text"]).receipt
    assert receipt.usd.total == pytest.approx(receipt.seconds.wall * 1e-3)
    marginal = receipt.usd.marginal_per_million_tokens
    assert marginal == pytest.approx(receipt.seconds.device * 1e-3 / receipt.tokens.input * 1e6)


def test_a_shorter_limit(tiny_bert: Path) -> None:
    embedder = Embedder(str(tiny_bert), max_length=5)
    assert embedder.max_length == 5
    result = embedder.embed(["a b c d e f", "a b c"])
    assert result.tokens.tolist() == [5, 5]
    assert result.receipt.truncated == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"device": "h100-sxm"}, "'h100-sxm'"),
        ({"dtype": "int8"}, "'int8'"),
        ({"max_length": 0}, "length 0"),
        ({"max_length": 41}, "length 41"),
    ],
)
def test_an_option_that_cannot_be_is_named(tiny_bert: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Embedder(str(tiny_bert), **options)
