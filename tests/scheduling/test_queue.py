"""The queue: who goes first and with whom, what is never lost, and that the simulator is a loop over it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import count
from operator import attrgetter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.errors import InputError, QueueFullError
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.queue import _KEPT_LINES, FILLER, Queue
from farthing.scheduling.simulation import Policy, simulate

INF = math.inf
SOON = settings(max_examples=300, deadline=None)


class Item(NamedTuple):
    key: int
    tokens: float = 1
    arrived_s: float = 0.0
    work_class: int = 0
    group: tuple[str, str] = ("model", "query")


def queue_of(*items: Item, ageing_s: float = INF, max_tokens: float = INF) -> Queue[Item]:
    queue = Queue[Item](
        attrgetter("tokens"), attrgetter("arrived_s"), ageing_s=ageing_s, max_tokens=max_tokens
    )
    for item in items:
        add(queue, item)
    return queue


def add(queue: Queue[Item], *items: Item) -> None:
    queue.add(items, items[0].work_class, items[0].group)


def keys(step: Sequence[Item]) -> list[int]:
    return [item.key for item in step]


class TestAStep:
    def test_takes_what_waits_in_order_up_to_its_tokens_and_texts(self) -> None:
        queue = queue_of(*(Item(key, tokens=3) for key in range(6)))
        assert keys(queue.take(10)) == [0, 1, 2]
        assert keys(queue.take(step_texts=2)) == [3, 4]
        assert keys(queue.take()) == [5]
        assert queue.take() == []
        assert len(queue) == 0

    def test_a_long_text_runs_alone_and_is_not_overtaken(self) -> None:
        queue = queue_of(Item(0, 2), Item(1, 900), Item(2, 2))
        assert [keys(queue.take(512)) for _ in range(3)] == [[0], [1], [2]]

    def test_has_one_model_and_prompt(self) -> None:
        groups = [("a", "query"), ("b", "query"), ("a", "document"), ("a", "query")]
        queue = queue_of(*(Item(key, arrived_s=key, group=group) for key, group in enumerate(groups)))
        assert [keys(queue.take()) for _ in range(3)] == [[0, 3], [1], [2]]

    def test_begins_with_the_higher_class_and_goes_on_with_the_lower(self) -> None:
        queue = queue_of(
            Item(0, work_class=2), Item(1, work_class=1), Item(2), Item(3, group=("model", "document"))
        )
        assert keys(queue.take(step_texts=2)) == [2, 1]
        assert keys(queue.take()) == [3]
        assert keys(queue.take()) == [0]

    def test_lets_no_lower_class_by_where_a_text_of_the_higher_one_did_not_fit(self) -> None:
        queue = queue_of(Item(0, 5), Item(1, 5), Item(2, 1, work_class=1))
        assert [keys(queue.take(8)) for _ in range(2)] == [[0], [1, 2]]

    def test_of_equal_ranks_begins_with_the_group_that_came_first(self) -> None:
        late, early = ("model", "late"), ("model", "early")
        queue = queue_of(Item(0, arrived_s=2, group=late), Item(1, arrived_s=1, group=early))
        assert keys(queue.take()) == [1]

    def test_ageing_makes_up_for_a_class(self) -> None:
        items = Item(0, arrived_s=0, work_class=1), Item(1, arrived_s=4), Item(2, arrived_s=6)
        assert [keys(queue_of(*items).take(step_texts=3))] == [[1, 2, 0]]
        queue = queue_of(*items, ageing_s=5.0)
        assert [keys(queue.take(step_texts=1)) for _ in range(3)] == [[1], [0], [2]]
        queue = queue_of(*items, ageing_s=0.0)
        assert [keys(queue.take(step_texts=1)) for _ in range(3)] == [[0], [1], [2]]


class TestAShare:
    def test_is_rounded_up_and_leaves_the_rest_to_others(self) -> None:
        queue = queue_of(*(Item(key) for key in range(7)))
        assert [len(queue.take(lanes=3)) for _ in range(4)] == [3, 2, 1, 1]

    def test_counts_all_groups(self) -> None:
        queue = queue_of(*(Item(key, group=("model", str(key % 2))) for key in range(8)))
        assert keys(queue.take(lanes=2)) == [0, 2, 4, 6]
        assert keys(queue.take(lanes=2)) == [1, 3]

    def test_is_filled_up_with_what_rides_for_free(self) -> None:
        queue = queue_of(*(Item(key, tokens=10) for key in range(8)))
        assert len(queue.take(lanes=8, free_tokens=35)) == 3
        assert len(queue.take(lanes=2, free_tokens=35)) == 3  # its share is as much
        assert len(queue.take(lanes=2, free_tokens=5)) == 1

    def test_free_rides_end_at_the_limits_of_a_step(self) -> None:
        items = [Item(key, tokens=10) for key in range(8)]
        assert len(queue_of(*items).take(25, lanes=8, free_tokens=INF)) == 2
        assert len(queue_of(*items).take(lanes=8, step_texts=3, free_tokens=INF)) == 3


class TestFiller:
    def test_is_taken_only_when_nothing_else_waits_and_in_short_steps(self) -> None:
        queue = queue_of(*(Item(key, 10, work_class=FILLER) for key in range(4)), Item(9, 10, work_class=7))
        assert keys(queue.take(100, filler_tokens=20)) == [9]
        assert keys(queue.take(100, filler_tokens=20)) == [0, 1]
        assert keys(queue.take(10, filler_tokens=20)) == [2]
        add(queue, Item(10, 10, arrived_s=1e9))
        assert keys(queue.take(100)) == [10]
        assert keys(queue.take(100, filler_tokens=5)) == [3]  # a long one runs alone

    def test_does_not_age(self) -> None:
        queue = queue_of(Item(0, work_class=FILLER), Item(1, arrived_s=1e6, work_class=3), ageing_s=0.0)
        assert [keys(queue.take()) for _ in range(2)] == [[1], [0]]

    def test_of_several_groups_goes_in_order_of_arrival(self) -> None:
        queue = queue_of(
            *(Item(key, arrived_s=5 - key, work_class=FILLER, group=("model", str(key))) for key in range(3)),
            ageing_s=1.0,
        )
        assert [keys(queue.take()) for _ in range(3)] == [[2], [1], [0]]


class TestFull:
    def test_says_for_how_long(self) -> None:
        queue = queue_of(Item(0, 60), max_tokens=100)
        add(queue, Item(1, 40))
        with pytest.raises(QueueFullError, match="100 tokens wait already: try again later") as caught:
            add(queue, Item(2, 1))
        assert caught.value.retry_after_s is None
        queue.tokens_per_s = 50.0
        with pytest.raises(QueueFullError, match="in 2 s") as caught:
            add(queue, Item(2, 1))
        assert caught.value.retry_after_s == 2.0
        assert keys(queue.take(60)) == [0]
        add(queue, Item(2, 1))
        assert queue.tokens == 41

    def test_takes_all_texts_of_a_request_or_none(self) -> None:
        queue = queue_of(Item(0, 60), max_tokens=100)
        with pytest.raises(QueueFullError):
            add(queue, Item(1, 30), Item(2, 30))
        assert (len(queue), queue.tokens) == (1, 60)

    def test_is_never_an_empty_queue_nor_one_of_filler(self) -> None:
        queue = queue_of(*(Item(key, 80, work_class=FILLER) for key in range(3)), max_tokens=100)
        add(queue, Item(3, 900))
        assert queue.tokens == 900
        with pytest.raises(QueueFullError):
            add(queue, Item(4))
        add(queue, Item(5, 80, work_class=FILLER))
        queue.cancel(Item(3, 900))
        assert queue.tokens == 0
        assert queue.cancel(Item(5, 80, work_class=FILLER))
        assert queue.tokens == 0
        assert len(queue) == 3


def test_what_has_begun_cannot_be_cancelled() -> None:
    items = [Item(key) for key in range(3)]
    queue = queue_of(*items)
    assert queue.cancel(items[1])
    assert not queue.cancel(items[1])
    assert keys(queue.take(step_texts=1)) == [0]
    assert not queue.cancel(items[0])
    assert keys(queue.take()) == [2]


def test_prompts_of_the_past_are_forgotten() -> None:
    queue = queue_of()
    for key in range(10 * _KEPT_LINES):
        add(queue, Item(key, group=("model", str(key))))
        if key:  # the first waits all the time
            assert queue.cancel(Item(key, group=("model", str(key))))
    assert len(queue._online) <= _KEPT_LINES + 1
    assert keys(queue.take()) == [0]


def test_ageing_is_not_negative() -> None:
    for ageing_s in (-1.0, math.nan):
        with pytest.raises(InputError, match="ageing"):
            queue_of(ageing_s=ageing_s)


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """Draw up to 40 texts of 2 groups, 3 classes and filler, in order of arrival; many arrive at once."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(1, 9),
                st.sampled_from([0.0, 0.0, 1.0, 5.0]),
                st.sampled_from([0, 1, 2, FILLER]),
                st.sampled_from([("a", "query"), ("a", "query"), ("b", "query")]),
            ),
            min_size=1,
            max_size=40,
        )
    )
    now, result = 0.0, []
    for key, (tokens, gap_s, work_class, group) in enumerate(drawn):
        now += gap_s
        result.append(Item(key, tokens, now, work_class, group))
    return result


