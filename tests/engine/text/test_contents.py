"""Only a part of a long text is tokenized, and its ids are those of the whole text, whatever the tokenizer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from farthing.engine.text import contents
from farthing.engine.text.contents import ContentReader

SENTENCES = [
    "the quick brown fox jumps over the lazy dog, and 1,234 others (of 5) do too!",
    "Return the hidden states of each layer; raise ValueError if there are none.",
    "一只敏捷的棕色狐狸跳过了那只懒狗。人生は短く、芸術は長い。",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "xxxx xxxxxxxx xx x xxxxxxxxxxxxxxxx yzyzyzyz abababab   \n\n\t  e\u0301 ﬁ ǅ １２３ 🙂🙂",
]
SPECIAL = ["[UNK]", "[CLS]", "[SEP]"]


def trained(model: Any, trainer: Any, normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    return tokenizer


def bpe(normalizer: Any, pre_tokenizer: Any, alphabet: list[str] | None = None, **options: Any) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet or [], show_progress=False
    )
    return trained(models.BPE(unk_token="[UNK]", **options), trainer, normalizer, pre_tokenizer)


def unigram(normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False
    )
    return trained(models.Unigram(), trainer, normalizer, pre_tokenizer)


def word_piece(pre_tokenizer: Any) -> Tokenizer:
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=SPECIAL, show_progress=False)
    model = models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100)
    return trained(model, trainer, normalizers.BertNormalizer(), pre_tokenizer)


QWEN = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = pre_tokenizers.ByteLevel.alphabet()
LLAMA = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "BERT": lambda: word_piece(pre_tokenizers.BertPreTokenizer()),
    "words": lambda: word_piece(pre_tokenizers.WhitespaceSplit()),
    "GPT-2": lambda: bpe(None, pre_tokenizers.ByteLevel(add_prefix_space=False), BYTES),
    "RoBERTa": lambda: bpe(None, pre_tokenizers.ByteLevel(add_prefix_space=True), BYTES),
    "Qwen": lambda: bpe(
        normalizers.NFC(),
        pre_tokenizers.Sequence(
            [pre_tokenizers.Split(QWEN, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        ),
        BYTES,
    ),
    "Llama": lambda: bpe(normalizers.Sequence(LLAMA), None, fuse_unk=True, byte_fallback=True),
    "T5": lambda: unigram(normalizers.NFKC(), pre_tokenizers.Metaspace()),
    "one sentence": lambda: unigram(normalizers.NFKC(), pre_tokenizers.Metaspace(split=False)),
    "XLM-R": lambda: unigram(
        normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
    ),
    "NFKD": lambda: unigram(
        normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]),
        pre_tokenizers.Metaspace(prepend_scheme="first"),
    ),
}


class ByName(dict[str, Tokenizer]):
    def __repr__(self) -> str:
        return "tokenizers"  # which hypothesis would write out, and then refuse as too long


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return ByName({name: make() for name, make in TOKENIZERS.items()})


words = [word for sentence in SENTENCES for word in sentence.split()]
alone = st.sampled_from(
    ["x", "ab", "yz", " ", "  ", "\n", "e\u0301", "\u0301", "🙂", "狐", "д", "[SEP]", "1", "\x00", "a b"]
)
runs = st.one_of(
    st.tuples(st.sampled_from(words), st.integers(1, 3), st.sampled_from([" ", ""])),
    st.tuples(alone, st.integers(1, 4000), st.sampled_from(["", "", " "])),
    st.tuples(st.text(max_size=40), st.integers(1, 40), st.sampled_from(["", " "])),
)


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    """Draw texts of words, and of whatever else there is, some again and again."""
    parts = draw(st.lists(runs, min_size=1, max_size=6))
    prose = random.Random(draw(st.integers(0, 1000)))
    text = []
    for piece, times, between in parts:
        text.append(between.join([piece] * times))
        text.append(draw(st.sampled_from(["", " "])))
        text.append(" ".join(prose.choices(words, k=draw(st.sampled_from([0, 30, 400])))))
    return "".join(text).encode("utf-8", "ignore").decode()


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(text=long_texts(), kept=st.sampled_from([1, 6, 60]), side=st.sampled_from(["left", "right"]))
def test_ids_are_those_of_the_whole_text(
    tokenizers: dict[str, Tokenizer], name: str, text: str, kept: int, side: str
) -> None:
    whole = tokenizers[name].encode(text, add_special_tokens=False).ids
    expected = whole[-kept:] if side == "left" else whole[:kept]
    (content,) = ContentReader(tokenizers[name], kept, side).read([text])
    assert content.error is None
    assert content.ids == expected
    assert content.tokens in (None, len(whole))
    assert content.tokens is not None or len(whole) > kept


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("unit", ["a", "ab", "abc", "x y", "狐", "-=", "lalo"])
def test_the_same_again_and_again(tokenizers: dict[str, Tokenizer], name: str, unit: str) -> None:
    """Where tokens start then depends on where it begins: `abab` at every second `ab`."""
    for times in (4_000, 4_001, 50_003):
        text = unit * times + " "
        for kept, side in ((6, "left"), (6, "right"), (60, "left")):
            whole = tokenizers[name].encode(text, add_special_tokens=False).ids
            expected = whole[-kept:] if side == "left" else whole[:kept]
            (content,) = ContentReader(tokenizers[name], kept, side).read([text])
            assert content.ids == expected


@pytest.mark.parametrize("name", TOKENIZERS)
def test_of_prose_only_a_part_is_tokenized(
    tokenizers: dict[str, Tokenizer], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the tokenizer splits at spaces, and where there are none."""
    read: list[int] = []
    own = ContentReader._ids_together

    def counted(self: ContentReader, texts: list[str]) -> Any:
        read.extend(map(len, texts))
        return own(self, texts)

    monkeypatch.setattr(ContentReader, "_ids_together", counted)
    for unit in (SENTENCES[0] + " ", SENTENCES[2], SENTENCES[3] + "\n"):
        for side in ("left", "right"):
            read.clear()
            (content,) = ContentReader(tokenizers[name], 100, side).read([unit * 40_000])
            assert (len(content.ids), content.error) == (100, None)
            assert sum(read) < 1_000_000 < len(unit * 40_000)


