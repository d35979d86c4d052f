"""Windows: every text once and in order, repeats found within and across them, memory bounded."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.embedding import windows
from farthing.embedding.cache import VectorCache
from farthing.embedding.windows import Window, WindowMaker
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.text.tokenization import TextTokenizer
from farthing.errors import EngineError

DIMENSION = 4


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> TextTokenizer:
    return TextTokenizer(read_checkpoint(locate_model(str(tiny_bert))))


def maker(
    tokenizer: TextTokenizer, window_texts: int = 8192, prompt: str = "", cache: VectorCache | None = None
) -> WindowMaker:
    keeps = VectorCache(0) if cache is None else cache
    return WindowMaker(tokenizer, DIMENSION, prompt=prompt, cache=keeps, window_texts=window_texts)


def make(
    tokenizer: TextTokenizer, texts: Iterable[str], window_texts: int = 8192, prompt: str = ""
) -> list[Window]:
    return list(maker(tokenizer, window_texts, prompt).windows(texts))


def run(window: Window, cache: VectorCache | None = None, failing: tuple[int, ...] = ()) -> None:
    """Stand in for the lanes: a text's vector is its first ids; then settle."""
    for row, ids in zip(window.rows, window.ids, strict=True):
        window.vectors[row] = np.resize(ids, DIMENSION)
        if row in failing:
            window.failed[row] = EngineError("choked")
            window.vectors[row] = 0
    window.settle(VectorCache(0) if cache is None else cache)


def windows_alive() -> list[Window]:
    return [one for one in gc.get_objects() if type(one) is Window]


TEXTS = st.lists(st.text("abc ", max_size=6), max_size=60)


@given(texts=TEXTS, size=st.integers(1, 20), remembered=st.integers(0, 1000))
def test_every_text_once_and_in_order(
    tokenizer: TextTokenizer, texts: list[str], size: int, remembered: int
) -> None:
    vectors: list[npt.NDArray[np.float32]] = []
    tokens: list[int] = []
    truncated: list[bool] = []
    serial = 0
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(windows, "REMEMBERED_BYTES", remembered)
        for window in maker(tokenizer, size).windows(iter(texts)):
            assert window.serial == serial
            assert window.texts == texts[serial : serial + size]
            serial += len(window.texts)
            assert window.last == (serial == len(texts))
            assert len(window.ids) == len(window.rows) == len(window.lengths) == len(set(window.rows))
            assert window.vectors.shape == (len(window.texts), DIMENSION)
            assert len(window.ids) + len(window.repeats) == len(window.texts)
            run(window)
            vectors.extend(window.vectors)
            tokens.extend(window.tokens)
            truncated.extend(window.truncated)
    expected = tokenizer.encode(texts)
    assert serial == len(texts)
    assert tokens == expected.lengths
    assert truncated == expected.truncated
    for vector, ids in zip(vectors, expected.ids, strict=True):
        np.testing.assert_array_equal(vector, np.resize(ids, DIMENSION))


def test_no_texts_no_windows(tokenizer: TextTokenizer) -> None:
    assert make(tokenizer, []) == []


def test_repeats_within_a_window(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "b", "a", "a", "b", "c"])
    assert window.rows == [0, 1, 5]
    assert [(row, place) for row, _, place in window.repeats] == [(2, 0), (3, 0), (4, 1)]
    assert {other for _, other, _ in window.repeats} == {window}
    assert window.tokens == [3] * 6


def test_repeats_across_windows_on_their_way(tokenizer: TextTokenizer) -> None:
    """None of them has its vectors yet when the next is made."""
    first, second, third = make(tokenizer, ["a", "b", "b", "c", "a", "c"], 2)
    assert [len(window.repeats) for window in (first, second, third)] == [0, 1, 2]
    assert [(window.ids, window.lengths) for window in (third,)] == [([], [])]
    assert second.repeats == [(0, first, 1)]
    assert sorted(third.repeats, key=lambda repeat: repeat[0]) == [(0, first, 0), (1, second, 1)]
    assert third.tokens == [3, 3]
    for window in (first, second, third):
        run(window)
    np.testing.assert_array_equal(third.vectors, [first.vectors[0], second.vectors[1]])


def test_a_repeat_of_a_repeat(tokenizer: TextTokenizer) -> None:
    """Its own window has the vector by then, whichever one computed it."""
    made = make(tokenizer, ["a", "b", "a", "a", "c", "a", "a", "a"], 2)
    assert [len(window.ids) for window in made] == [2, 0, 1, 0]
    for window in made:
        run(window)
    for window, rows in ((made[1], [0, 1]), (made[2], [1]), (made[3], [0, 1])):
        for row in rows:
            np.testing.assert_array_equal(window.vectors[row], made[0].vectors[0])


def test_only_exact_repeats_are_repeats(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "A", "a ", "á", "", " "])
    assert window.repeats == []


def test_a_truncated_text_counts_each_time(tokenizer: TextTokenizer) -> None:
    long = "a " * 100
    made = make(tokenizer, [long, long, long, "b"], 2)
    assert [window.truncated for window in made] == [[True, True], [True, False]]
    assert made[0].tokens == [32, 32]