@given(
    items(),
    st.sampled_from([INF, 0.0, 2.0, 50.0]),
    st.fixed_dictionaries(
        {
            "step_tokens": st.sampled_from([1, 7, 20, INF]),
            "lanes": st.integers(1, 4),
            "step_texts": st.sampled_from([1, 3, INF]),
            "free_tokens": st.sampled_from([0, 12]),
            "filler_tokens": st.sampled_from([5, INF]),
        }
    ),
    st.randoms(use_true_random=False),
)
@SOON
def test_any_run(texts: list[Item], ageing_s: float, limits: dict[str, float], rng: random.Random) -> None:
    """Texts come, go and are taken in any order of events; every step is checked against what waited."""
    queue = queue_of(ageing_s=ageing_s, max_tokens=1e9)
    waiting: list[Item] = []
    gone: list[Item] = []

    def place(item: Item) -> tuple[int, float]:
        if ageing_s == INF or item.work_class == FILLER:
            return item.work_class, item.arrived_s
        return 0, item.arrived_s + item.work_class * ageing_s

    def take() -> None:
        step = queue.take(**limits)  # type: ignore[arg-type]
        assert bool(step) == bool(waiting)
        if not step:
            return
        first = step[0]
        assert place(first) == min(map(place, waiting))
        assert {item.group for item in step} == {first.group}
        # Filler only when nothing else waits, and never beside anything else.
        own = [item for item in waiting if (item.work_class == FILLER) == (first.work_class == FILLER)]
        assert (first.work_class == FILLER) == all(item.work_class == FILLER for item in waiting)
        assert set(step) <= set(own)
        # Within a class nobody overtakes; and no class is taken from before the step's other ones are used up.
        for work_class in {item.work_class for item in step}:
            line = [item for item in own if (item.work_class, item.group) == (work_class, first.group)]
            taken = [item for item in step if item.work_class == work_class]
            assert taken == line[: len(taken)]
            assert taken == line or work_class == step[-1].work_class
        # As much as the limits allow, and no more.
        most = (
            limits["step_tokens"]
            if first.work_class != FILLER
            else min(limits["step_tokens"], limits["filler_tokens"])
        )
        share = math.ceil(len(own) / limits["lanes"])
        tokens = sum(item.tokens for item in step)
        assert len(step) == 1 or tokens <= most
        assert len(step) <= limits["step_texts"]
        assert len(step) <= share or tokens <= limits["free_tokens"]
        left = [item for item in own if item.group == first.group and item not in step]
        if left and len(step) < min(share, limits["step_texts"]):
            assert tokens + max(item.tokens for item in left) > most
        for item in step:
            waiting.remove(item)
        gone.extend(step)

    for item in texts:
        for _ in range(rng.choice([0, 0, 1, 2])):
            take()
        if rng.random() < 0.2 and waiting:
            unwanted = rng.choice(waiting)
            assert queue.cancel(unwanted)
            waiting.remove(unwanted)
            gone.append(unwanted)
        add(queue, item)
        waiting.append(item)
        assert len(queue) == len(waiting)
        assert queue.tokens == sum(one.tokens for one in waiting if one.work_class != FILLER)
        if gone:
            assert not queue.cancel(rng.choice(gone))
    while waiting:
        take()
    assert queue.take() == []
    assert sorted(keys(gone)) == list(range(len(texts)))


