"""How long requests wait at the replicas of a station, and how few replicas keep a target.

The judge is the simulator: the queue that serves × the step time. Where it is not asked, one short approximation
answers: Erlang C × an exponential tail at the pace of full steps, + the next step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapreplace
from itertools import accumulate
from math import ceil, inf, log, sqrt
from typing import Literal

from farthing.planning.replicas.station import Station
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.simulation import Policy, simulate

Routing = Literal["shared", "random"]
"""How texts find a replica: one queue for all of them, or each request to one at random."""

MOST_REPLICAS = 100_000
"""More than anyone rents: a demand beyond it is taken for a mistyped one."""

SEED = 20_241
FEWEST_TEXTS, MOST_TEXTS = 25_000, 200_000
"""Texts of a simulation: the least, and the most where the least do not tell the 99th percentile to `TOLD`."""

LONG_ENOUGH = 20
"""Waits that the arrivals of a simulation last at least: a queue that starts empty takes some to settle."""

TOLD = 0.03
"""Standard error of the 99th percentile, as a share of it, up to which more texts are drawn."""

NEAR = 0.01
"""Standard error, as a share of the target, up to which a 99th percentile that near the target is taken as it is."""

_PARTS = 10


@dataclass(frozen=True, slots=True)
class Waited:
    """Seconds from a request's arrival to its last vector."""

    p50_s: float
    p99_s: float
    simulated: bool


def approximated(station: Station, texts_per_s: float, count: int, routing: Routing = "shared") -> Waited:
    """Return about how long requests take.

    Args:
        station: one replica.
        texts_per_s: arrivals, all replicas together.
        count: replicas.
        routing: one queue for all, or each request to a replica at random.

    Source: Erlang C; the exponential tail of M/G/c, scaled by (1 + CV²) / 2 (Lee & Longton 1959).
    """
    if routing == "random":
        texts_per_s, count = texts_per_s / count, 1
    return Waited(
        _quantile_s(station, texts_per_s, count, 0.5), _quantile_s(station, texts_per_s, count, 0.99), False
    )


def _quantile_s(station: Station, texts_per_s: float, count: int, quantile: float) -> float:
    host, together = station.host, station.host.texts_per_request
    if texts_per_s * station.full_text_s >= count:
        return inf
    requests_per_s = texts_per_s / together
    servers, most = station.steps.streams * count, station.step_texts
    full_s = station.mean_step_s(most) / most
    host_s = station.host_s * host.threads * together
    parts = [
        _wait_s(requests_per_s, host_s, host.threads * count, 0.0, quantile),
        _wait_s(requests_per_s, full_s * together, servers, station.lengths.cv2 / together, quantile),
        station.lone_s(quantile) - station.lone_s(0.5),
    ]
    seconds = station.lone_s(0.5)
    if most > 1:
        texts = 0.0
        for _ in range(12):  # texts of a step: those that come while all servers run one
            texts = min(texts_per_s * station.mean_step_s(max(texts, 1.0)) / servers, float(most))
        step_s = station.mean_step_s(max(texts, 1.0))
        busy = _erlang_c(servers, texts_per_s * full_s)
        if busy > 1 - quantile:  # the step that is under way
            seconds += step_s * (1 - ((1 - quantile) / busy) ** (1 / servers))
        likely = min(max(texts + (2 * sqrt(texts) if quantile > 0.5 else 0.0), 1.0), float(most))
        seconds += max(0.0, step_s - station.mean_step_s(1.0))
        parts.append(max(0.0, station.mean_step_s(likely) - step_s))
    return seconds + sqrt(sum(part * part for part in parts))


def _wait_s(arrivals_per_s: float, service_s: float, servers: int, cv2: float, quantile: float) -> float:
    load = arrivals_per_s * service_s  # below the servers, but for rounding: who asks has looked
    waits = _erlang_c(servers, load)
    if waits <= 1 - quantile:
        return 0.0
    return log(waits / (1 - quantile)) * service_s * (1 + cv2) / 2 / max(servers - load, 1e-12)


def _erlang_c(servers: int, load: float) -> float:
    """Return the probability that all servers of M/M/c are busy, at `load` busy ones on average.

    Source: Erlang's B by its recursion; C = B / (1 − ρ (1 − B)).
    """
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def simulated(
    station: Station,
    texts_per_s: float,
    count: int,
    *,
    texts: int | None = None,
    target_s: float | None = None,
    filler_step_s: float | None = None,
    seed: int = SEED,
) -> Waited:
    """Return how long requests take: Poisson arrivals through the host and the queue that serves.

    Args:
        station: one replica.
        texts_per_s: arrivals, all replicas together.
        count: replicas, which share one queue.
        texts: how many to draw; None for as many as tell the 99th percentile, up to `MOST_TEXTS`.
        target_s: what the 99th percentile is held against: more are drawn until it is clear on which side it lies.
        filler_step_s: seconds of the steps of batch work that fill idle time; None for none.
        seed: of the arrivals and lengths.
    """
    if texts_per_s * station.full_text_s >= count:
        return Waited(inf, inf, True)
    drawn = texts or max(FEWEST_TEXTS, least_texts(station, texts_per_s, count))
    while True:
        seconds = latencies_s(
            station, *drawn_requests(station, texts_per_s, drawn, seed), count, filler_step_s
        )
        found = Waited(quantile_s(seconds, 0.5), quantile_s(seconds, 0.99), True)
        if texts is not None or drawn >= MOST_TEXTS:
            return found
        error_s = _error(seconds)
        clear = target_s is None or abs(found.p99_s - target_s) > 2 * error_s or error_s <= NEAR * target_s
        misses = target_s is not None and found.p99_s > target_s  # by how much, nobody asks
        if clear and (misses or error_s <= TOLD * found.p99_s):
            return found
        drawn = min(MOST_TEXTS, 3 * drawn)


