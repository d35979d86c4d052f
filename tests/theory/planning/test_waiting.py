"""Waiting at replicas: close to the simulator for texts of every variety, and searched in few steps."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_arrivals import poisson_times
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate
from farthing.theory.lengths import LengthDistribution, fixed_length, profile_lengths
from farthing.theory.planning.candidate import Candidate
from farthing.theory.planning.search import smallest
from farthing.theory.planning.station import Station, station
from farthing.theory.planning.waiting import Waiting

MakeCandidate = Callable[..., Candidate]
TEXTS = 80_000


def simulated_p99_s(replica: Station, lengths: LengthDistribution, texts_per_s: float) -> float:
    """The real policy over real lengths: what waits up to the saturation point in tokens, at once."""
    rng = random.Random(5)
    sizes = rng.choices(lengths.lengths, lengths.probabilities, k=TEXTS)
    policy = Policy(
        max_batch_texts=10 * replica.largest_batch, max_batch_size=replica.largest_batch * replica.mean_length
    )
    known: dict[tuple[int, int], float] = {}

    def step_s(batch: Sequence[float]) -> float:
        key = len(batch), round(sum(batch) / len(batch))
        if key not in known:
            known[key] = max(replica.steps.seconds(*key).mid, key[0] * replica.host.busy_s(key[1]))
        return known[key]

    done = simulate(Arrivals(poisson_times(texts_per_s, TEXTS, rng), sizes), policy, rng, step_s)
    latencies = sorted(
        seconds + replica.host.lone_s(n) for seconds, n in zip(done.latencies_s, sizes, strict=True)
    )
    return latencies[int(0.99 * TEXTS)]


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("device", [{}, {"peak": 1000e12, "bandwidth": 3e12}], ids=["device", "host"])
@pytest.mark.parametrize("profile", ["queries", "abstracts", "conversations", "code"])
def test_the_p99_of_mixed_texts_is_near_the_simulators(
    make_candidate: MakeCandidate, profile: str, device: dict[str, float], rho: float
) -> None:
    """Where the device sets the pace and where the host does. What is off errs mostly on the safe side."""
    candidate, lengths = make_candidate(**device), profile_lengths(profile)
    replica = station(candidate.steps, candidate.host, lengths)
    rate = rho / replica.text_s.mid
    expected = Waiting(replica).time_in_system(rate, 1, "random", 0.99).seconds
    low, high = (0.93, 1.07) if lengths.cv2 < 0.2 else (0.85, 1.45)
    assert low < expected / simulated_p99_s(replica, lengths, rate) < high


def test_a_lone_text_waits_for_nobody(make_candidate: MakeCandidate) -> None:
    candidate = make_candidate()
    for length in (20, 2000):
        replica = station(candidate.steps, candidate.host, fixed_length(length))
        latency = Waiting(replica).time_in_system(1e-6, 1, "shared", 0.99)
        assert latency.seconds == pytest.approx(replica.lone_s(0.99), rel=1e-3)


def test_more_than_the_replicas_can_do_takes_for_ever(make_candidate: MakeCandidate) -> None:
    candidate = make_candidate()
    replica = station(candidate.steps, candidate.host, fixed_length(300))
    waiting = Waiting(replica)
    for routing in ("shared", "random"):
        seconds = waiting.time_in_system(2.2 / replica.text_s.mid, 2, routing, 0.99).seconds
        assert seconds == inf
        assert not waiting.keeps(2.2 / replica.text_s.mid, 2, routing, 1e9)


def test_what_is_remembered_does_not_change_the_answer(make_candidate: MakeCandidate) -> None:
    """Rates in any order, against a fresh one for each."""
    candidate = make_candidate()
    replica = station(candidate.steps, candidate.host, fixed_length(300))
    remembering = Waiting(replica)
    rng = random.Random(0)
    rates = [rng.uniform(0.05, 1.1) / replica.text_s.mid for _ in range(60)]
    target_s = 3 * replica.lone_s(0.99)
    answers = []
    for rate in rates:
        for count in (1, 3):
            kept = remembering.keeps(count * rate, count, "shared", target_s)
            assert kept == Waiting(replica).keeps(count * rate, count, "shared", target_s)
            answers.append(kept)
    assert {True, False} == set(answers)


def test_a_replica_that_is_short_of_host_is_said_to_be(make_candidate: MakeCandidate) -> None:
    candidate = make_candidate(peak=2000e12, bandwidth=8e12)
    short = station(candidate.steps, candidate.host, fixed_length(20))
    assert short.host_bound
    assert short.text_s.mid == pytest.approx(candidate.host.busy_s(20))
    assert not station(make_candidate().steps, candidate.host, fixed_length(3000)).host_bound


@given(answer=st.integers(1, 5000), least=st.integers(1, 50), guess=st.integers(1, 6000))
def test_smallest_finds_it_from_any_guess(answer: int, least: int, guess: int) -> None:
    answer, guess = max(answer, least), max(guess, least)
    asked: list[int] = []

    def keeps(count: int) -> bool:
        asked.append(count)
        return count >= answer

    assert smallest(keeps, least, guess, 10_000) == answer
    assert len(asked) <= 30


def test_smallest_gives_up() -> None:
    assert smallest(lambda count: False, 1, 1, 1000) is None


@pytest.mark.parametrize("length", [20, 300])
@given(replicas=st.integers(1, 400))
def test_a_fleet_that_is_exactly_full_is_too_small(
    make_candidate: MakeCandidate, length: int, replicas: int
) -> None:
    """The fewest replicas by capacity alone are full but for rounding: no queue settles there."""
    candidate = make_candidate(peak=2000e12, bandwidth=8e12)
    replica = station(candidate.steps, candidate.host, fixed_length(length))
    rate = replicas / replica.text_s.mid
    count = Waiting(replica).fewest_replicas(rate, 50 * replica.lone_s(0.99), "random")
    assert count is not None
    assert count > replicas
