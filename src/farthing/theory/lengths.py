"""How long the texts are: a distribution of token counts, given, counted or synthetic.

Knows tokens and probabilities. Knows no text, no file and no tokenizer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import erfc, floor, log, log1p, sqrt

from farthing.errors import InputError

GROUP_EDGES = (0.08, 0.25, 0.43, 0.57, 0.75, 0.85, 0.91, 0.96, 0.988, 0.9927, 0.995, 0.999)
"""Shares of the texts that lie below the edges of the groups that a plan distinguishes.

One group is narrow around the median and one around the 99th percentile, for those are asked for; the rest keep the
variance. Found by trial on SciFact's queries and abstracts, on both Azure traces and on the four profiles: on all
of them the 99th percentile of the lengths keeps within 2.5 %, CV² within 4 % (2.5 % but for short texts, where whole
tokens are coarse), and the 99th percentile of the time in system of an M/G/1 queue within 5 %.
"""

PLANNING_ATOMS = len(GROUP_EDGES) + 1
"""Different lengths that a plan distinguishes: enough for its p99, few enough to answer at once."""

PROFILE_ATOMS = 256
"""Different lengths of a synthetic profile, but for rounding."""

_REACH = 5.0
"""Standard deviations of the logarithm within which a profile's lengths lie."""


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """Token counts and how often each occurs.

    Attributes:
        lengths: different token counts, rising, each at least 1.
        probabilities: share of the texts that have each; they sum to 1.
        source: where the distribution comes from, to be shown.
    """

    lengths: tuple[int, ...]
    probabilities: tuple[float, ...]
    source: str

    def __post_init__(self) -> None:
        """Check the lengths and shares.

        Raises:
            InputError: the lengths do not rise from at least 1, or the shares are not above 0 or not 1 in sum.
        """
        rising = all(a < b for a, b in zip(self.lengths, self.lengths[1:], strict=False))
        if not self.lengths or self.lengths[0] < 1 or not rising:
            raise InputError(f"lengths from {self.source}: give token counts of at least 1")
        shares = self.probabilities
        if (
            len(shares) != len(self.lengths)
            or not all(share > 0 for share in shares)
            or not abs(sum(shares) - 1) <= 1e-9
        ):
            raise InputError(f"lengths from {self.source}: give one share above 0 for each length, 1 in sum")

    @property
    def mean(self) -> float:
        """Mean tokens per text."""
        return self.expected(float)

    @property
    def cv2(self) -> float:
        """Squared coefficient of variation: variance / mean²."""
        mean = self.mean
        return self.expected(lambda length: (length - mean) ** 2) / mean**2

    @property
    def longest(self) -> int:
        """Most tokens of any text."""
        return self.lengths[-1]

    def expected(self, value: Callable[[int], float]) -> float:
        """Return the mean over the texts of what `value` makes of a length."""
        return sum(p * value(n) for n, p in zip(self.lengths, self.probabilities, strict=True))

    def quantile(self, share: float) -> int:
        """Return the least length that at least `share` (0–1) of the texts do not exceed.

        Raises:
            InputError: `share` is no fraction.
        """
        if not 0 <= share <= 1:
            raise InputError(f"quantile {share}: give a fraction from 0 to 1")
        reached = list(accumulate(self.probabilities))
        return self.lengths[min(bisect_left(reached, share - 1e-12), len(reached) - 1)]

    def truncated(self, most: int) -> LengthDistribution:
        """Return the distribution when texts longer than `most` tokens are cut to `most`, at least 1."""
        if self.longest <= most:
            return self
        return _merged(
            ((min(n, most), p) for n, p in zip(self.lengths, self.probabilities, strict=True)),
            f"{self.source}, cut to {most} tokens",
        )

    def share_above(self, most: int) -> float:
        """Return the share of texts that are longer than `most` tokens."""
        return sum(p for n, p in zip(self.lengths, self.probabilities, strict=True) if n > most)

    def grouped(self) -> LengthDistribution:
        """Return a distribution of at most `PLANNING_ATOMS` lengths with nearly this mean, CV² and tail.

        Between two edges the lengths become their mean, rounded to whole tokens.
        """
        if len(self.lengths) <= PLANNING_ATOMS:
            return self
        groups = ((_mean(group), sum(group.values())) for group in self._between_edges())
        return _merged(((max(1, round(n)), p) for n, p in groups), self.source)

    def _between_edges(self) -> list[dict[float, float]]:
        """Return length → share for each group; a length on an edge is in both groups, by its share in each."""
        groups: list[dict[float, float]] = [{} for _ in range(len(GROUP_EDGES) + 1)]
        below, at = 0.0, 0
        for n, share in zip(self.lengths, self.probabilities, strict=True):
            left = share
            while at < len(GROUP_EDGES) and below + left > GROUP_EDGES[at]:
                groups[at][n] = GROUP_EDGES[at] - below
                left -= groups[at][n]
                below = GROUP_EDGES[at]
                at += 1
            groups[at][n] = left
            below += left
        return groups