@pytest.mark.parametrize(("windows_kept", "computed"), [(1, [1, 1, 1, 1, 1, 1]), (2, [1, 1, 0, 1, 1, 1])])
def test_no_more_than_the_last_windows_are_remembered(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch, windows_kept: int, computed: list[int]
) -> None:
    """Far back a text is computed again. A window of one text takes 16 bytes of vectors and one of text."""
    monkeypatch.setattr(windows, "REMEMBERED_BYTES", 17 * windows_kept)
    made = make(tokenizer, ["a", "b", "a", "c", "b", "a"], 1)
    assert [len(window.ids) for window in made] == computed


def test_what_is_remembered_is_bounded_whatever_repeats(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text in every window must not tie each to all before it; nor do ids stay where vectors are."""
    monkeypatch.setattr(windows, "REMEMBERED_BYTES", 200)
    making = maker(tokenizer, 4)
    earlier = windows_alive()
    seen = kept = 0
    for window in making.windows(f"{n // 2}" if n % 4 else "the same" for n in range(400)):
        run(window)
        seen += 1
        del window
        alive = [one for one in windows_alive() if all(one is not other for other in earlier)]
        kept = max(kept, len(alive))
        assert all(not one.ids for one in alive if one.serial < 4 * (seen - 1))
        del alive
    assert seen == 100
    assert kept <= 4
    assert len(making._known) <= 4 * 4


def test_a_text_that_a_later_window_has_too_stays_known(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window in which it was met last counts, not that in which it was computed."""
    monkeypatch.setattr(windows, "REMEMBERED_BYTES", 2 * 18)
    made = make(tokenizer, ["a", "b", "a", "c", "a", "d", "a", "e"], 1)
    assert [len(window.ids) for window in made] == [1, 1, 0, 1, 0, 1, 0, 1]


def test_long_texts_make_small_windows(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 10)
    texts = ["a" * 6, "b" * 6, "c" * 100, "d", "e", "f"]
    assert [len(window.texts) for window in make(tokenizer, texts)] == [2, 1, 3]
    monkeypatch.setattr(windows, "WINDOW_CHARACTERS", 100)
    assert [len(window.texts) for window in make(tokenizer, ["a" * 99, "", "b", "", ""])] == [3, 2]


def test_the_input_is_read_at_most_one_window_ahead(tokenizer: TextTokenizer) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for n in range(100):
            taken = n + 1
            yield str(n)

    made = maker(tokenizer, 3).windows(texts())
    next(made)
    assert taken == 6
    next(made)
    assert taken == 9


def test_the_prompt_stands_before_each_text(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "b c", "a"], prompt="the ")
    assert [ids.tolist() for ids in window.ids] == [
        ids.tolist() for ids in tokenizer.encode(["the a", "the b c"]).ids
    ]
    assert window.texts == ["a", "b c", "a"]


def test_the_last_step_finishes_the_window(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "b", "c"])
    window.pending, window.done = 3, threading.Event()
    window.finish()
    window.finish()
    assert not window.done.is_set()
    window.finish()
    assert window.done.is_set()


def test_an_error_that_is_no_texts_own_is_raised(tokenizer: TextTokenizer) -> None:
    (window,) = make(tokenizer, ["a", "b"])
    window.done = threading.Event()
    window.fail(KeyError("from the lane"))
    assert window.done.is_set()
    with pytest.raises(KeyError, match="from the lane"):
        window.settle(VectorCache(0))


def test_repeats_of_a_failed_text_fail_as_well_and_no_cache_keeps_it(tokenizer: TextTokenizer) -> None:
    cache = VectorCache(100)
    first, second = maker(tokenizer, 3, cache=cache).windows(["a", "b", "a", "a", "b", "c"])
    run(first, cache, failing=(0,))
    run(second, cache)
    assert set(first.failed) == {0, 2}
    assert set(second.failed) == {0}
    assert second.failed[0] is first.failed[0]
    assert len(cache) == 2
    _, known = cache.lookup("", {0: "a", 1: "b", 2: "c"})
    assert set(known) == {1, 2}


def test_what_the_cache_knows_is_not_computed(tokenizer: TextTokenizer) -> None:
    cache = VectorCache(100)
    long = "a " * 100
    (window,) = maker(tokenizer, cache=cache).windows(["a", long, "b"])
    run(window, cache)
    (again,) = maker(tokenizer, cache=cache).windows([long, "c", long, "a", "c"])
    assert (again.cached, again.rows) == (2, [1])
    assert again.tokens == [32, 3, 32, 3, 3]
    assert again.truncated == [True, False, True, False, False]
    run(again, cache)
    np.testing.assert_array_equal(again.vectors[[0, 2, 3]], window.vectors[[1, 1, 0]])
    assert len(cache) == 4
    (other,) = maker(tokenizer, prompt="b ", cache=cache).windows(["a"])
    assert other.cached == 0