def least_texts(station: Station, texts_per_s: float, count: int) -> int:
    """Return how many texts a simulation takes at least; more than `MOST_TEXTS` are not simulated."""
    waits_s = min(approximated(station, texts_per_s, count).p99_s, 1e9)
    return ceil(LONG_ENOUGH * texts_per_s * waits_s)


def drawn_requests(
    station: Station, texts_per_s: float, texts: int, seed: int
) -> tuple[list[float], tuple[tuple[int, ...], ...]]:
    """Return when requests come, Poisson, and the lengths of the texts of each."""
    together, lengths = station.host.texts_per_request, station.lengths
    units, requests = _drawn(lengths.lengths, lengths.probabilities, together, texts, seed)
    gap_s = together / texts_per_s
    return [unit * gap_s for unit in units], requests


@lru_cache(maxsize=4)
def _drawn(
    lengths: tuple[int, ...], shares: tuple[float, ...], together: int, texts: int, seed: int
) -> tuple[list[float], tuple[tuple[int, ...], ...]]:
    """Return arrivals at one a second, and lengths: the same for each number of replicas that is tried."""
    rng = random.Random(seed)
    drawn = rng.choices(lengths, shares, k=texts)
    requests = tuple(tuple(drawn[row : row + together]) for row in range(0, texts, together))
    uniform = rng.random
    return list(accumulate(-log(1 - uniform()) for _ in requests)), requests


def latencies_s(
    station: Station,
    times_s: Sequence[float],
    requests: Sequence[Sequence[int]],
    count: int,
    filler_step_s: float | None = None,
) -> list[float]:
    """Return the seconds of each request at replicas that share a queue, in order of arrival."""
    host = station.host
    done_s = _through_host(station, times_s, requests, count)
    order = sorted(range(len(done_s)), key=done_s.__getitem__)
    sizes = [n for row in order for n in requests[row]]
    owners = [row for row in order for _ in requests[row]]
    policy = Policy(
        servers=count * station.steps.streams,
        takes="share",
        max_batch_texts=max(station.step_tokens, 1),  # a step is full by its tokens, not by its texts
        max_batch_size=station.step_tokens,
        filler_step_s=filler_step_s,
    )
    ran = simulate(Arrivals([done_s[row] for row in owners], sizes), policy, station.step_s)
    ends = [0.0] * len(requests)
    for row, latency in zip(owners, ran.latencies_s, strict=True):
        ends[row] = max(ends[row], latency)
    extra = host.latency_s - host.request_s
    return [done_s[row] + ends[row] - times_s[row] + extra for row in range(len(requests))]


def _through_host(
    station: Station, times_s: Sequence[float], requests: Sequence[Sequence[int]], count: int
) -> list[float]:
    """Return when the host's threads are done with each request; they take them in order."""
    host = station.host
    if not host.request_s and not host.tokenization_s_per_token:
        return list(times_s)
    free = [0.0] * (host.threads * count)
    done = []
    request_s, token_s = host.request_s, host.tokenization_s_per_token
    for time, lengths in zip(times_s, requests, strict=True):
        begin = free[0]
        end = (begin if begin > time else time) + request_s + sum(lengths) * token_s
        heapreplace(free, end)
        done.append(end)
    return done


def smallest(keeps: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the smallest count of at least `least` that keeps, where whatever is more keeps too; None above `most`."""
    low, high = least - 1, least
    while not keeps(high):
        if high > most:
            return None
        low, high = high, high + max(1, 2 * (high - least))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def quantile_s(seconds: Sequence[float], share: float) -> float:
    """Return the least of some seconds that a share of them, 0 to 1, does not exceed."""
    ordered = sorted(seconds)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _error(seconds: Sequence[float]) -> float:
    """Return the standard error of the 99th percentile, from those of ten stretches of time."""
    size = len(seconds) // _PARTS
    parts = [quantile_s(seconds[part * size : (part + 1) * size], 0.99) for part in range(_PARTS)]
    mean = sum(parts) / _PARTS
    return sqrt(sum((one - mean) ** 2 for one in parts) / (_PARTS - 1) / _PARTS)
