"""A model on a device as a queueing station: what one text occupies, and how many it serves at its best.

Knows step times, the host beside them, and lengths. Knows no queue (waiting.py) and no price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from farthing.theory.lengths import LengthDistribution
from farthing.theory.queueing.service_times import ServiceTimes
from farthing.theory.steps import SATURATION, HostPath, Interval, StepModel

Routing = Literal["shared", "random"]
"""How texts find a replica: one queue for all of them, or each text to one at random."""

MOST_REPLICAS = 100_000
"""More than anyone rents: a demand beyond it is taken for a mistyped one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One replica: a model on a device, fed with texts of these lengths.

    Attributes:
        steps: step times of the model on the device.
        host: the host beside it.
        lengths: tokens per text, few enough different ones to compute with.
        service: seconds that a text served alone occupies one stream of the replica.
        in_full_steps: seconds of a stream that a text takes up in steps of the largest batch.
        stretch: mean time of the texts over that of a text of mean length, both in large steps: attention over
            long texts costs more than their share of tokens.
        text_s: mean seconds of a saturated replica per text: its capacity is 1 / text_s.
        largest_batch: texts of mean length up to the saturation point of device and host together, at least 1.
        streams: steps that run side by side in a replica.
        host_bound: whether the host, not the device, limits the capacity.
    """

    steps: StepModel
    host: HostPath
    lengths: LengthDistribution
    service: ServiceTimes
    in_full_steps: ServiceTimes
    stretch: float
    text_s: Interval
    largest_batch: int
    streams: int
    host_bound: bool

    @property
    def mean_length(self) -> int:
        """Mean tokens per text, rounded."""
        return max(1, round(self.lengths.mean))

    def tokens_per_s(self) -> float:
        """Return the tokens per second of a saturated replica."""
        return self.lengths.mean / self.text_s.mid

    def batch_s(self, texts: int) -> float:
        """Return the mean seconds that a step of `texts` texts occupies a stream."""
        return self.stretch * _step_s(self.steps, self.host, texts, self.mean_length)

    def lone_s(self, quantile: float) -> float:
        """Return the seconds of a text that meets an empty station, at this quantile (0–1) of the lengths."""
        return self.service.quantile_s(quantile) + self.host.lone_s(self.lengths.quantile(quantile))


def station(steps: StepModel, host: HostPath, lengths: LengthDistribution) -> Station:
    """Return the station that a model on a device is for texts of these lengths.

    Args:
        steps: step times of the model on the device.
        host: the host beside it.
        lengths: tokens per text; grouped here.
    """
    grouped = lengths.grouped()
    streams = steps.streams
    mean = max(1, round(grouped.mean))
    speed = {n: steps.tokens_per_s(n) for n in (*grouped.lengths, mean)}
    device_s = Interval(
        grouped.expected(lambda n: n / speed[n].high),
        grouped.expected(lambda n: n / speed[n].mid),
        grouped.expected(lambda n: n / speed[n].low),
    )
    # Host and device overlap: the slower of the two sets the pace.
    endless = {n: max(n / speed[n].mid, host.busy_s(n)) for n in speed}
    host_s = grouped.expected(host.busy_s)
    text_s = Interval(max(device_s.low, host_s), max(device_s.mid, host_s), max(device_s.high, host_s))
    # Where the host sets the pace, fewer texts saturate than on the device alone; more would only wait longer.
    largest_batch = max(1, steps.saturation_tokens(mean) // mean)
    ends = {grouped.lengths[0], mean, grouped.lengths[-1]}
    if all(host.busy_s(n) > n / speed[n].mid for n in ends):
        most = largest_batch * mean
        tokens = max(n * _saturating(steps, host, n, endless[n], max(1, most // n)) for n in ends)
        largest_batch = max(1, min(tokens, most) // mean)
    stretch = text_s.mid / endless[mean]
    full_s = stretch * _step_s(steps, host, largest_batch, mean) / largest_batch
    alone = {n: _step_s(steps, host, 1, n) for n in grouped.lengths}
    # A text that fills a step by itself takes no more than alone.
    scale = full_s / grouped.expected(lambda n: endless[n])
    in_full_steps = {n: min(alone[n], endless[n] * scale) for n in grouped.lengths}
    return Station(
        steps=steps,
        host=host,
        lengths=grouped,
        service=_service(alone, grouped),
        in_full_steps=_service(in_full_steps, grouped),
        stretch=stretch,
        text_s=text_s,
        largest_batch=largest_batch,
        streams=streams,
        host_bound=host_s > device_s.mid,
    )


def _saturating(steps: StepModel, host: HostPath, length: int, endless_s: float, most: int) -> int:
    """Return the fewest texts of a step, at most `most`, at which device and host together saturate."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        reached = steps.streams * middle * endless_s >= SATURATION * _step_s(steps, host, middle, length)
        low, high = (low, middle) if reached else (middle, high)
    return high


def _step_s(steps: StepModel, host: HostPath, texts: int, length: int) -> float:
    """Return the seconds of a stream that a step of texts of one length takes, on the device or on the host."""
    return max(steps.expected_s(texts, length), texts * host.busy_s(length) * steps.streams)


def _service(seconds: dict[int, float], lengths: LengthDistribution) -> ServiceTimes:
    """Return the distribution of the seconds of each length; lengths that take equally long are one atom."""
    shares: dict[float, float] = {}
    for n, p in zip(lengths.lengths, lengths.probabilities, strict=True):
        shares[seconds[n]] = shares.get(seconds[n], 0.0) + p
    rising = tuple(sorted(shares))
    return ServiceTimes(rising, tuple(shares[s] for s in rising))
