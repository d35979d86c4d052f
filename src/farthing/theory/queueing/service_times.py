"""How long one text keeps a server busy, as a discrete distribution.

Knows moments and quantiles, and how to describe a fine distribution by a few atoms. Knows no queue and no
device: whoever turns lengths into seconds does that before.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from farthing.errors import InputError

SUM_TOLERANCE = 1e-9
"""How far the probabilities may be from 1 in sum, and a cumulative probability from its exact value."""

RAREST = 1e-12
"""A piece of a lognormal less likely than this is left out."""

LOGNORMAL_REACH = 7.0
"""Standard deviations of the logarithm that a lognormal without an end is followed for."""


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """A discrete distribution of service times.

    Attributes:
        seconds: the values in seconds, above 0 and rising.
        probabilities: the probability of each, above 0, 1 in sum.
        mean_s: mean in seconds.
        second_moment_s2: mean of the square, in s².
    """

    seconds: tuple[float, ...]
    probabilities: tuple[float, ...]
    mean_s: float = field(init=False, repr=False, compare=False)
    second_moment_s2: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the distribution, and keep its first two moments.

        Raises:
            InputError: no values, values that do not rise or are not above 0, or no probabilities of sum 1.
        """
        if not self.seconds or len(self.seconds) != len(self.probabilities):
            raise InputError(
                f"service times: {len(self.seconds)} values with {len(self.probabilities)} probabilities: "
                "give one probability to each of at least one value"
            )
        if not 0 < self.seconds[0] <= self.seconds[-1] < math.inf:
            raise InputError(f"service times: {self.seconds[0]}: give seconds above 0 and finite")
        if not all(one < other for one, other in pairwise(self.seconds)):
            raise InputError("service times: the seconds do not rise: sort them and join equal ones")
        total = math.fsum(self.probabilities)
        if not all(p > 0 for p in self.probabilities) or not abs(total - 1) <= SUM_TOLERANCE:
            raise InputError(f"service times: probabilities of sum {total}: give ones above 0 of sum 1")
        moments = [
            sum(p * d**k for p, d in zip(self.probabilities, self.seconds, strict=True)) for k in (1, 2)
        ]
        object.__setattr__(self, "mean_s", moments[0])
        object.__setattr__(self, "second_moment_s2", moments[1])

    @property
    def cv2(self) -> float:
        """Squared coefficient of variation, Var / mean²."""
        return max(0.0, self.second_moment_s2 / self.mean_s**2 - 1)

    @property
    def longest_s(self) -> float:
        """The longest service time in seconds."""
        return self.seconds[-1]

    def quantile_s(self, p: float) -> float:
        """Return the least service time that a share of at least `p` does not exceed.

        Args:
            p: a probability, 0 to 1.

        Raises:
            InputError: `p` is not a probability.
        """
        if not 0 <= p <= 1:
            raise InputError(f"quantile {p}: give a number from 0 to 1")
        cumulative = list(accumulate(self.probabilities))
        return self.seconds[min(bisect_left(cumulative, p - SUM_TOLERANCE), len(cumulative) - 1)]

    def scaled(self, factor: float) -> ServiceTimes:
        """Return the distribution of `factor` times the service time.

        Raises:
            InputError: `factor` is not above 0.
        """
        weights: dict[float, float] = {}
        for d, p in zip(self.seconds, self.probabilities, strict=True):
            # Neighbours may round to one value.
            weights[d * factor] = weights.get(d * factor, 0.0) + p
        return from_weights(weights)

    def merged(self, atoms: int) -> ServiceTimes:
        """Return a distribution of at most `atoms` values with the same first three moments.

        Neighbouring values become two: those of Gauss quadrature, which lie between them. The widest and
        likeliest neighbourhoods are split first. Those of the rare long texts count by the square root of
        their probability, since the upper quantiles are what is asked for.

        Args:
            atoms: the most values, at least 2.

        Raises:
            InputError: `atoms` is less than 2.

        Source: Golub & Welsch 1969 (Gauss quadrature of two nodes matches the moments 0 to 3).
        """
        if atoms < 2:
            raise InputError(f"merging into {atoms} values: give at least 2")
        if len(self.seconds) <= atoms:
            return self
        cumulative = [0.0, *accumulate(self.probabilities)]

        def weight(start: int, stop: int) -> float:
            spread = self.seconds[stop - 1] - self.seconds[start]
            return spread * math.sqrt(max(0.0, cumulative[stop] - cumulative[start]))

        groups = [(0, len(self.seconds))]
        while 2 * len(groups) + 2 <= atoms:
            start, stop = max(groups, key=lambda group: weight(*group))
            if stop - start == 1:
                break
            middle = (self.seconds[start] + self.seconds[stop - 1]) / 2
            cut = min(max(bisect_left(self.seconds, middle, start, stop), start + 1), stop - 1)
            groups.remove((start, stop))
            groups += [(start, cut), (cut, stop)]
        pairs: dict[float, float] = {}
        for start, stop in groups:
            for d, p in _two_nodes(self.seconds[start:stop], self.probabilities[start:stop]):
                pairs[d] = pairs.get(d, 0.0) + p
        return from_weights(pairs)


