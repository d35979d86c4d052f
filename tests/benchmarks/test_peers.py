"""The benchmark beside other engines: its texts, its search and its bars, and a process that answers."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.text.tokenization import TextTokenizer
from peers_bars import Bar, all_bars
from peers_engines import ENGINES, PeerError, Worker
from peers_rounds import agreement, by_batch
from peers_texts import for_batch_search, instructed_queries, mixed_requests, one_token_words, short_texts

PROSE = ["the quick brown fox jumps over the lazy dog and embeddings are unaffordable", "a river, a bank"]


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> TextTokenizer:
    return TextTokenizer(read_checkpoint(locate_model(str(minilm))), max_length=512)


def test_made_texts_have_the_tokens_that_were_asked_for(tokenizer: TextTokenizer) -> None:
    words = one_token_words(PROSE, tokenizer)
    assert words.count("the") == 2
    assert "unaffordable" not in words
    assert set(tokenizer.encode(short_texts(words, 17, 5)).lengths) == {17}
    requests = mixed_requests(words, 4, 64)
    assert requests == mixed_requests(words, 4, 64)
    lengths = tokenizer.encode([text for request in requests for text in request]).lengths
    assert min(lengths) >= 4
    assert 400 < max(lengths) <= 512
    assert 25 < np.median(lengths) < 70
    assert lengths != sorted(lengths)


def test_queries_share_only_their_instruction() -> None:
    instruction, queries = instructed_queries(20, 25, 15)
    assert len(instruction.split()) == 25
    assert {len(query.split()) for query in queries} == {15}
    assert len({query.split()[0] for query in queries}) == 20


def test_the_sample_for_batches_is_as_even_as_all_texts() -> None:
    texts = ["x" * length for length in random.Random(0).sample(range(1, 4000), 400)]
    sample = for_batch_search(texts)
    assert len(sample) == len(set(sample)) == 100
    ordered = sorted(texts, key=len)
    runs = sorted(ordered.index(text) for text in sample)
    assert sum(after - before > 1 for before, after in pairwise(runs)) == 3


def test_the_best_batch_is_found_on_either_side_of_8() -> None:
    for best in (1, 4, 8, 32, 128):
        timed: list[int] = []

        def seconds(batch: int, best: int = best, timed: list[int] = timed) -> float:
            timed.append(batch)
            return 1 + abs(math.log2(batch / best)) / 5

        assert next(iter(by_batch(seconds))) == best
        assert timed.count(best) == 2


def test_bars_are_judged_like_with_like() -> None:
    seconds = {
        "farthing": 1.0,
        "farthing-bf16": 0.5,
        "st-torch": 3.0,
        "fastembed": 1.3,
        "st-openvino-default": 0.8,
    }
    ours_of = {"st-torch": "farthing", "fastembed": "farthing", "st-openvino-default": "farthing-bf16"}
    questions = {
        "docstrings": {"engines": {name: {"median_s": one} for name, one in seconds.items()}},
        "latency": {"9": {"engines": {name: {"median_s": one} for name, one in seconds.items()}}},
        "mfu": {"scifact": {"engines": {"farthing": {"mfu_wall": 0.79}}}},
        "prefix": {"engines": {"farthing": {"median_s": 1.0}, "farthing, plain": {"median_s": 1.5}}},
    }
    found = [(bar.question, bar.figure, bar.least, bar.met) for bar in all_bars(questions, ours_of)]
    assert found == [
        ("docstrings", 1.3, 1.4, False),
        ("docstrings", 1.6, 1.4, True),
        ("latency, 9 tokens", 3.0, 1.5, True),
        ("latency, 9 tokens", 1.3, 1.0, True),
        ("latency, 9 tokens", 1.6, 1.5, True),
        ("mfu, scifact", 0.79, 0.80, False),
        ("prefix", 1.5, 1.5, True),
    ]
    assert all_bars({}, ours_of) == []
    assert Bar("mix", "a peer that did not run", None, 1.8).met is None


def test_disagreement_shows() -> None:
    vectors = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    other = vectors.copy()
    other[2] = -other[2]
    found = agreement({"reference": vectors, "same": vectors * 2, "other": other}, "reference")
    assert found["same"]["least_cosine"] == pytest.approx(1)
    assert found["same"]["deviation"] > 0.5
    assert found["other"]["least_cosine"] == pytest.approx(-1)


def test_a_process_answers_and_sleeps_again(tiny_bert: Path, tmp_path: Path) -> None:
    texts = ["a b c", "the of", "d e f g"]
    worker = Worker(ENGINES[0], tiny_bert, tmp_path)
    try:
        seconds, vectors = worker.run([texts[:2], texts[2:]])
        _, alone = worker.run([[text] for text in texts], single=True)
    finally:
        worker.close()
    assert len(seconds) == 2
    expected = Embedder(str(tiny_bert), cache_texts=0).encode(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    assert worker.ended


def test_an_engine_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"could not be run: .*no config\.json"):
        Worker(ENGINES[0], tmp_path, tmp_path)
