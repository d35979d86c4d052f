"""`encode` and its two sisters take sentence-transformers' arguments and mean the same by them."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.embedding.embedder import Embedder
from farthing.embedding.encode_options import EncodeOptions
from farthing.embedding.formats import PRECISIONS, Precision, VectorFormat
from farthing.embedding.steps import MOST_POSITIONS
from farthing.engine.contract import Done, Ids, Lane
from farthing.errors import InputError

pytestmark = pytest.mark.usefixtures("_calibrated")

TEXTS = [f"text {n} of the {'long ' * (n % 7)}story" for n in range(40)]


def parameters_of(method: Any) -> dict[str, Any]:
    named = inspect.signature(method).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {one.name: one.default for one in named if one.kind in kinds and one.name != "self"}


def test_the_arguments_are_theirs() -> None:
    from sentence_transformers import SentenceTransformer

    theirs, ours = parameters_of(SentenceTransformer.encode), parameters_of(Embedder.encode)
    assert list(ours)[: len(theirs)] == list(theirs)  # in their order, for calls by position
    theirs.pop("inputs")
    assert {name: ours[name] for name in theirs} == theirs
    for name in ("encode_query", "encode_document"):
        known = {**parameters_of(getattr(Embedder, name)), **EncodeOptions.__annotations__}
        assert set(parameters_of(getattr(SentenceTransformer, name))) <= set(known)
        assert set(known) == set(ours)


@pytest.mark.parametrize("precision", ["float32", "int8", "uint8", "binary", "ubinary"])
def test_precisions_as_sentence_transformers_does(default: Embedder, minilm: Path, precision: Any) -> None:
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(minilm), device="cpu").encode(TEXTS, precision=precision)
    ours = default.encode(TEXTS, precision=precision)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    if precision == "float32":
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    elif precision in ("int8", "uint8"):
        steps = np.abs(ours.astype(int) - theirs)
        assert steps.max() <= 1
        assert steps.mean() < 0.01
    else:
        assert (ours == theirs).mean() > 0.99


def test_a_tensor_or_a_list_of_them(tiny: Embedder) -> None:
    import torch

    vectors = tiny.encode(TEXTS)
    tensor: Any = tiny.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), vectors)
    one: Any = tiny.encode(TEXTS[0], convert_to_tensor=True, precision="binary", ranges=None)
    assert (one.shape, one.dtype) == ((5,), torch.int8)
    several: Any = tiny.encode(TEXTS, convert_to_numpy=False)
    assert isinstance(several, list)
    np.testing.assert_array_equal(torch.stack(several).numpy(), vectors)
    assert tiny.encode([], convert_to_tensor=True).shape == (0, 36)


def test_the_names_of_both_versions(tiny: Embedder) -> None:
    vectors = tiny.encode(TEXTS)
    np.testing.assert_allclose(tiny.encode(inputs=TEXTS), vectors, atol=1e-6)
    np.testing.assert_allclose(tiny.encode(sentences=TEXTS), vectors, atol=1e-6)
    np.testing.assert_allclose(tiny.encode_query(sentences=TEXTS), vectors, atol=1e-6)
    np.testing.assert_allclose(tiny.encode(TEXTS, None, None, 64, False), vectors, atol=1e-6)
    for call in (tiny.encode, tiny.encode_query, tiny.encode_document):
        with pytest.raises(InputError, match="no texts"):
            call()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"output_value": "token_embeddings"}, "'token_embeddings'"),
        ({"output_value": None}, "None"),
        ({"device": "cuda:0"}, "'cuda:0'"),
        ({"device": ["cpu", "cpu"]}, r"\['cpu', 'cpu'\]"),
        ({"pool": {}}, "pool"),
        ({"precision": "int4"}, "'int4'"),
        ({"precision": "int8"}, "at least 2 texts"),
        ({"ranges": np.zeros((2, 36))}, "float32 has no ranges"),
    ],
)
def test_what_is_not_to_be_had_is_refused(tiny: Embedder, options: dict[str, Any], named: str) -> None:
    for call in (tiny.encode, tiny.encode_query, tiny.encode_document):
        with pytest.raises(InputError, match=named):
            call("a text", **options)


def test_what_does_no_harm_is_taken(tiny: Embedder, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    vectors = tiny.encode(TEXTS)
    same = tiny.encode(TEXTS, batch_size=1, device=torch.device("cpu"), chunk_size=3)
    np.testing.assert_allclose(same, vectors, atol=1e-6)
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(
        tiny.encode([*TEXTS, TEXTS[0]], show_progress_bar=True)[:-1], vectors, atol=1e-6
    )
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    "prompts", [{"query": "q ", "passage": "p "}, {"document": "d ", "passage": "p "}, {}]
)
def test_prompts_for_queries_and_documents(
    tiny_bert: Path, tmp_path: Path, prompts: dict[str, str], tiny: Embedder
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    config = {"prompts": {**prompts, "usual": "u "}, "default_prompt_name": "usual"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    embedder = Embedder(str(folder), cache_texts=0)
    query, document = prompts.get("query", ""), prompts.get("document", prompts.get("passage", ""))
    plain = tiny.encode([query + "a", document + "a", "u a", "x a"])
    np.testing.assert_allclose(embedder.encode_query("a"), plain[0], atol=1e-5)
    np.testing.assert_allclose(embedder.encode_document("a"), plain[1], atol=1e-5)
    np.testing.assert_allclose(embedder.encode("a"), plain[2], atol=1e-5)
    for call in (embedder.encode_query, embedder.encode_document):
        np.testing.assert_allclose(call("a", prompt_name="usual"), plain[2], atol=1e-5)
        np.testing.assert_allclose(call("a", prompt="x "), plain[3], atol=1e-5)
        np.testing.assert_allclose(call("a", "usual", "x ", normalize_embeddings=True), plain[3], atol=1e-5)


def test_a_job_says_its_format(tiny: Embedder) -> None:
    floats = tiny.embed(TEXTS, truncate_dim=20)
    assert (floats.format.precision, floats.format.dimension, floats.format.ranges) == ("float32", 20, None)
    for precision in PRECISIONS:
        result = tiny.embed(TEXTS, precision=precision, truncate_dim=20)
        form = result.format
        assert (form.precision, form.dimension) == (precision, 20)
        assert (result.vectors.shape, result.vectors.dtype) == ((len(TEXTS), form.width), form.value_type)
        assert result.range_sample_texts == (len(TEXTS) if form.needs_ranges else 0)
        assert result.clipped == 0
        back = form.floats(result.vectors)
        exact = np.sign(floats.vectors) if "binary" in precision else floats.vectors
        np.testing.assert_allclose(back, exact, atol=1 / 255)
        assert result.receipt.as_dict().keys() == floats.receipt.as_dict().keys()


def test_ranges_of_another_job(tiny: Embedder) -> None:
    first = tiny.embed(TEXTS[:20], precision="int8")
    later = tiny.embed(TEXTS[20:], precision="int8", ranges=first.format.ranges)
    assert later.range_sample_texts == 0
    floats = tiny.embed(TEXTS[20:]).vectors
    assert later.clipped == first.format.outside(floats) > 0
    np.testing.assert_array_equal(later.vectors, first.format.quantized(floats))
    one = tiny.encode(TEXTS[0], precision="int8", ranges=first.format.ranges)
    assert np.abs(one.astype(int) - first.vectors[0]).max() <= 1  # alone, a value may fall across a step


@pytest.mark.parametrize("precision", ["int8", "float16", "binary"])
def test_no_texts_in_a_format(tiny: Embedder, precision: Precision) -> None:
    form = VectorFormat(precision, 12)
    vectors = tiny.encode([], precision=precision, truncate_dim=12)
    assert (vectors.shape, vectors.dtype) == ((0, form.width), form.value_type)


def test_texts_that_come_again(tiny_bert: Path) -> None:
    embedder = Embedder(str(tiny_bert), max_length=9)
    long = "word " * 20
    first = embedder.encode(["a b", "c", long])
    assert (embedder.cache.hits, embedder.cache.misses, len(embedder.cache)) == (0, 3, 3)
    again = embedder.encode(["c", long, "new", "a b"])
    np.testing.assert_array_equal(again[[3, 0, 1]], first)  # the very same
    assert (embedder.cache.hits, embedder.cache.misses) == (3, 4)

    texts = ["c", long, "newer", "newer", "c"]
    lengths = embedder.model.tokenizer.encode(texts).lengths
    result = embedder.embed(texts, truncate_dim=30)
    receipt = result.receipt
    # "c" and the long one come from the cache; "newer" and "c" repeat what stands before them.
    assert (receipt.texts, receipt.embedded, receipt.cached, receipt.duplicates) == (5, 5, 2, 2)
    assert (receipt.truncated, receipt.tokens.input, receipt.tokens.useful) == (1, sum(lengths), lengths[2])
    assert result.tokens.tolist() == lengths
    np.testing.assert_allclose(
        result.vectors[[0, 1]],
        again[[0, 1], :30] / np.linalg.norm(again[[0, 1], :30], axis=1, keepdims=True),
        atol=1e-6,
    )

    nothing = embedder.embed(texts).receipt
    assert (nothing.texts, nothing.cached, nothing.duplicates) == (5, 3, 2)
    assert (nothing.tokens.input, nothing.tokens.useful, nothing.truncated) == (sum(lengths), 0, 1)
    assert (nothing.mfu, nothing.predicted_seconds, nothing.prediction_error) == (0, None, None)
    json.dumps(nothing.as_dict(), allow_nan=False)


def test_a_job_fills_the_cache_too(tiny_bert: Path) -> None:
    """Of an embedder that has not been asked before, an empty cache is one to fill."""
    embedder = Embedder(str(tiny_bert))
    first = embedder.embed(["a b", "c"]).vectors
    assert len(embedder.cache) == 2
    again = embedder.embed(["c", "a b"])
    assert again.receipt.cached == 2
    np.testing.assert_array_equal(again.vectors, first[[1, 0]])


def test_what_the_caller_does_to_vectors_is_not_the_caches(tiny_bert: Path) -> None:
    embedder = Embedder(str(tiny_bert))
    first = embedder.encode(["a", "b"])
    kept = first.copy()
    first[:] = 7
    second = embedder.encode(["a", "b"])
    np.testing.assert_array_equal(second, kept)
    second[:] = 7
    np.testing.assert_array_equal(embedder.embed(["b", "a"]).vectors, kept[::-1])


def test_a_large_call_passes_the_cache_by(tiny_bert: Path) -> None:
    embedder = Embedder(str(tiny_bert), cache_texts=50)
    for call in (embedder.encode, embedder.embed):
        call([f"{row}" for row in range(6)])
        assert len(embedder.cache) == embedder.cache.misses == 0
    embedder.encode([f"{row}" for row in range(5)])
    assert len(embedder.cache) == 5
    large = embedder.embed([f"{row}" for row in range(6)]).receipt
    assert (large.cached, len(embedder.cache)) == (0, 5)


def test_no_cache(tiny: Embedder, tiny_bert: Path) -> None:
    tiny.encode(["a"])
    assert tiny.embed(["a"]).receipt.cached == 0
    assert len(tiny.cache) == 0
    with pytest.raises(InputError, match="cache_texts -1"):
        Embedder(str(tiny_bert), cache_texts=-1)


def test_lanes_are_told_what_all_texts_begin_with(
    prompted: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Causal models compute it once; the vectors say nothing of it."""
    told: set[str | None] = set()
    run = Lane.run

    def spy(self: Lane, texts: Sequence[Ids], prompt: Ids | None = None) -> Done:
        told.add(None if prompt is None else ",".join(map(str, prompt.tolist())))
        return run(self, texts, prompt)

    def ids(prompt: str) -> set[str | None]:
        return {",".join(map(str, prompted.model.tokenizer.encode([prompt]).ids[0].tolist()))}

    monkeypatch.setattr(Lane, "run", spy)
    prompted.encode_query(["a", "b"])
    assert told == ids("of: ")
    told.clear()
    prompted.encode_query([str(number) for number in range(MOST_POSITIONS)])
    assert told == ids("of: ")
    told.clear()
    prompted.embed(["a", "b"], prompt="x ")
    assert told == ids("x ")
    told.clear()
    prompted.encode(["a", "b"], "plain")
    assert told == {None}
