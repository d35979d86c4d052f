"""How long texts wait at the replicas of a station, and how few replicas keep a target.

The policy is the scheduler's: a free replica takes what waits, up to the saturation point, and never waits to
fill up. Where one text of mean length saturates the device that is one text at a time (M/G/c); where it takes
several, it is a batch server (embedded Markov chain of texts of one length, and what their variety adds). On one
queue for several replicas, a free one takes no more than its share of what waits: taking all of it would leave the
others idle, and makes the p99 up to three times as long (docs/log.md).

Beside the simulator, the p99 of one batch server is within 7 % for texts of like length; for very different ones
between 15 % low and, at 80 % load, 45 % high (tests/theory/planning).

Knows the queueing formulas. Knows no price.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, log

from farthing.theory.planning.search import smallest
from farthing.theory.planning.station import MOST_REPLICAS, Routing, Station
from farthing.theory.queueing import replicas, single_server
from farthing.theory.queueing.batch_queue import BatchQueue
from farthing.theory.queueing.service_times import ServiceTimes, constant
from farthing.theory.queueing.shared_batches import SharedBatches

SHARED_ERROR = 0.25
"""What several replicas on one queue add to the 99th percentile of lone texts is too low by more than this in one cell
of sixteen. Replicas are counted as if it always were: one too few costs the target."""

USUAL_RISE = 4.0
"""First guess of b in p99 ≈ lone + b·ρ/(1−ρ), in texts × (1 + CV²): it only sets where the search begins."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from arrival to vector, and how they were computed."""

    seconds: float
    source: str


class _Known:
    """Rates that keep a target and rates that miss it: what is below the one or above the other need not be asked."""

    def __init__(self) -> None:
        """Know nothing."""
        self._most_kept, self._least_missed = 0.0, inf

    def unsure(self, rate: float) -> bool:
        """Return whether it is not known if the rate keeps the target."""
        return self._most_kept < rate < self._least_missed

    def kept(self, rate: float) -> bool:
        """Return whether the rate is known to keep it."""
        return rate <= self._most_kept

    def learn(self, rate: float, keeps: bool) -> None:
        """Remember one."""
        if keeps:
            self._most_kept = max(self._most_kept, rate)
        else:
            self._least_missed = min(self._least_missed, rate)


