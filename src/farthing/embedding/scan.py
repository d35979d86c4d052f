"""One pass over an input before anything is computed: is every row usable, and how much is there?"""

from __future__ import annotations

import hashlib
import heapq
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace

SAMPLE_TEXTS = 2000
SAMPLE_BYTES = 64_000_000


@dataclass(frozen=True)
class Scan:
    """What an input holds.

    Attributes:
        texts: count.
        characters: sum over all texts, in Unicode code points.
        capped_characters: the same with each text counted to `cap` at most.
        cap: characters past which a text is taken to be truncated, so that more of them are no more work.
        sample: different texts, drawn uniformly from all different texts, each whole.
        repeats: how often each text of the sample occurs in the input.
    """

    texts: int
    characters: int
    capped_characters: int
    cap: int
    sample: tuple[str, ...]
    repeats: tuple[int, ...]

    @property
    def scale(self) -> float:
        """Characters of all different texts per character of the sample, exact where nothing repeats.

        A ratio estimate, of capped characters: the sample's own repeats say how much of the input is repeats.
        """
        sampled = sum(
            count * min(len(text), self.cap) for text, count in zip(self.sample, self.repeats, strict=True)
        )
        if sampled:
            return self.capped_characters / sampled
        return self.texts / max(1, sum(self.repeats))

    def prefixed(self, prefix: str) -> Scan:
        """Return the scan of the same input with `prefix` before each text."""
        return replace(
            self,
            characters=self.characters + len(prefix) * self.texts,
            capped_characters=self.capped_characters + len(prefix) * self.texts,
            cap=self.cap + len(prefix),
            sample=tuple(prefix + text for text in self.sample),
        )


def scan(
    source: Iterable[str],
    *,
    cap: int = 1 << 62,
    sample_texts: int = SAMPLE_TEXTS,
    sample_bytes: int = SAMPLE_BYTES,
) -> Scan:
    """Read every text once, so that a bad row is found before compute is spent on those above it.

    Memory is bounded by `sample_bytes` plus one text. Where the texts are so long that
    `sample_texts` of them would not fit, the sample holds fewer (at least one): no text is cut.

    Args:
        source: the input; its own errors are this pass's findings.
        cap: characters past which a text is taken to be truncated.
        sample_texts: texts in the sample at most.
        sample_bytes: memory of the sample at most, in bytes.

    Raises:
        InputError: the input or a row of it is not usable.
    """
    texts = characters = capped_characters = 0
    sample = _BottomK(sample_texts, sample_bytes)
    for text in source:
        texts += 1
        characters += len(text)
        capped_characters += min(len(text), cap)
        sample.offer(text)
    return Scan(texts, characters, capped_characters, cap, *sample.drawn())


class _BottomK:
    """The different texts whose hashes are the smallest, and how often each occurred.

    The hash makes the draw uniform over different texts, however often each repeats. A text that is in at
    the end was in from its first occurrence, so its count is exact.

    Source: Cohen & Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._free_bytes = max_bytes
        self._limit = 1 << 64
        self._largest: list[int] = []  # a heap of negated hashes: its top is the next to go
        self._texts: dict[int, str] = {}
        self._counts: dict[int, int] = {}

    def offer(self, text: str) -> None:
        """Count a text, and hold it if its hash is among the smallest."""
        digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
        key = int.from_bytes(digest, "big")
        if key in self._counts:
            self._counts[key] += 1
            return
        if key >= self._limit:
            return
        self._texts[key], self._counts[key] = text, 1
        heapq.heappush(self._largest, -key)
        self._free_bytes -= sys.getsizeof(text)
        while len(self._texts) > self._capacity or (self._free_bytes < 0 and len(self._texts) > 1):
            self._limit = -heapq.heappop(self._largest)
            self._free_bytes += sys.getsizeof(self._texts.pop(self._limit))
            del self._counts[self._limit]

    def drawn(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return the texts and their counts, in the order of the hashes, which is as good as shuffled."""
        keys = sorted(self._texts)
        return tuple(self._texts[key] for key in keys), tuple(self._counts[key] for key in keys)