def constant(seconds: float) -> ServiceTimes:
    """Return the distribution of a service time that is always `seconds`.

    Raises:
        InputError: `seconds` is not above 0.
    """
    return ServiceTimes((seconds,), (1.0,))


def from_weights(weights: Mapping[float, float]) -> ServiceTimes:
    """Return the distribution in which each number of seconds is as likely as its weight says.

    Args:
        weights: seconds → weight, for example a count; weights of 0 are left out.

    Raises:
        InputError: no weight is above 0, or one is below, or a time is not above 0.
    """
    total = math.fsum(weights.values())
    if not 0 < total < math.inf or min(weights.values()) < 0:
        raise InputError(f"service times: weights of sum {total}: give weights of at least 0, one above it")
    seconds = sorted(d for d, weight in weights.items() if weight > 0)
    return ServiceTimes(tuple(seconds), tuple(weights[d] / total for d in seconds))


def truncated_lognormal(
    mean_s: float, cv2: float, longest_multiple: float = math.inf, atoms: int = 64
) -> ServiceTimes:
    """Return a lognormal in which whatever is longer than a limit is as long as the limit.

    Texts are cut at the longest length, so the tail is gathered there, not dropped. That lowers the mean and
    CV²: the result's own `mean_s` and `cv2` are those that hold.

    Args:
        mean_s: mean before the cut, in seconds.
        cv2: squared coefficient of variation before the cut, above 0.
        longest_multiple: where it is cut, as a multiple of `mean_s`.
        atoms: values of the result, at least 2.

    Raises:
        InputError: an argument is out of its range.

    Source: partial expectations of the lognormal, Johnson, Kotz & Balakrishnan 1994, chapter 14.
    """
    if not (0 < mean_s < math.inf and 0 < cv2 < math.inf and longest_multiple > 0):
        raise InputError(
            f"lognormal of mean {mean_s}, CV² {cv2}, cut at {longest_multiple}×: give numbers above 0"
        )
    sigma = math.sqrt(math.log1p(cv2))
    mu = math.log(mean_s) - sigma**2 / 2
    low = -LOGNORMAL_REACH
    cut = (math.log(longest_multiple * mean_s) - mu) / sigma
    high = min(LOGNORMAL_REACH, cut)
    if high <= low:
        return constant(longest_multiple * mean_s)
    cells = 16 * atoms
    edges = [low + (high - low) * i / cells for i in range(cells + 1)]
    below = [_normal_below(z) for z in edges]
    expected = [mean_s * _normal_below(z - sigma) for z in edges]
    weights: dict[float, float] = {}
    for i in range(cells):
        probability = below[i + 1] - below[i]
        if probability > RAREST:
            middle = (expected[i + 1] - expected[i]) / probability
            weights[middle] = weights.get(middle, 0.0) + probability
    if cut <= LOGNORMAL_REACH:
        weights[longest_multiple * mean_s] = weights.get(longest_multiple * mean_s, 0.0) + _normal_below(-cut)
    return from_weights(weights).merged(atoms)


def _normal_below(z: float) -> float:
    """Return the probability that a standard normal is below `z`, exact in the lower tail."""
    return math.erfc(-z / math.sqrt(2)) / 2


def _two_nodes(seconds: Sequence[float], probabilities: Sequence[float]) -> list[tuple[float, float]]:
    """Return at most two values with their probabilities that keep the moments 0 to 3."""
    total = math.fsum(probabilities)
    mean = math.fsum(p * d for p, d in zip(probabilities, seconds, strict=True)) / total
    central = [
        math.fsum(p * (d - mean) ** k for p, d in zip(probabilities, seconds, strict=True)) / total
        for k in (2, 3)
    ]
    deviation = math.sqrt(central[0])
    if deviation <= 1e-9 * mean:
        return [(mean, total)]
    half_skew = central[1] / (2 * deviation**3)
    # The nodes are the roots of z² − 2·half_skew·z − 1, whose product is −1: the larger is exact, the other
    # follows, where a difference would lose its digits.
    larger = half_skew + math.copysign(math.hypot(half_skew, 1.0), half_skew)
    below, above = sorted((larger, -1 / larger))
    return [
        (mean + deviation * below, total * above / (above - below)),
        (mean + deviation * above, total * -below / (above - below)),
    ]
