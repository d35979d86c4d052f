"""One replica: a model on a device behind a host, and what requests of some texts take of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

from farthing.theory.host import HOST_ERROR, HostPath
from farthing.theory.lengths import LengthDistribution
from farthing.theory.time.steps import Interval, StepModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """One replica. Seconds of the device are as expected, times `slower`.

    Attributes:
        steps: step times of the model on the device.
        host: the host before it.
        lengths: tokens per text, few enough different ones to compute with.
        slower: what step times are multiplied with.
        device_s: mean seconds of the device per text where steps are large.
        step_tokens: tokens past which a larger step brings less than 5 % more.
    """

    steps: StepModel
    host: HostPath
    lengths: LengthDistribution
    slower: float = 1.0
    device_s: Interval
    step_tokens: int
    _endless_s: dict[int, float] = field(repr=False)
    _overheads: tuple[tuple[float, float], ...] = field(repr=False)
    _steps: dict[int | tuple[float, ...], float] = field(default_factory=dict, repr=False)

    @property
    def mean_length(self) -> int:
        """Mean tokens per text, rounded."""
        return max(1, round(self.lengths.mean))

    @property
    def host_s(self) -> float:
        """Mean seconds of the host per text, all its threads at work."""
        return self.host.busy_s(self.lengths.mean)

    @property
    def text_s(self) -> float:
        """Mean seconds per text of a saturated replica: of its host or its device, the slower of the two."""
        return max(self.device_s.mid, self.host_s)

    @property
    def full_text_s(self) -> float:
        """Mean seconds per text of a replica whose steps are as large as they get, host included."""
        full = self.step_texts
        return max(self.mean_step_s(full) / full / self.steps.streams, self.host_s)

    @property
    def step_texts(self) -> int:
        """Texts of mean length in a step that saturates."""
        return max(1, self.step_tokens // self.mean_length)

    @property
    def text_interval_s(self) -> Interval:
        """`text_s`, from both as quick as they may be to both as slow."""
        device, host = self.device_s, self.host_s
        return Interval(
            max(device.low, host / (1 + HOST_ERROR)), self.text_s, max(device.high, host * (1 + HOST_ERROR))
        )

    def tokens_per_s(self) -> float:
        """Return the tokens per second of a saturated replica."""
        return self.lengths.mean / self.text_s

    def step_s(self, lengths: Sequence[float]) -> float:
        """Return the device seconds of a step of texts of these lengths, one of the steps that run side by side.

        What each length takes in large steps, and what a step costs beside that, by its tokens.
        """
        # Small steps of a few lengths, and those of texts that are all as long, are asked for again and again.
        key = tuple(lengths) if len(lengths) < 3 else len(lengths) if len(self._endless_s) == 1 else None
        if key is not None and key in self._steps:
            return self._steps[key]
        seconds = sum([self._endless_s[n] for n in lengths]) + self.overhead_s(sum(lengths))  # type: ignore[index,misc]
        if key is not None:
            self._steps[key] = seconds
        return seconds

    def mean_step_s(self, texts: float) -> float:
        """Return the seconds of a step of so many texts like the mean, whole or not."""
        return texts * self.device_s.mid * self.steps.streams + self.overhead_s(texts * self.lengths.mean)

    def overhead_s(self, tokens: float) -> float:
        """Return the seconds of a step of `tokens` beside what they take in large steps."""
        points = self._overheads
        at = bisect_left(points, (tokens,))
        if at in (0, len(points)):
            return points[min(at, len(points) - 1)][1]
        (left, before), (right, behind) = points[at - 1], points[at]
        return before + (behind - before) * (tokens - left) / (right - left)

    def lone_s(self, quantile: float) -> float:
        """Return the seconds of a request that meets an empty replica, at a quantile (0–1) of the lengths."""
        host, texts = self.host, self.host.texts_per_request
        length, mean = self.lengths.quantile(quantile), self.lengths.mean
        tokens = texts * mean + sqrt(texts) * (length - mean)
        if texts == 1:
            return host.lone_s(length) + self.step_s((length,))
        return host.lone_s(tokens) + max(self.mean_step_s(texts), self.step_s((length,)))

    def knowing(self, lengths: Iterable[int]) -> Station:
        """Return the replica that can run texts of these lengths too."""
        streams, speed = self.steps.streams * self.slower, self.steps.tokens_per_s
        more = {n: streams * n / speed(n).mid for n in {*lengths}.difference(self._endless_s)}
        return replace(self, _endless_s=self._endless_s | more, _steps={})

    def times(self, factor: float) -> Station:
        """Return the replica with all step times `factor` times as long."""
        device = self.device_s
        return replace(
            self,
            slower=self.slower * factor,
            device_s=Interval(device.low * factor, device.mid * factor, device.high * factor),
            _endless_s={n: s * factor for n, s in self._endless_s.items()},
            _overheads=tuple((n, s * factor) for n, s in self._overheads),
            _steps={},
        )


def station(steps: StepModel, host: HostPath, lengths: LengthDistribution) -> Station:
    """Return the replica that a model on a device is for texts of these lengths, which are grouped here."""
    grouped = lengths.grouped()
    mean = max(1, round(grouped.mean))
    speed = {n: steps.tokens_per_s(n) for n in sorted({*grouped.lengths, mean})}
    device_s = Interval(
        grouped.expected(lambda n: n / speed[n].high),
        grouped.expected(lambda n: n / speed[n].mid),
        grouped.expected(lambda n: n / speed[n].low),
    )
    endless = {n: steps.streams * n / one.mid for n, one in speed.items()}
    step_tokens = max(steps.saturation_tokens(mean), mean)
    sizes = [(1, n) for n in endless if n <= mean]
    texts = 2
    while (texts // 2) * mean < max(step_tokens, grouped.longest):
        sizes.append((texts, mean))
        texts *= 2
    overheads = [
        (float(count * n), max(0.0, steps.expected_s(count, n) - count * endless[n])) for count, n in sizes
    ]
    return Station(
        steps=steps,
        host=host,
        lengths=grouped,
        device_s=device_s,
        step_tokens=step_tokens,
        _endless_s=endless,
        _overheads=tuple(overheads),
    )