class Waiting:
    """The queue before the replicas of one station. What was computed once is not computed again."""

    def __init__(self, station: Station) -> None:
        """Take the station; nothing is computed yet."""
        self.station = station
        self._queues: dict[float, BatchQueue] = {}
        self._batching: dict[tuple[float, float], float] = {}
        self._alone: dict[tuple[float, int, float], float] = {}
        self._together: SharedBatches | None = None
        self._shared: dict[tuple[float, int, float], float] = {}
        self._known: dict[tuple[float, int], _Known] = {}
        self._fewest: dict[tuple[float, float], int | None] = {}

    def time_in_system(
        self, texts_per_s: float, count: int, routing: Routing, quantile: float, above_s: float = inf
    ) -> Latency:
        """Return how long texts take from arrival to vector, at a quantile.

        One at a time: M/G/1 by inversion of the Pollaczek–Khinchine transform, M/G/c by approximation.
        Batched, random routing: the embedded Markov chain of each replica. Batched on one queue: the
        approximation of shared_batches.py.

        Args:
            texts_per_s: arrivals, all replicas together.
            count: replicas.
            routing: one queue for all, or each text to a replica at random.
            quantile: 0–1, for example 0.99.
            above_s: where the approximation for one queue is above so many seconds, random routing is told
                instead, which the replicas are free to do.

        Returns:
            Seconds, infinite when the replicas cannot keep up, and their source.
        """
        station = self.station
        host_s = station.host.lone_s(station.lengths.quantile(quantile))
        servers = station.streams * (count if routing == "shared" else 1)
        arrivals = texts_per_s if routing == "shared" else texts_per_s / count
        if station.largest_batch == 1:
            exact = "M/G/1, Pollaczek–Khinchine transform inverted"
            source = exact if servers == 1 else f"M/G/{servers}, approximated"
            return Latency(self._one_at_a_time(arrivals, servers, quantile) + host_s, source)
        batches = f"batches of up to {station.largest_batch}"
        if routing == "shared" and count > 1:
            seconds = self._on_one_queue(arrivals, servers, quantile) + host_s
            if seconds <= above_s:
                return Latency(seconds, f"{batches} from one queue, approximated")
        return Latency(
            self._batched(texts_per_s / count, quantile) + host_s, f"{batches}, embedded Markov chain"
        )

    def p99_at_most_s(self, texts_per_s: float, count: int, routing: Routing) -> float:
        """Return what the 99th percentile is promised not to exceed. Arguments as in `time_in_system`.

        It is the percentile itself where it is computed, and with `SHARED_ERROR` added where it is approximated for
        batches on one queue; but no more than random routing's, which the replicas are free to do.
        """
        seconds = self.time_in_system(texts_per_s, count, routing, 0.99).seconds
        if routing == "random" or count == 1 or self.station.largest_batch == 1:
            return seconds
        alone_s = self.time_in_system(texts_per_s, count, "random", 0.99).seconds
        return min(self._cautious_s(seconds), alone_s)

    def _cautious_s(self, approximated_s: float) -> float:
        return approximated_s + SHARED_ERROR * max(0.0, approximated_s - self.station.lone_s(0.99))

    def keeps(self, texts_per_s: float, count: int, routing: Routing, target_s: float) -> bool:
        """Return whether the 99th percentile is at most `target_s`. Arguments as in `time_in_system`."""
        station = self.station
        if texts_per_s * station.text_s.mid >= count or station.lone_s(0.99) > target_s:
            return False
        if station.largest_batch == 1:
            return self.time_in_system(texts_per_s, count, routing, 0.99).seconds <= target_s
        each = texts_per_s / count
        if routing == "shared" and count > 1:
            together = self._of(target_s, count)
            if together.unsure(each):
                seconds = self.time_in_system(texts_per_s, count, "shared", 0.99).seconds
                together.learn(each, self._cautious_s(seconds) <= target_s)
            if together.kept(each):
                return True  # the chain is dearer to compute, and not needed
        alone = self._of(target_s, 1)
        if alone.unsure(each):
            self._alone_p99_s(each, target_s)
        return alone.kept(each)

    def fewest_replicas(self, texts_per_s: float, target_s: float, routing: Routing) -> int | None:
        """Return the fewest replicas whose 99th percentile is at most `target_s`; None if no number is enough.

        Args:
            texts_per_s: arrivals, all replicas together.
            target_s: seconds.
            routing: one queue for all, or each text to a replica at random.
        """
        station = self.station
        if station.lone_s(0.99) > target_s:
            return None
        least = max(1, ceil(texts_per_s * station.text_s.mid))
        if station.largest_batch == 1:
            guess = max(least, self._first_guess(texts_per_s, target_s, routing))
            return smallest(
                lambda count: self.keeps(texts_per_s, count, routing, target_s), least, guess, MOST_REPLICAS
            )
        alone = self._fewest_batching_alone(texts_per_s, target_s, least)
        if routing == "random" or alone is None or alone == 1:
            return alone
        # On a shared queue no more are needed: who has it may still route at random.
        return smallest(
            lambda count: count >= alone or self.keeps(texts_per_s, count, "shared", target_s),
            least,
            min(max(least, self._first_guess(texts_per_s, target_s, routing)), alone - 1),
            alone,
        )

    def _fewest_batching_alone(self, texts_per_s: float, target_s: float, least: int) -> int | None:
        """Return the fewest replicas under random routing, in few evaluations of the chain.

        The 99th percentile is taken to be lone + b·ρ/(1−ρ): at first with b = `USUAL_RISE` · (1 + CV²) texts, then
        with b from the last evaluation, and between one that misses and one that keeps straight in its logarithm.
        """
        key = texts_per_s, target_s
        if key not in self._fewest:
            self._fewest[key] = self._searched(texts_per_s, target_s, least)
        return self._fewest[key]

    def _searched(self, texts_per_s: float, target_s: float, least: int) -> int | None:
        mixed = self.station.in_full_steps
        load, lone_s = texts_per_s * self.station.text_s.mid, self.station.lone_s(0.99)
        missed: tuple[int, float] | None = None
        kept: tuple[int, float] | None = None
        room = (target_s - lone_s) / (USUAL_RISE * (1 + mixed.cv2) * mixed.mean_s)
        count = min(max(least, ceil(load * (1 + room) / max(room, 1e-9))), MOST_REPLICAS)
        asked = 0
        while True:
            p99_s = self._alone_p99_s(texts_per_s / count, target_s)
            asked += 1
            if p99_s <= target_s:
                kept = count, p99_s
            else:
                missed = count, p99_s
            low, high = missed[0] if missed else least - 1, kept[0] if kept else MOST_REPLICAS + 1
            if high - low <= 1:
                return kept[0] if kept else None
            if missed and kept and missed[1] < inf:
                part = log(target_s / kept[1]) / log(missed[1] / kept[1]) if asked % 3 else 0.5
                wanted = ceil(
                    texts_per_s / (texts_per_s / high + part * (texts_per_s / low - texts_per_s / high))
                )
            else:
                rho = load / count
                rise = max(p99_s - lone_s, 1e-9 * lone_s)
                room = (target_s - lone_s) / rise * rho / (1 - rho) if rho < 1 and p99_s < inf else 0.0
                wanted = ceil(load * (1 + room) / room) if room > 0 else 2 * count
                if asked > 2:  # the guess creeps
                    wanted = count + (wanted - count) * 2 ** (asked - 2)
            count = min(max(wanted, low + 1), high - 1, 8 * count)

    def _alone_p99_s(self, texts_per_s: float, target_s: float) -> float:
        """Return the 99th percentile of one replica, and remember whether it keeps the target."""
        p99_s = self.time_in_system(texts_per_s, 1, "random", 0.99).seconds
        self._of(target_s, 1).learn(texts_per_s, p99_s <= target_s)
        return p99_s

    def _of(self, target_s: float, count: int) -> _Known:
        return self._known.setdefault((target_s, count), _Known())

    def _on_one_queue(self, arrivals_per_s: float, servers: int, quantile: float) -> float:
        station = self.station
        if self._together is None:
            self._together = SharedBatches(
                station.batch_s, station.largest_batch, station.service, station.in_full_steps
            )
        key = arrivals_per_s, servers, quantile
        if key not in self._shared:
            self._shared[key] = self._together.quantile_s(*key)
        return self._shared[key]

    def _one_at_a_time(self, arrivals_per_s: float, servers: int, quantile: float) -> float:
        key = arrivals_per_s, servers, quantile
        if key not in self._alone:
            service = self.station.service
            self._alone[key] = (
                single_server.time_in_system_quantile_s(arrivals_per_s, service, quantile)
                if servers == 1
                else replicas.time_in_system_quantile_s(arrivals_per_s, service, servers, quantile)
            )
        return self._alone[key]

    def _batched(self, texts_per_s: float, quantile: float) -> float:
        """Return the seconds at one replica that is fed at random; each of its streams gets its share."""
        key = texts_per_s, quantile
        if key not in self._batching:
            self._batching[key] = self._batched_anew(texts_per_s, quantile)
        return self._batching[key]

    def _batched_anew(self, texts_per_s: float, quantile: float) -> float:
        station = self.station
        arrivals = texts_per_s / station.streams
        if arrivals not in self._queues:
            self._queues[arrivals] = BatchQueue(arrivals, station.batch_s, station.largest_batch)
        seconds = self._queues[arrivals].quantile_s(quantile)
        mixed = station.in_full_steps
        if len(mixed.seconds) == 1 or not seconds < inf or quantile <= 0.5:
            return seconds
        # The chain serves texts of one length. What their variety adds is taken from the server of one text at a
        # time with the same work: it is the work before a text, and its own, that varies. The median of texts of
        # different lengths is below that of like ones, if anything.
        return seconds + max(
            0.0,
            self._one_server_s(arrivals, mixed, quantile)
            - self._one_server_s(arrivals, constant(mixed.mean_s), quantile),
        )

    def _one_server_s(self, arrivals_per_s: float, service: ServiceTimes, quantile: float) -> float:
        return single_server.time_in_system_quantile_s(arrivals_per_s, service, quantile)

    def _first_guess(self, texts_per_s: float, target_s: float, routing: Routing) -> int:
        """Return about how many replicas are needed, by the exponential tail W₉₉ ≈ E[W]/ρ · ln(100 ρ)."""
        station = self.station
        service, text_s = station.service, station.text_s.mid * station.streams
        room = target_s - station.lone_s(0.99)
        scale = (1 + service.cv2) / 2 * text_s
        low, high = 0.0, 1.0
        for _ in range(20):
            rho = (low + high) / 2
            waits = 0.0 if rho <= 0.01 else scale / (1 - rho) * log(100 * rho)
            low, high = (rho, high) if waits <= room else (low, rho)
        load = texts_per_s * text_s / station.streams
        if routing == "shared" and load > 1 and low:
            # On a shared queue of c servers the wait is about c times shorter.
            low = 1 - (1 - low) / ceil(load / low)
        return ceil(min(load / low if low else inf, MOST_REPLICAS))
