"""Vectors of texts that one Embedder has met lately, so that small calls don't compute them again.

Bounded by a number of vectors, least recently used first out; safe for threads. Large calls pass it by: they would push
out what many small ones share, and find repeats of their own in the pipeline. Knows no model and no prompt's name.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from farthing.embedding.steps import EmbeddedTexts, Totals

LARGEST_CALL = 0.1
"""Texts in a call that uses the cache at most, as a share of what the cache holds."""


class CachedText(NamedTuple):
    """What a text became: float32 (dimension,), its tokens, and whether it was cut at the length limit."""

    vector: npt.NDArray[np.float32]
    tokens: int
    truncated: bool


class Cached(NamedTuple):
    """Texts of a call that came from the cache, their tokens, and how many of them are cut at the limit."""

    texts: int = 0
    tokens: int = 0
    truncated: int = 0


class VectorCache:
    """The last vectors of one model at one length limit.

    Attributes:
        capacity: vectors kept at most; 0 keeps none.
        max_length: the limit: tokens of a text that may have been cut.
        hits: texts that were found here, over all calls.
        misses: texts that were looked up and had to be computed.
    """

    def __init__(self, capacity: int, max_length: int) -> None:
        self.capacity = capacity
        self.max_length = max_length
        self.hits = 0
        self.misses = 0
        self._known: OrderedDict[bytes, CachedText] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many vectors are kept."""
        return len(self._known)

    def lookup(self, texts: Sequence[str], prefix: str) -> Lookup:
        """Find what is known of a call's texts.

        Args:
            texts: the texts.
            prefix: what is put before each of them.
        """
        if not 0 < len(texts) <= max(1.0, self.capacity * LARGEST_CALL) or not self.capacity:
            return Lookup(None, texts, prefix, [], {})
        # The prefix by itself and with its length: the engine may treat it apart from the text.
        start = hashlib.blake2b(
            f"{self.max_length} {len(prefix)} {prefix}".encode("utf-8", "surrogatepass"), digest_size=16
        )
        keys, known = [], {}
        for text in texts:
            digest = start.copy()
            digest.update(text.encode("utf-8", "surrogatepass"))
            keys.append(digest.digest())
        with self._lock:
            for row, key in enumerate(keys):
                if (found := self._known.get(key)) is not None:
                    self._known.move_to_end(key)
                    known[row] = found
            self.hits += len(known)
            self.misses += len(keys) - len(known)
        return Lookup(self, texts, prefix, keys, known)

    def keep(self, texts: Iterable[tuple[bytes, CachedText]]) -> None:
        """Keep texts by their keys, and forget those least recently used."""
        with self._lock:
            for key, text in texts:
                self._known[key] = text
                self._known.move_to_end(key)
            while len(self._known) > self.capacity:
                self._known.popitem(last=False)


class Lookup:
    """One call's texts: which are known, and how the others join them.

    Attributes:
        cached: those that came from the cache.
    """

    def __init__(
        self,
        cache: VectorCache | None,
        texts: Sequence[str],
        prefix: str,
        keys: list[bytes],
        known: dict[int, CachedText],
    ) -> None:
        self.cached = Cached(
            len(known),
            sum(one.tokens for one in known.values()),
            sum(one.truncated for one in known.values()),
        )
        self._cache, self._texts, self._prefix, self._keys, self._known = cache, texts, prefix, keys, known

    def missing(self) -> Iterator[str]:
        """Yield the texts to compute, with the prefix; each call yields them anew."""
        return (self._prefix + text for row, text in enumerate(self._texts) if row not in self._known)

    def joined(self, computed: Iterable[EmbeddedTexts], totals: Totals) -> Iterator[EmbeddedTexts]:
        """Yield every text of the call in order, and keep what was computed.

        Args:
            computed: what became of `missing`; consumed here.
            totals: of those, once they are consumed.
        """
        if self._cache is None:
            yield from computed
            return
        missing = [row for row in range(len(self._texts)) if row not in self._known]
        parts = list(computed) if missing else []  # no thread starts for nothing
        if parts:
            vectors = np.concatenate([part.vectors for part in parts])
            tokens = np.concatenate([part.tokens for part in parts])
            self._keep(missing, vectors, tokens, totals.truncated)
        if not self._known:
            yield from parts
            return
        width = next(iter(self._known.values())).vector.size
        every = EmbeddedTexts(
            np.empty((len(self._texts), width), np.float32), np.empty(len(self._texts), np.int32)
        )
        if parts:
            every.vectors[missing], every.tokens[missing] = vectors, tokens
        for row, one in self._known.items():
            every.vectors[row], every.tokens[row] = one.vector, one.tokens
        yield every

    def _keep(
        self, rows: list[int], vectors: npt.NDArray[np.float32], tokens: npt.NDArray[np.int32], truncated: int
    ) -> None:
        assert self._cache is not None
        at_limit = tokens == self._cache.max_length
        # A text that is cut has as many tokens as the limit. Where another has as many by itself, nobody knows
        # which of them were cut, and receipts count those: they are not kept.
        unsure = 0 < truncated < np.count_nonzero(at_limit)
        self._cache.keep(
            (
                self._keys[row],
                CachedText(vectors[place].copy(), int(tokens[place]), bool(truncated and at_limit[place])),
            )
            for place, row in enumerate(rows)
            if not (unsure and at_limit[place])
        )
