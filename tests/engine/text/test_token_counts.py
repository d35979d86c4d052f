"""Counting tokens without the model: where the tokenizer is found, and what it counts."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from farthing.catalog.model_files import DEFAULT_MODEL
from farthing.engine.text import token_counts
from farthing.engine.text.token_counts import token_counter_if_here
from farthing.errors import ModelError


def counts(model: str, texts: list[str]) -> list[int]:
    count = token_counter_if_here(model)
    assert count is not None
    return count(texts)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return a folder with a tokenizer of four words that puts [CLS] and [SEP] around a text, cuts and pads."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    words = ["[UNK]", "[CLS]", "[SEP]", "the"]
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    folder = tmp_path / "tiny"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "all-MiniLM-L6-v2", DEFAULT_MODEL.upper()])
def test_the_default_model_goes_by_its_names(name: str, minilm: Path) -> None:
    """[CLS] and [SEP] count: they are computed."""
    assert counts(name, ["", "hello", "hello world"]) == [2, 3, 4]
    assert counts(name, ["hello"]) == counts(str(minilm), ["hello"])


def test_nothing_is_cut_and_nothing_padded(tiny: Path) -> None:
    """The folder's tokenizer says: cut at 8, pad to 8."""
    assert counts(str(tiny), ["a", "the of and " * 50]) == [3, 152]


def test_counts_are_those_of_transformers(minilm: Path, scifact: Path) -> None:
    from transformers import AutoTokenizer

    lines = (scifact / "queries.jsonl").read_text(encoding="utf-8").splitlines()[:50]
    lines += ["naïve café — 東京 🙂", "a\nb\t c", "x" * 500]
    theirs = AutoTokenizer.from_pretrained(minilm)(lines, truncation=False, padding=False)["input_ids"]
    assert counts(str(minilm), lines) == [len(ids) for ids in theirs]


def test_no_texts_no_counts(tiny: Path) -> None:
    assert counts(str(tiny), []) == []


@pytest.mark.parametrize(
    "model",
    [
        "",
        "no-such-model",
        "nobody/no-such-model",
        "not a/hub id",
        "a/b/c",
        "./no/such/folder",
        "~nobody-of-that-name/x",
        "x" * 5000,
        "a\0b",
    ],
)
def test_a_model_that_is_not_here_has_no_counter(model: str) -> None:
    assert token_counter_if_here(model) is None


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    assert token_counter_if_here(str(tmp_path)) is None
    (tmp_path / "tokenizer.json").mkdir()
    assert token_counter_if_here(str(tmp_path)) is None


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("x")
    assert token_counter_if_here(str(tmp_path / "model")) is None


@pytest.mark.parametrize("content", ["", "{", "{}", "[]"])
def test_a_broken_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json: cannot be loaded") as caught:
        token_counter_if_here(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"])
def test_a_catalog_name_finds_what_was_fetched_from_the_hub(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache, as its own client lays it out."""
    from huggingface_hub import constants

    commit = "0" * 40
    model = tmp_path / "models--BAAI--bge-small-en-v1.5"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    (model / "snapshots" / commit).mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert token_counter_if_here(name) is None
    shutil.copy(tiny / "tokenizer.json", model / "snapshots" / commit)
    assert counts(name, ["the of and"]) == [5]


def test_without_the_library_there_is_no_counter(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert token_counter_if_here(str(tiny)) is None


def test_without_the_hubs_client_there_is_no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert token_counter_if_here("BAAI/bge-small-en-v1.5") is None


def test_before_the_default_model_is_fetched_there_is_no_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(token_counts, "default_model_folder", lambda: tmp_path)
    assert token_counter_if_here(DEFAULT_MODEL) is None
