"""Windows: every text once and in order, repeats found within and across them, memory bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine import windows
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.text.tokenization import TextTokenizer
from farthing.embedding.windows import Window, WindowMaker


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> TextTokenizer:
    return TextTokenizer(read_checkpoint(locate_model(str(tiny_bert))))


def make(tokenizer: TextTokenizer, texts: list[str], **sizes: int) -> list[Window]:
    options: dict[str, Any] = {"dimension": 4, "max_batch_tokens": 64, "streams": 2, **sizes}
    return list(WindowMaker(tokenizer, **options).windows(iter(texts)))


def restored(tokenizer: TextTokenizer, made: list[Window]) -> list[list[int]]:
    """Return the ids behind each text of the input, by serial number."""
    by_serial = {
        window.first_serial + row: ids.tolist() for window in made for row, ids in enumerate(window.ids)
    }
    return [by_serial[serial] for window in made for serial in window.source.tolist()]


TEXTS = st.lists(st.text("abc ", max_size=6), max_size=60)


@given(texts=TEXTS, size=st.integers(1, 20), remembered=st.integers(0, 30))
def test_every_text_once_and_in_order(
    tokenizer: TextTokenizer, texts: list[str], size: int, remembered: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(windows, "WINDOW_TEXTS", size)
        monkeypatch.setattr(windows, "REMEMBERED_TEXTS", remembered)
        made = make(tokenizer, texts)
    expected = [ids.tolist() for ids in tokenizer.encode(texts).ids]
    assert restored(tokenizer, made) == expected
    assert [int(n) for window in made for n in window.tokens] == [len(ids) for ids in expected]
    assert [window.last for window in made] == [False] * (len(made) - 1) + [True] * bool(made)
    assert [window.texts for window in made[:-1]] == [size] * (len(made) - 1)
    serial = 0
    for window in made:
        assert window.first_serial == serial
        serial += len(window.ids)
        assert sorted(row for batch in window.batches for row in batch.rows) == list(range(len(window.ids)))
        assert window.pending == len(window.batches)
        assert window.vectors.shape == (len(window.ids), 4)
        # What is remembered is no older than the spool's ring.
        assert min(window.source) >= window.first_serial - remembered


def test_no_texts_no_windows(tokenizer: TextTokenizer) -> None:
    assert make(tokenizer, []) == []


def test_repeats_within_a_window(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "b", "a", "a", "b", "c"])
    assert (window.texts, window.duplicates, len(window.ids)) == (6, 3, 3)
    assert window.source.tolist() == [0, 1, 0, 0, 1, 2]
    assert window.tokens.tolist() == [3] * 6


def test_repeats_across_windows(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_TEXTS", 2)
    first, second, third = make(tokenizer, ["a", "b", "b", "c", "a", "c"])
    assert (first.duplicates, second.duplicates, third.duplicates) == (0, 1, 2)
    assert second.source.tolist() == [1, 2]
    assert third.source.tolist() == [0, 2]
    assert (third.ids, third.batches, third.pending) == ([], [], 0)
    assert third.tokens.tolist() == [3, 3]


def test_only_exact_repeats_are_repeats(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "A", "a ", "á", "", " "])
    assert window.duplicates == 0


def test_a_truncated_text_counts_each_time(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_TEXTS", 2)
    long = "a " * 100
    made = make(tokenizer, [long, long, long, "b"])
    assert [window.truncated for window in made] == [2, 1]
    assert made[0].tokens.tolist() == [32, 32]


def test_no_more_than_the_last_texts_are_remembered(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_TEXTS", 1)
    monkeypatch.setattr(windows, "REMEMBERED_TEXTS", 2)
    made = make(tokenizer, ["a", "b", "a", "c", "a", "b"])
    # "a" is the oldest when "c" comes, however lately it was met again; its vector is the oldest too.
    assert [window.duplicates for window in made] == [0, 0, 1, 0, 0, 0]
    assert [int(window.source[0]) for window in made] == [0, 1, 0, 2, 3, 4]


def test_long_texts_make_small_windows(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 10)
    texts = ["a" * 6, "b" * 6, "c" * 100, "d", "e", "f"]
    assert [window.texts for window in make(tokenizer, texts)] == [2, 1, 3]
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 100)
    assert [window.texts for window in make(tokenizer, ["a" * 99, "", "b", "", ""])] == [3, 2]


def test_the_input_is_read_at_most_one_window_ahead(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_TEXTS", 3)
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for n in range(100):
            taken = n + 1
            yield str(n)

    made = WindowMaker(tokenizer, 4, 64, 2).windows(texts())
    next(made)
    assert taken == 6
    next(made)
    assert taken == 9


def test_batches_keep_the_budget(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, [str(n) + " a" * (n % 20) for n in range(200)], max_batch_tokens=50)
    assert all(batch.tokens <= 50 or len(batch.rows) == 1 for batch in window.batches)
    for batch in window.batches:
        assert batch.length == max(len(window.ids[row]) for row in batch.rows)


def test_the_last_batch_finishes_the_window(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, [f"{n} a" for n in range(40)], max_batch_tokens=16)
    finished = [window.finished_one() for _ in window.batches]
    assert finished == [False] * (len(finished) - 1) + [True]
