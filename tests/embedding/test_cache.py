"""The cache across calls: bounded, keyed by all that a vector depends on, and exact about what was truncated."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.embedding.cache import Cached, VectorCache
from farthing.embedding.steps import EmbeddedTexts, Totals

LIMIT = 4


def made_of(texts: list[str]) -> EmbeddedTexts:
    """Stand in for the engine: a text's vector is its number, its tokens its length up to the limit."""
    numbers = [[float(int(text.rsplit(" ", 1)[-1])), 1.0] for text in texts]
    tokens = [min(len(text), LIMIT) for text in texts]
    return EmbeddedTexts(np.array(numbers, np.float32).reshape(-1, 2), np.array(tokens, np.int32))


class Calls:
    """Asks a cache and the engine behind it, and remembers what was computed."""

    def __init__(self, capacity: int) -> None:
        self.cache = VectorCache(capacity, LIMIT)
        self.computed: list[str] = []

    def __call__(self, texts: list[str], prefix: str = "") -> tuple[npt.NDArray[np.float32], Cached]:
        lookup = self.cache.lookup(texts, prefix)
        totals = Totals()

        def compute() -> Iterator[EmbeddedTexts]:
            missing = list(lookup.missing())
            self.computed += missing
            totals.truncated = sum(len(text) > LIMIT for text in missing)
            for start in range(0, len(missing), 3):
                yield made_of(missing[start : start + 3])

        parts = list(lookup.joined(compute(), totals))
        vectors = np.concatenate([part.vectors for part in parts])
        np.testing.assert_array_equal(vectors, made_of([prefix + text for text in texts]).vectors)
        tokens = np.concatenate([part.tokens for part in parts])
        np.testing.assert_array_equal(tokens, made_of([prefix + text for text in texts]).tokens)
        return vectors, lookup.cached


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 60),
    st.lists(st.lists(st.integers(0, 150), min_size=1, max_size=8), max_size=12),
    st.sampled_from(["", "q ", "qq "]),
)
def test_every_text_gets_its_vector_and_no_more_are_kept(
    capacity: int, calls: list[list[int]], prefix: str
) -> None:
    ask = Calls(capacity)
    for numbers in calls:
        _, cached = ask([str(number) for number in numbers], prefix)
        assert 0 <= cached.texts <= len(numbers)
        assert len(ask.cache) <= capacity
    assert len(ask.computed) + ask.cache.hits == sum(map(len, calls))


def test_what_comes_again_is_not_computed() -> None:
    ask = Calls(100)
    ask(["1", "2"])
    vectors, cached = ask(["2", "3", "2", "1"])
    assert (ask.computed, cached) == (["1", "2", "3"], Cached(3, 3, 0))
    assert (ask.cache.hits, ask.cache.misses) == (3, 3)
    vectors[:] = 7  # the caller's, not the cache's
    ask(["1", "2", "3"])
    assert ask.computed == ["1", "2", "3"]


def test_the_least_recently_used_goes_first() -> None:
    ask = Calls(3)
    for text in ("1", "2", "3", "1", "4"):
        ask([text])
    ask.computed.clear()
    for text in ("1", "3", "4", "2"):
        ask([text])
    assert ask.computed == ["2"]


def test_another_prefix_is_another_text() -> None:
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


def test_truncated_texts_are_counted_each_time_and_kept_only_if_it_is_certain() -> None:
    ask = Calls(100)
    ask(["11111", "222222", "1"])  # two are longer than the limit, and two have as many tokens
    assert ask(["11111", "1", "222222"])[1] == Cached(3, 9, 2)
    ask(["3333", "44444"])  # one is as long as the limit by itself: which of them is cut is not known
    assert ask(["44444", "3333"])[1] == Cached()
    ask(["5555"])
    assert ask(["5555"])[1] == Cached(1, 4, 0)


def test_many_threads() -> None:
    ask = Calls(40)
    choose = np.random.default_rng(0)
    calls = [[str(number) for number in choose.integers(0, 60, size=4)] for _ in range(400)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(ask, calls):  # each checks its own vectors
            pass
    assert len(ask.cache) == 40