@given(st.floats(0.5, 20), st.integers(1, 3), st.integers(0, 3))
@SOON
def test_ageing_bounds_what_a_text_waits_for(ageing_s: float, work_class: int, other_class: int) -> None:
    """One text a second on a lane that takes one a second: without ageing a lower class would wait for ever."""
    queue = queue_of(Item(-1, arrived_s=0.0, work_class=work_class), ageing_s=ageing_s)
    for second in count():
        add(queue, Item(second, arrived_s=float(second), work_class=other_class, group=("model", "other")))
        if queue.take(step_texts=1)[0].key == -1:
            break
        assert second <= work_class * ageing_s + 1
    assert queue_of(Item(0, work_class=1), Item(1, arrived_s=1e9)).take(step_texts=1)[0].key == 1


def step_s(sizes: Sequence[float]) -> float:
    return 1.0 + sum(sizes) / 8


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    gaps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.25, 1.5, 7.0]), min_size=1, max_size=40))
    times = [sum(gaps[: k + 1]) for k in range(len(gaps))]
    sizes = draw(st.lists(st.integers(1, 6), min_size=len(gaps), max_size=len(gaps)))
    classes = draw(st.none() | st.lists(st.integers(0, 2), min_size=len(gaps), max_size=len(gaps)))
    return Arrivals(times, sizes, classes)


