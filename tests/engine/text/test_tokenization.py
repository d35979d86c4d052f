"""Tokenizing: the model's own limit, no padding, exact counts, and truncation reported when it happens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from farthing.engine.folder.checkpoint import Checkpoint, TruncationSide, read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import InputError, ModelError, UnsupportedModelError

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


LEFT_CASES = [(8, "a b c d e f g h i j"), (3, "a b"), (9, "a b c d e f g"), (5, "story, and more")]


@pytest.mark.parametrize(("limit", "text"), LEFT_CASES)
def test_truncation_on_the_left_keeps_the_end_and_the_special_tokens(
    checkpoint: Checkpoint, limit: int, text: str
) -> None:
    whole = TextTokenizer(checkpoint).encode([text]).ids[0].tolist()
    done = TextTokenizer(checkpoint, limit, "left").encode([text])
    kept = min(limit, len(whole)) - 2
    assert done.ids[0].tolist() == [CLS, *whole[1:-1][-kept:], SEP]
    assert done.truncated == [len(whole) > limit]


def test_the_side_is_the_callers_then_the_models_then_the_tokenizers(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint.folder, tmp_path / "model"))
    row = json.loads((folder / "tokenizer.json").read_text())
    row["truncation"]["direction"] = "Left"
    (folder / "tokenizer.json").write_text(json.dumps(row))
    of_left_file = replace(checkpoint, folder=folder)
    assert TextTokenizer(checkpoint).truncation_side == "right"
    assert TextTokenizer(of_left_file).truncation_side == "left"
    assert TextTokenizer(replace(of_left_file, truncation_side="right")).truncation_side == "right"
    assert TextTokenizer(replace(of_left_file, truncation_side="right"), 8, "left").truncation_side == "left"
    with pytest.raises(InputError, match="'up'"):
        TextTokenizer(checkpoint, 8, "up")  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["left", "right"])
def test_ids_are_those_of_transformers(checkpoint: Checkpoint, tmp_path: Path, side: str) -> None:
    from transformers import AutoTokenizer

    folder = Path(shutil.copytree(checkpoint.folder, tmp_path / "model"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"truncation_side": side, "model_max_length": 10})
    )
    theirs = AutoTokenizer.from_pretrained(folder)
    texts = ["the end of a story, and more of it", "a b c", "", "no such letter: é ж 語 🙂"]
    ours = TextTokenizer(read_checkpoint(locate_model(str(folder))), 10).encode(texts)
    expected = theirs(texts, truncation=True, padding=False)["input_ids"]
    assert [ids.tolist() for ids in ours.ids] == expected
    assert ours.truncated == [True, False, False, True]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("words", "tokens"), [(7, 9), (30, 32), (1000, 1002)])
def test_a_longer_text_is_refused_if_the_caller_says_so(
    checkpoint: Checkpoint, side: TruncationSide, words: int, tokens: int
) -> None:
    tokenizer = TextTokenizer(checkpoint, 8, side)
    texts = ["a b c d e f", "a " * words, "a " * 70]
    with pytest.raises(InputError, match=rf"^text 1 has {tokens} tokens, over the limit of 8;"):
        tokenizer.refuse_longer((f"text {row}", text) for row, text in enumerate(texts))
    assert tokenizer.encode(texts).truncated == [False, True, True]
    tokenizer.refuse_longer([("text 0", texts[0])])


def with_post_processor(checkpoint: Checkpoint, folder: Path, post_processor: object) -> Checkpoint:
    row = json.loads((checkpoint.folder / "tokenizer.json").read_text())
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({**row, "post_processor": post_processor}))
    return replace(checkpoint, folder=folder)


def appending(token: int) -> object:
    """Return the post-processor of a causal embedding model (Qwen3-Embedding): nothing in front, an end behind."""
    parts = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[END]", "type_id": 0}}]
    special = {"[END]": {"id": "[END]", "ids": [token], "tokens": ["[END]"]}}
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": special}


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_end_that_the_tokenizer_appends_stays_last(
    checkpoint: Checkpoint, tmp_path: Path, side: TruncationSide
) -> None:
    """Last-token pooling reads it; whatever tokenizer_config.json says of it, tokenizer.json decides."""
    causal = with_post_processor(checkpoint, tmp_path / "end", appending(SEP))
    (causal.folder / "tokenizer_config.json").write_text(json.dumps({"add_eos_token": False}))
    done = TextTokenizer(causal, 6, side).encode(["a b c", "a b c d e f g h", ""])
    assert [ids.tolist()[-1] for ids in done.ids] == [SEP, SEP, SEP]
    assert done.lengths == [4, 6, 1]
    bare = with_post_processor(checkpoint, tmp_path / "none", None)
    (bare.folder / "tokenizer_config.json").write_text(json.dumps({"add_eos_token": True}))
    assert TextTokenizer(bare, 6, side).encode(["a b c"]).lengths == [3]


def typed(cls: int, text: int, sep: int) -> object:
    """Return BERT's post-processor, with types of its own."""
    parts = [
        {"SpecialToken": {"id": "[CLS]", "type_id": cls}},
        {"Sequence": {"id": "A", "type_id": text}},
        {"SpecialToken": {"id": "[SEP]", "type_id": sep}},
    ]
    special = {
        name: {"id": name, "ids": [one], "tokens": [name]} for name, one in (("[CLS]", CLS), ("[SEP]", SEP))
    }
    return {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": special}


@pytest.mark.parametrize("types", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_types_other_than_0_are_refused_by_name(
    checkpoint: Checkpoint, tmp_path: Path, types: tuple[int, int, int]
) -> None:
    """The engine adds the embedding of type 0 to every token; transformers adds that of its type."""
    other = with_post_processor(checkpoint, tmp_path / "typed", typed(*types))
    with pytest.raises(
        UnsupportedModelError, match=r"typed/tokenizer\.json: its post_processor .*type_ids to 0"
    ):
        TextTokenizer(other)
    without = replace(other, shape=replace(checkpoint.shape, token_types=0))
    assert (
        TextTokenizer(without).encode(["a"]).ids[0].tolist()
        == TextTokenizer(checkpoint).encode(["a"]).ids[0].tolist()
    )


def test_types_of_0_are_taken(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Whatever type and id the padding has that the file asks for: nothing is padded."""
    plain = with_post_processor(checkpoint, tmp_path / "typed", typed(0, 0, 0))
    row = json.loads((plain.folder / "tokenizer.json").read_text())
    row["padding"] |= {"pad_type_id": 1, "pad_id": 10**6}
    row["truncation"]["max_length"] = 2
    (plain.folder / "tokenizer.json").write_text(json.dumps(row))
    assert TextTokenizer(plain).encode(["a b c"]).lengths == [5]


def test_a_text_without_any_token_fails_alone(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bare = TextTokenizer(with_post_processor(checkpoint, tmp_path / "none", None))
    done = bare.encode(["a", " ", "b"])
    assert done.lengths == [1, 0, 1]
    assert {row: str(error) for row, error in done.failed.items()} == {1: "it has no tokens; leave it out"}


def test_lower_case_is_that_of_sentence_transformers(make_bert: Callable[..., Path], tmp_path: Path) -> None:
    """Of a cased tokenizer; special tokens in the text stay what they are."""
    from sentence_transformers import SentenceTransformer

    folder = Path(shutil.copytree(make_bert(vocab_size=90), tmp_path / "model"))
    row = json.loads((folder / "tokenizer.json").read_text())
    row["normalizer"]["lowercase"] = False
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    row["added_tokens"] = [{"id": SEP, "content": "[SEP]", **special}]
    (folder / "tokenizer.json").write_text(json.dumps(row))
    own_file = {"tokenizer_class": "PreTrainedTokenizerFast"}  # BertTokenizer makes a normalizer of its own
    (folder / "tokenizer_config.json").write_text(json.dumps(own_file))
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    (folder / "sentence_bert_config.json").write_text(json.dumps({**settings, "do_lower_case": True}))
    checkpoint = read_checkpoint(locate_model(str(folder)))
    texts = ["THE End", "A [SEP] B", "ÀÉ Ω ΟΔΟΣ", "plain"]
    theirs = SentenceTransformer(str(folder), device="cpu").tokenizer(texts)["input_ids"]
    ours = TextTokenizer(checkpoint).encode(texts)
    assert [ids.tolist() for ids in ours.ids] == theirs
    cased = TextTokenizer(replace(checkpoint, lowercase=False)).encode(texts)
    assert cased.ids[0].tolist() != theirs[0]


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


def test_a_special_token_beyond_the_table(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json: token None has id 1000"):
        TextTokenizer(with_post_processor(checkpoint, tmp_path / "end", appending(1000)))


def test_any_other_token_beyond_the_table_is_found_when_it_comes(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    row = json.loads((checkpoint.folder / "tokenizer.json").read_text())
    row["model"]["vocab"]["the"] = 5000
    (tmp_path / "tokenizer.json").write_text(json.dumps(row))
    tokenizer = TextTokenizer(replace(checkpoint, folder=tmp_path))
    assert tokenizer.encode(["a b"]).lengths == [4]
    with pytest.raises(ModelError, match=r"tokenizer\.json: token 'the' has id 5000, .* 87 rows"):
        tokenizer.encode(["a b", "a the b"])


@pytest.mark.parametrize("content", [b"", b"{}", b"no JSON", b"\xff", "truncated"])
def test_a_tokenizer_that_cannot_be_loaded(
    checkpoint: Checkpoint, tmp_path: Path, content: bytes | str
) -> None:
    whole = (checkpoint.folder / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(
        content if isinstance(content, bytes) else whole[: len(whole) // 2]
    )
    with pytest.raises(ModelError) as caught:
        TextTokenizer(replace(checkpoint, folder=tmp_path))
    assert str(tmp_path / "tokenizer.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_for_synthetic_text(tokenizer: TextTokenizer) -> None:
    words = tokenizer.words()
    assert {"a", "the", "of", "and"} <= set(words)
    assert all(word.isalpha() and word.isascii() for word in words)
    assert words == sorted(words)


def test_a_prompt_that_is_no_text_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(InputError, match="prompt: "):
        tokenizer.prompt("\ud800")
