"""The cache across calls: bounded, keyed by all that a vector depends on, and exact about what was truncated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.embedding.cache import CachedText, VectorCache

LIMIT = 4


def made_of(text: str) -> CachedText:
    """Stand in for the engine: a text's vector is its number, its tokens its length up to the limit."""
    vector = np.array([float(text.rsplit(" ", 1)[-1]), 1.0], np.float32)
    return CachedText(vector, min(len(text), LIMIT), len(text) > LIMIT)


class Calls:
    """Asks a cache and the engine behind it, as a window does, and remembers what was computed."""

    def __init__(self, capacity: int) -> None:
        self.cache = VectorCache(capacity)
        self.computed: list[str] = []

    def __call__(self, texts: list[str], prompt: str = "") -> int:
        """Return how many different texts came from the cache."""
        cache = self.cache.for_call(len(texts))
        first = {text: row for row, text in reversed(list(enumerate(texts)))}
        keys, known = cache.lookup(prompt, {row: text for text, row in first.items()})
        fresh = {row: made_of(prompt + text) for text, row in first.items() if row not in known}
        self.computed += [prompt + texts[row] for row in fresh]
        if keys:
            cache.keep((keys[row], one) for row, one in fresh.items())
        for row, text in enumerate(texts):
            have, expected = {**known, **fresh}[first[text]], made_of(prompt + text)
            np.testing.assert_array_equal(have.vector, expected.vector)
            assert have[1:] == expected[1:], row
        return len(known)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 60),
    st.lists(st.lists(st.integers(0, 150), min_size=1, max_size=8), max_size=12),
    st.sampled_from(["", "q ", "qq "]),
)
def test_every_text_gets_its_vector_and_no_more_are_kept(
    capacity: int, calls: list[list[int]], prompt: str
) -> None:
    ask = Calls(capacity)
    for numbers in calls:
        assert 0 <= ask([str(number) for number in numbers], prompt) <= len(set(numbers))
        assert len(ask.cache) <= capacity
    assert len(ask.computed) + ask.cache.hits == sum(len(set(numbers)) for numbers in calls)


def test_what_comes_again_is_not_computed() -> None:
    ask = Calls(100)
    ask(["1", "2"])
    assert ask(["2", "3", "2", "1"]) == 2
    assert sorted(ask.computed) == ["1", "2", "3"]
    assert (ask.cache.hits, ask.cache.misses) == (2, 3)


def test_the_least_recently_used_goes_first() -> None:
    ask = Calls(3)
    for text in ("1", "2", "3", "1", "4"):
        ask([text])
    ask.computed.clear()
    for text in ("1", "3", "4", "2"):
        ask([text])
    assert ask.computed == ["2"]


def test_another_prompt_is_another_text() -> None:
    ask = Calls(100)
    ask(["1"])
    ask(["1"], "q ")
    ask(["q 1"])
    assert ask.computed == ["1", "q 1", "q 1"]


@pytest.mark.parametrize(("capacity", "texts", "kept"), [(0, 1, 0), (5, 1, 1), (50, 5, 5), (50, 6, 0)])
def test_large_calls_pass_it_by(capacity: int, texts: int, kept: int) -> None:
    ask = Calls(capacity)
    ask([str(number) for number in range(texts)])
    assert len(ask.cache) == kept
    assert ask.cache.misses == kept


def test_truncated_texts_are_known_as_such() -> None:
    """As long as the limit by itself, and longer than it: each as it was."""
    ask = Calls(100)
    ask(["1111", "22222", "1"])
    _, known = ask.cache.lookup("", {0: "22222", 1: "1111", 2: "1", 3: "3"})
    assert {row: one[1:] for row, one in known.items()} == {0: (4, True), 1: (4, False), 2: (1, False)}


def test_many_threads() -> None:
    ask = Calls(40)
    choose = np.random.default_rng(0)
    calls = [[str(number) for number in choose.integers(0, 60, size=4)] for _ in range(400)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(ask, calls):  # each checks its own vectors
            pass
    assert len(ask.cache) == 40


def test_a_text_that_no_encoding_holds_has_a_key() -> None:
    """Half of a surrogate pair is refused before, but a prompt may hold one."""
    vector: npt.NDArray[np.float32] = np.ones(2, np.float32)
    cache = VectorCache(10)
    keys, _ = cache.lookup("\ud800", {0: "a"})
    cache.keep([(keys[0], CachedText(vector, 1, False))])
    assert list(cache.lookup("\ud800", {3: "a"})[1]) == [3]
    assert cache.lookup("\ud801", {0: "a"})[1] == {}