@dataclass(frozen=True, slots=True)
class Profile:
    """A synthetic distribution: a lognormal cut at its longest text, shaped after something measured.

    Attributes:
        mean: mean tokens per text that was measured, and that the profile has.
        cv2: squared coefficient of variation, likewise.
        longest: most tokens of any text that was measured; where the lognormal is cut.
        uncut_mean: mean of the lognormal before the cut, tokens.
        uncut_cv2: its squared coefficient of variation before the cut.
        after: what was measured.
    """

    mean: float
    cv2: float
    longest: int
    uncut_mean: float
    uncut_cv2: float
    after: str


PROFILES: Mapping[str, Profile] = {
    "queries": Profile(
        22.84, 0.1446, 64, 22.8512, 0.146548, "the 300 test queries of SciFact, MiniLM's tokenizer"
    ),
    "abstracts": Profile(
        337.2, 0.1693, 1939, 337.200, 0.169310, "the 5,183 documents of SciFact, MiniLM's tokenizer"
    ),
    "conversations": Profile(
        1154.7, 0.9221, 14050, 1155.63, 0.944627, "ContextTokens of the Azure LLM inference trace 2023, conv"
    ),
    "code": Profile(
        2047.8, 0.9290, 7437, 2338.38, 2.15043, "ContextTokens of the Azure LLM inference trace 2023, code"
    ),
}
"""Named synthetic lengths.

Source: mean, variance and maximum of data/scifact (BEIR, title and text joined by a space, [CLS] and [SEP] counted)
and data/traces (Patel et al., "Splitwise", ISCA 2024, CC BY 4.0), computed on 2026-11-21; a test computes them
again. The figures before the cut are those that give the measured ones after it. There is no public trace of an
embedding service; the last two are prompts of language models and stand for long, skewed input.
"""


def fixed_length(tokens: int) -> LengthDistribution:
    """Return texts that all have `tokens` tokens."""
    return LengthDistribution((tokens,), (1.0,), f"all {tokens} tokens")


def counted_lengths(counts: Iterable[int], source: str) -> LengthDistribution:
    """Return the distribution of these token counts.

    Raises:
        InputError: there are none, or one is below 1.
    """
    seen = Counter(counts)
    total = sum(seen.values())
    if not total:
        raise InputError(f"lengths from {source}: there are none; give at least one text")
    return _merged(((n, count / total) for n, count in seen.items()), source)


def profile_lengths(name: str) -> LengthDistribution:
    """Return a named synthetic distribution.

    Raises:
        InputError: there is no such profile; the known ones are named.
    """
    profile = PROFILES.get(name)
    if profile is None:
        raise InputError(f"unknown length profile {name!r}: use one of {', '.join(PROFILES)}")
    cells = _lognormal(profile.uncut_mean, profile.uncut_cv2, profile.longest)
    return _merged(
        (pair for n, p in cells for pair in _whole(n, p)),
        f"synthetic profile {name!r}: lognormal shaped after {profile.after}",
    )


def _lognormal(mean: float, cv2: float, longest: float) -> list[tuple[float, float]]:
    """Return the mean and the share of each cell of a lognormal; what is longer than the longest is as long as it.

    Source: partial expectations of the lognormal, Johnson, Kotz & Balakrishnan 1994, chapter 14.
    """
    sigma = sqrt(log1p(cv2))
    cut = log(longest / mean) / sigma + sigma / 2  # in standard deviations of the logarithm
    low, high = -_REACH, min(_REACH, cut)
    edges = [low + (high - low) * cell / PROFILE_ATOMS for cell in range(PROFILE_ATOMS + 1)]
    below, partial = [_normal(z) for z in edges], [mean * _normal(z - sigma) for z in edges]
    cells = [
        ((partial[i + 1] - partial[i]) / (below[i + 1] - below[i]), below[i + 1] - below[i])
        for i in range(PROFILE_ATOMS)
    ]
    return [*cells, (longest, _normal(-cut))] if cut < _REACH else cells


def _normal(z: float) -> float:
    """Return the probability that a standard normal is below `z`, exact in the lower tail."""
    return erfc(-z / sqrt(2)) / 2


def _whole(length: float, share: float) -> list[tuple[int, float]]:
    """Return the whole lengths on both sides of one, which share its share so that the mean stays."""
    below = floor(length)
    if below < 1:
        return [(1, share)]
    return [
        (n, p) for n, p in ((below, share * (below + 1 - length)), (below + 1, share * (length - below))) if p
    ]


def _mean(group: Mapping[float, float]) -> float:
    return sum(n * p for n, p in group.items()) / sum(group.values())


def _merged(pairs: Iterable[tuple[int, float]], source: str) -> LengthDistribution:
    shares: dict[int, float] = {}
    for n, p in pairs:
        shares[n] = shares.get(n, 0.0) + p
    total = sum(shares.values())
    lengths = tuple(sorted(shares))
    return LengthDistribution(lengths, tuple(shares[n] / total for n in lengths), source)
