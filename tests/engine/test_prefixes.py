"""Prefixes: what texts share, by token; and what was made of it, once, whoever asks, and not for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine.prefixes import PREFIXES_KEPT, SHORTEST_PREFIX, Ids, Prefixes, shared_prefix
from farthing.errors import EngineError


def ids(*numbers: int) -> Ids:
    return np.array(numbers, np.int32)


def test_what_is_shared_is_found_by_token() -> None:
    prompt = ids(*range(10))
    same = ids(*range(10), 11, 12)
    joined = ids(*range(9), 40, 41)  # the tokenizer joined the prompt's last word to the text
    assert shared_prefix(prompt, [same, same]) == 10
    assert shared_prefix(prompt, [same, joined]) == 9
    assert shared_prefix(prompt, [same, prompt]) == 9  # the text that is the prompt keeps a token
    assert shared_prefix(prompt, [same, prompt[:SHORTEST_PREFIX]]) == 0
    assert shared_prefix(prompt, [same, ids(7)]) == 0
    assert shared_prefix(prompt, []) == 10


IDS = st.lists(st.integers(0, 1), min_size=1, max_size=12)


@given(IDS, st.lists(IDS, min_size=1, max_size=5))
def test_all_of_them_begin_so_and_none_ends_there(prompt: list[int], texts: list[list[int]]) -> None:
    found = shared_prefix(ids(*prompt), [ids(*text) for text in texts])
    longest = max(
        (
            n
            for n in range(len(prompt) + 1)
            if all(text[:n] == prompt[:n] and n < len(text) for text in texts)
        ),
        default=0,
    )
    assert found == (longest if longest >= SHORTEST_PREFIX else 0)


def test_made_once_whoever_asks() -> None:
    prefixes = Prefixes()
    made: list[bytes] = []

    def make(one: Ids) -> str:
        time.sleep(0.01)
        made.append(one.tobytes())
        return f"{one.tolist()}"

    everyone = threading.Barrier(8)

    def ask(number: int) -> tuple[str, bool]:
        everyone.wait(20)
        kept, made_now = prefixes.of(ids(1, 2, 3, number % 2), make)
        return kept, made_now

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(8)))
    assert [kept for kept, _ in got] == [f"[1, 2, 3, {number % 2}]" for number in range(8)]
    assert sum(made_now for _, made_now in got) == len(made) == 2


def test_no_more_are_kept_than_prompts_are_in_use() -> None:
    prefixes = Prefixes()
    for number in range(PREFIXES_KEPT + 1):
        assert prefixes.of(ids(number), lambda one: one.tolist()) == ([number], True)
    assert prefixes.of(ids(PREFIXES_KEPT), lambda _: None) == ([PREFIXES_KEPT], False)
    assert prefixes.of(ids(0), lambda _: "anew") == ("anew", True)


def test_what_could_not_be_made_is_tried_again() -> None:
    prefixes = Prefixes()

    def fail(_: Ids) -> None:
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="no memory"):
        prefixes.of(ids(1), fail)
    assert prefixes.of(ids(1), lambda _: "made") == ("made", True)
