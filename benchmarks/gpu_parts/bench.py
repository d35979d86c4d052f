"""What every part is told: the device, the sizes to measure at, the seed and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from farthing.engine.contract import Ids
from farthing.theory.lengths import PROFILES
from gpu_parts.device import Device

Item = TypeVar("Item")

RAGGED = PROFILES["conversations"]
"""Ragged lengths have this profile's coefficient of variation: long and skewed, as prompts are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes to measure at.

    Attributes:
        lengths: tokens of a text, in the grid.
        batches: texts of a step, in the grid.
        most_tokens: tokens of the largest step of a small model; of one that has billions of weights a quarter.
        product_tokens: tokens that the model's own matrix products are measured at.
        best_products: (M, K, N) among which the card's best product is looked for, beside the model's own.
        line_tokens: tokens of the steps that τ₀ and α are fitted to.
        sequence: tokens of a text where texts are alike.
        sequences: how many of those run at once.
        decode_batches: sequences that generate at once.
        contexts: tokens of each in the cache.
        corpus_texts: texts of the ragged corpus; their mean is `sequence` tokens, where the model takes that.
        corpus_batches: batches that sentence-transformers is tried with on it.
        check_texts: texts that vectors are compared on.
        rounds: turns of each measurement.
        least_s: seconds that a work is repeated in each.
    """

    lengths: tuple[int, ...]
    batches: tuple[int, ...]
    most_tokens: int
    product_tokens: tuple[int, ...]
    best_products: tuple[tuple[int, int, int], ...]
    line_tokens: tuple[int, ...]
    sequence: int
    sequences: tuple[int, ...]
    decode_batches: tuple[int, ...]
    contexts: tuple[int, ...]
    corpus_texts: int
    corpus_batches: tuple[int, ...]
    check_texts: int
    rounds: int
    least_s: float


FULL = Sizes(
    lengths=(128, 512, 1024, 2048, 8192),
    batches=(1, 4, 16, 64),
    most_tokens=131_072,
    product_tokens=(1024, 4096, 16_384),
    best_products=(
        (4096, 4096, 4096),
        (8192, 8192, 8192),
        (16_384, 8192, 8192),
        (8192, 8192, 16_384),
        (2048, 13_312, 2048),
        (16_384, 4096, 24_576),
    ),
    line_tokens=(16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536),
    sequence=1024,
    sequences=(1, 2, 4, 8),
    decode_batches=(1, 4, 16, 64, 128, 256),
    contexts=(1024, 8192),
    corpus_texts=128,
    corpus_batches=(8, 16, 32),
    check_texts=24,
    rounds=5,
    least_s=0.05,
)

TOY = Sizes(
    lengths=(8, 24),
    batches=(1, 3),
    most_tokens=72,
    product_tokens=(16, 64),
    best_products=((32, 32, 32), (64, 48, 80)),
    line_tokens=(8, 16, 48, 96),
    sequence=16,
    sequences=(1, 2, 4),
    decode_batches=(1, 3),
    contexts=(8, 24),
    corpus_texts=6,
    corpus_batches=(2, 3),
    check_texts=5,
    rounds=2,
    least_s=0.0,
)


@dataclass(slots=True)
class Budget:
    """Seconds that a run may take; what is begun is ended.

    Attributes:
        cut: whether something was left out because they were spent.
    """

    seconds: float
    cut: bool = False
    _start: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() - self._start >= self.seconds

    def within(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items while time is left."""
        for item in items:
            if self.spent:
                self.cut = True
                return
            yield item


@dataclass(frozen=True, slots=True)
class Bench:
    """What every part is told."""

    device: Device
    sizes: Sizes
    budget: Budget
    seed: int = 0

    def median_s(self, work: object, *, wall: bool = False) -> float:
        """Return the median seconds of a work at this run's rounds."""
        assert callable(work)
        return self.device.median_s(work, rounds=self.sizes.rounds, least_s=self.sizes.least_s, wall=wall)

    def uniform(self, vocabulary: int, batch: int, length: int) -> list[Ids]:
        """Return texts of random ids, all of one length."""
        generator = np.random.default_rng((self.seed, batch, length))
        return [generator.integers(0, vocabulary, length, np.int32) for _ in range(batch)]

    def ragged(self, vocabulary: int, batch: int, mean: int, most: int) -> list[Ids]:
        """Return texts of random ids whose lengths are drawn: lognormal, about `mean` tokens, 1 to `most`."""
        generator = np.random.default_rng((self.seed, batch, mean, 1))
        spread = np.log1p(RAGGED.cv2)
        drawn = generator.lognormal(np.log(mean) - spread / 2, np.sqrt(spread), batch)
        lengths = np.clip(np.rint(drawn), 1, most).astype(int)
        return [generator.integers(0, vocabulary, length, np.int32) for length in lengths]