def test_what_a_word_piece_tokenizer_gives_up_is_not_read(tokenizers: dict[str, Tokenizer]) -> None:
    for text in ("x" * 5_000_000, " " * 5_000_000, "a " + "\n" * 5_000_000 + "b"):
        expected = tokenizers["BERT"].encode(text[:1000] + text[-1000:], add_special_tokens=False).ids
        for side in ("left", "right"):
            (content,) = ContentReader(tokenizers["BERT"], 10, side).read([text])
            assert (content.ids, content.error) == (expected, None)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_that_no_part_says_anything_of_fails_by_name(
    tokenizers: dict[str, Tokenizer], monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Unknown letters in a row are one token, however many there are."""
    monkeypatch.setattr(contents, "MOST_CHARACTERS", 20_000)
    found = ContentReader(tokenizers["T5"], 10, side).read(["a b", "ح" * 30_000, "c"])
    assert [content.error is None for content in found] == [True, False, True]
    assert "30,000 characters" in str(found[1].error)
    assert "split it" in str(found[1].error)


def test_texts_are_tokenized_together_in_bounded_numbers_of_characters(
    tokenizers: dict[str, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "TOGETHER_CHARACTERS", 5_000)
    sizes: list[int] = []
    own = ContentReader._ids_together

    def sized(self: ContentReader, texts: list[str]) -> Any:
        sizes.append(sum(map(len, texts)))
        return own(self, texts)

    monkeypatch.setattr(ContentReader, "_ids_together", sized)
    texts = ["a b " * 500, "the end", *["of it " * 300] * 5]
    found = ContentReader(tokenizers["BERT"], 50, "right").read(texts)
    assert max(sizes) < 5_000 + 2_656
    for text, content in zip(texts, found, strict=True):
        assert content.ids == tokenizers["BERT"].encode(text, add_special_tokens=False).ids[:50]


def test_decoders_do_not_matter(tokenizers: dict[str, Tokenizer]) -> None:
    described = json.loads(tokenizers["GPT-2"].to_str())
    assert described["decoder"] is None
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.decoder = decoders.ByteLevel()
    text = SENTENCES[0] * 100
    assert ContentReader(tokenizer, 9, "right").read([text]) == ContentReader(
        tokenizers["GPT-2"], 9, "right"
    ).read([text])