@given(
    arrivals(),
    st.integers(1, 3),
    st.sampled_from([1, 4, 100]),
    st.sampled_from([5.0, INF]),
    st.booleans(),
    st.sampled_from([0.0, 6.0]),
    st.sampled_from([INF, 0.5, 3.0]),
    st.booleans(),
)
@SOON
def test_the_simulator_is_a_loop_over_the_queue(
    texts: Arrivals,
    servers: int,
    most: int,
    size: float,
    shares: bool,
    free_size: float,
    ageing_s: float,
    filler: bool,
) -> None:
    """Here filler is texts of the queue like any other, one a step, where the simulator only reckons with its time."""
    policy = Policy(
        servers=servers,
        max_batch_texts=most,
        max_batch_size=size,
        takes="share" if shares else "all",
        free_batch_size=free_size,
        ageing_s=ageing_s,
        filler_step_s=0.5 if filler else None,
    )
    queue = queue_of(ageing_s=ageing_s)
    classes = texts.classes or [0] * len(texts.times_s)
    coming = [Item(*text) for text in zip(count(), texts.sizes, texts.times_s, classes)]
    ends: dict[int, float] = {}
    free, spare = [texts.times_s[0]] * servers, count(-1, -1)
    while len(ends) < len(classes):
        server = free.index(min(free))
        now = free[server]
        while coming and coming[0].arrived_s <= now:
            add(queue, coming.pop(0))
        if filler:
            add(queue, Item(next(spare), 1, work_class=FILLER))
        lanes = servers if shares else 1
        step = queue.take(size, lanes, step_texts=most, free_tokens=free_size, filler_tokens=1)
        if not step:
            free[server] = coming[0].arrived_s
        elif step[0].key < 0:
            free[server] += 0.5
        else:
            free[server] += step_s([item.tokens for item in step])
            ends.update((item.key, free[server]) for item in step)
    outcome = simulate(texts, policy, step_s)
    assert outcome.latencies_s == [ends[key] - time for key, time in enumerate(texts.times_s)]
