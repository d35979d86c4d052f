"""Vectors of texts that one Embedder has met lately, so that small calls don't compute them again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LARGEST_CALL = 0.1
"""Texts in a call that uses the cache at most, as a share of what the cache holds. Larger ones would push out what
many small ones share."""


class CachedText(NamedTuple):
    """What a text became: float32 (dimension,), its tokens, and whether it was cut at the length limit."""

    vector: npt.NDArray[np.float32]
    tokens: int
    truncated: bool


class VectorCache:
    """The last vectors of one model at one length limit, least recently used first out; safe for threads.

    Attributes:
        capacity: vectors kept at most; 0 keeps none.
        hits: texts that were found here, over all calls.
        misses: texts that were looked up and had to be computed.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.hits = 0
        self.misses = 0
        self._known: OrderedDict[bytes, CachedText] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many vectors are kept."""
        return len(self._known)

    def for_call(self, texts: int) -> VectorCache:
        """Return the cache that a call of so many texts uses: this one, or one that keeps nothing."""
        return self if texts <= max(1.0, self.capacity * LARGEST_CALL) else VectorCache(0)

    def lookup(self, prompt: str, texts: Mapping[int, str]) -> tuple[dict[int, bytes], dict[int, CachedText]]:
        """Find what is known of some texts.

        Args:
            prompt: what is put before each of them.
            texts: by row.

        Returns:
            The key of each row, and what is known, by row; both empty where nothing is kept.
        """
        if not self.capacity:
            return {}, {}
        # The prompt by itself and with its length: the engine may treat it apart from the text.
        start = hashlib.blake2b(f"{len(prompt)} {prompt}".encode("utf-8", "surrogatepass"), digest_size=16)
        keys, known = {}, {}
        for row, text in texts.items():
            digest = start.copy()
            digest.update(text.encode("utf-8", "surrogatepass"))
            keys[row] = digest.digest()
        with self._lock:
            for row, key in keys.items():
                if (found := self._known.get(key)) is not None:
                    self._known.move_to_end(key)
                    known[row] = found
            self.hits += len(known)
            self.misses += len(keys) - len(known)
        return keys, known

    def keep(self, texts: Iterable[tuple[bytes, CachedText]]) -> None:
        """Keep texts by their keys, and forget those least recently used."""
        with self._lock:
            for key, text in texts:
                self._known[key] = text
                self._known.move_to_end(key)
            while len(self._known) > self.capacity:
                self._known.popitem(last=False)
