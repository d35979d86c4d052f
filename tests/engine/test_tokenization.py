"""Tokenizing: the model's own limit, no padding, exact counts, and truncation reported when it happens."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from farthing.engine.checkpoint import Checkpoint, read_checkpoint
from farthing.engine.locate import locate_model
from farthing.engine.tokenization import TextTokenizer
from farthing.errors import InputError, ModelError

CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def checkpoint(tiny_bert: Path) -> Checkpoint:
    return read_checkpoint(locate_model(str(tiny_bert)))


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Checkpoint) -> TextTokenizer:
    return TextTokenizer(checkpoint)


def test_baked_in_truncation_and_padding_are_undone(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> None:
    baked = json.loads((checkpoint.folder / "tokenizer.json").read_text())
    assert baked["truncation"]["max_length"] == 8
    assert baked["padding"]["strategy"] == {"Fixed": 8}
    done = tokenizer.encode(["a", "a b c d e f g h i j k l"])
    assert done.lengths == [3, 14]
    assert done.truncated == [False, False]


def test_the_trap_of_the_default_model(minilm: Path) -> None:
    tokenizer = TextTokenizer(read_checkpoint(locate_model(str(minilm))))
    assert tokenizer.max_length == 256
    done = tokenizer.encode(["word", "word " * 200, "word " * 254, "word " * 255])
    assert done.lengths == [3, 202, 256, 256]
    assert done.truncated == [False, False, False, True]


def test_ids_are_the_librarys_own(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> None:
    plain = Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
    plain.no_padding()
    plain.no_truncation()
    texts = ["the end of a story, and more", "abc 123!", "no such letter: é ж 語 🙂", "x"]
    done = tokenizer.encode(texts)
    assert [ids.tolist() for ids in done.ids] == [plain.encode(text).ids for text in texts]
    assert all(ids.dtype == np.int32 for ids in done.ids)
    assert done.seconds > 0


@pytest.mark.parametrize("text", ["", " ", "   \t\n "])
def test_a_text_of_nothing_is_its_special_tokens(tokenizer: TextTokenizer, text: str) -> None:
    done = tokenizer.encode([text])
    assert done.ids[0].tolist() == [CLS, SEP]
    assert done.truncated == [False]


def test_no_texts(tokenizer: TextTokenizer) -> None:
    done = tokenizer.encode([])
    assert (done.ids, done.truncated, done.lengths) == ([], [], [])


@given(st.lists(st.integers(0, 80), max_size=10), st.integers(3, 40))
def test_a_text_is_truncated_only_when_it_is_cut(
    checkpoint: Checkpoint, words: list[int], limit: int
) -> None:
    tokenizer = TextTokenizer(checkpoint, limit)
    done = tokenizer.encode(["a " * count for count in words])
    assert done.lengths == [min(count + 2, limit) for count in words]
    assert done.truncated == [count + 2 > limit for count in words]
    for ids in done.ids:
        assert (ids[0], ids[-1]) == (CLS, SEP)


@given(st.lists(st.text(max_size=60), max_size=8))
def test_a_text_is_tokenized_the_same_in_any_company(tokenizer: TextTokenizer, texts: list[str]) -> None:
    together = tokenizer.encode(texts)
    for ids, text in zip(together.ids, texts, strict=True):
        alone = tokenizer.encode([text]).ids[0]
        assert alone.tolist() == ids.tolist()
        assert 2 <= len(ids) <= tokenizer.max_length


def test_lower_case_first(checkpoint: Checkpoint) -> None:
    path = checkpoint.folder / "tokenizer.json"
    cased = json.loads(path.read_text())
    assert cased["normalizer"]["lowercase"]
    ids = TextTokenizer(replace(checkpoint, lowercase=True)).encode(["THE End"]).ids[0]
    assert ids.tolist() == TextTokenizer(checkpoint).encode(["the end"]).ids[0].tolist()


def test_a_cased_tokenizer_is_given_lower_case_when_the_model_says_so(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint.folder, tmp_path / "model"))
    row = json.loads((folder / "tokenizer.json").read_text())
    row["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(row))
    cased = replace(checkpoint, folder=folder)
    lowered = TextTokenizer(replace(cased, lowercase=True)).encode(["THE"]).ids[0].tolist()
    assert lowered == TextTokenizer(cased).encode(["the"]).ids[0].tolist()
    assert lowered != TextTokenizer(cased).encode(["THE"]).ids[0].tolist()


@pytest.mark.parametrize("limit", [0, -5, 41, 10**6])
def test_a_limit_out_of_range(checkpoint: Checkpoint, limit: int) -> None:
    with pytest.raises(InputError, match=rf"length {limit} .* 1 to 40 tokens"):
        TextTokenizer(checkpoint, limit)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_without_room_for_text(checkpoint: Checkpoint, limit: int) -> None:
    with pytest.raises(InputError, match="2 special tokens"):
        TextTokenizer(checkpoint, limit)


def test_a_limit_above_the_models_own_may_be_asked_for(checkpoint: Checkpoint) -> None:
    assert TextTokenizer(checkpoint).max_length == 32
    assert TextTokenizer(checkpoint, 40).max_length == 40


def test_a_vocabulary_that_is_too_large(checkpoint: Checkpoint) -> None:
    small = replace(checkpoint, shape=replace(checkpoint.shape, vocabulary=50))
    with pytest.raises(ModelError, match=r"tokenizer\.json.* 50 rows"):
        TextTokenizer(small)


@pytest.mark.parametrize("content", [b"", b"{}", b"no JSON", b"\xff"])
def test_a_tokenizer_that_cannot_be_loaded(checkpoint: Checkpoint, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        TextTokenizer(replace(checkpoint, folder=tmp_path))
    assert str(tmp_path / "tokenizer.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_for_synthetic_text(tokenizer: TextTokenizer) -> None:
    words = tokenizer.words()
    assert {"a", "the", "of", "and"} <= set(words)
    assert all(word.isalpha() and word.isascii() for word in words)
    assert words == sorted(words)
