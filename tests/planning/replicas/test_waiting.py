"""Waiting at replicas: the simulator through host and queue, and the approximation beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from farthing.planning.devices.candidate import Candidate
from farthing.planning.replicas.station import Station, station
from farthing.planning.replicas.waiting import approximated, latencies_s, quantile_s, simulated
from farthing.theory.host import SERVERS, HostPath
from farthing.theory.lengths import LengthDistribution, fixed_length, profile_lengths

MakeCandidate = Callable[..., Candidate]
NO_HOST = HostPath(latency_s=0, request_s=0, tokenization_s_per_token=0, threads=1, source="none")


def replica(candidate: Candidate, lengths: LengthDistribution, host: HostPath | None = None) -> Station:
    return station(candidate.steps, host or candidate.host, lengths)


@pytest.mark.parametrize("length", [20, 300, 3000])
@pytest.mark.parametrize("server", list(SERVERS))
def test_a_lone_request_takes_host_and_device_once(
    make_candidate: MakeCandidate, length: int, server: str
) -> None:
    """Both ways of asking, and what `explain` says of a lone request: the host is counted once."""
    candidate = make_candidate()
    host = SERVERS[server]
    one = replica(candidate, fixed_length(length), host)
    expected = host.lone_s(length) + candidate.steps.seconds(1, length).mid
    assert one.lone_s(0.99) == pytest.approx(expected)
    assert simulated(one, 1e-3, 1, texts=1000).p99_s == pytest.approx(expected)
    assert approximated(one, 1e-3, 1).p99_s == pytest.approx(expected)


@pytest.mark.parametrize("texts", [1, 2, 7, 40])
def test_steps_of_equal_texts_take_what_the_step_model_says(
    make_candidate: MakeCandidate, texts: int
) -> None:
    candidate = make_candidate()
    for length in (20, 300):
        one = replica(candidate, fixed_length(length))
        assert one.step_s([length] * texts) == pytest.approx(
            candidate.steps.seconds(texts, length).mid, rel=0.02
        )
        assert one.mean_step_s(texts) == pytest.approx(one.step_s([length] * texts))


def test_a_text_of_another_length_takes_its_own_time(make_candidate: MakeCandidate) -> None:
    candidate = make_candidate()
    one = replica(candidate, fixed_length(300)).knowing([1200])
    assert one.step_s([1200]) == pytest.approx(candidate.steps.seconds(1, 1200).mid, rel=0.05)


def test_more_than_the_replicas_can_do_takes_for_ever(make_candidate: MakeCandidate) -> None:
    one = replica(make_candidate(), fixed_length(300))
    for ask in (approximated, simulated):
        assert ask(one, 2.2 / one.text_s, 2).p99_s == inf


@pytest.mark.parametrize("servers", [1, 3])
def test_a_host_alone_is_a_queue_of_its_threads(make_candidate: MakeCandidate, servers: int) -> None:
    """With a device that takes no time: M/D/c, whose largest utilization for three service times is known."""
    host = replace(NO_HOST, latency_s=1e-2, request_s=1e-2, threads=servers)
    fast = make_candidate(peak=1e20, bandwidth=1e18)
    one = replica(fast, fixed_length(20), host)
    rho = {1: 0.320, 3: 0.689}[servers]
    found = simulated(one, rho * servers / 1e-2, 1, texts=150_000)
    assert found.p99_s == pytest.approx(3e-2, rel=0.06)


def test_texts_of_one_request_are_waited_for_together(make_candidate: MakeCandidate) -> None:
    host = replace(SERVERS["vllm"], texts_per_request=64)
    one = replica(make_candidate(), fixed_length(300), host)
    lone = simulated(one, 1e-3, 1, texts=6400)
    assert lone.p99_s == pytest.approx(
        host.lone_s(64 * 300) + one.step_s([300] * one.step_texts) * 64 / one.step_texts, rel=0.1
    )
    assert approximated(one, 1e-3, 1).p99_s == pytest.approx(lone.p99_s, rel=0.1)


def test_slower_steps_slow_everything(make_candidate: MakeCandidate) -> None:
    one = replica(make_candidate(), profile_lengths("abstracts"), NO_HOST)
    slow = one.times(1.5)
    assert slow.device_s.mid == pytest.approx(1.5 * one.device_s.mid)
    assert slow.lone_s(0.99) == pytest.approx(1.5 * one.lone_s(0.99))
    assert simulated(slow, 10 / 1.5, 1, texts=5000).p99_s == pytest.approx(
        1.5 * simulated(one, 10, 1, texts=5000).p99_s
    )


def test_arrivals_of_ones_own_are_played(make_candidate: MakeCandidate) -> None:
    """Ten texts at once on one replica wait for each other, and on ten replicas for nobody."""
    one = replica(make_candidate(), fixed_length(3000), NO_HOST)
    alone = one.step_s([3000])
    seconds = latencies_s(one, [0.0] * 10, [[3000]] * 10, 10)
    assert seconds == pytest.approx([alone] * 10)
    assert max(latencies_s(one, [0.0] * 10, [[3000]] * 10, 1)) > 5 * alone


def test_quantiles() -> None:
    assert quantile_s([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert quantile_s([1.0], 0.99) == 1.0
    assert quantile_s(range(1, 101), 0.99) == 99


def test_nine_in_ten_approximations_are_within_one_replica_of_the_simulator(
    make_candidate: MakeCandidate,
) -> None:
    """Forty pairs of device and demand, drawn; benchmarks/plans.py asks hundreds over the whole catalog."""
    from farthing.planning.rows import fewest_replicas

    draw = random.Random(0)
    near = asked = 0
    while asked < 40:
        candidate = make_candidate(
            peak=10 ** draw.uniform(13.5, 15), bandwidth=10 ** draw.uniform(11.5, 12.7)
        )
        lengths = draw.choice([fixed_length(draw.choice([20, 100, 500])), profile_lengths("abstracts")])
        host = SERVERS[draw.choice(list(SERVERS))]
        one, rate, target = (
            replica(candidate, lengths, host),
            10 ** draw.uniform(0, 3.2),
            10 ** draw.uniform(-1.3, 0.3),
        )
        guess = fewest_replicas(one, rate, target)
        if guess is None or guess > 100:
            continue
        asked += 1
        count = guess
        if simulated(one, rate, count, texts=25_000).p99_s <= target:
            while count > 1 and simulated(one, rate, count - 1, texts=25_000).p99_s <= target:
                count -= 1
        else:
            while simulated(one, rate, count, texts=25_000).p99_s > target:
                count += 1
        near += abs(count - guess) <= max(1, 0.05 * count)
    assert near >= 36
