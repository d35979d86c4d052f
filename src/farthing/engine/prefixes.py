"""Prefixes that many texts begin with: how long they are, and what was made of them once, kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]

PREFIXES_KEPT = 16
"""A model has a few prompts, and each has one."""

SHORTEST_PREFIX = 4
"""Tokens that a shared prefix has at least; of fewer the reuse saves nothing."""


class Prefixes:
    """The keys and values of prefixes on one device, each made when it is first asked for, by whichever lane asks."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Any] = {}
        self._lock = Lock()

    def of(self, ids: Ids, make: Callable[[Ids], Any]) -> tuple[Any, bool]:
        """Return the keys and values of some tokens, and whether they were made just now."""
        key = ids.tobytes()
        with self._lock:
            made_now = key not in self._kept
            if made_now:
                made = make(ids)
                if len(self._kept) >= PREFIXES_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = made
            return self._kept[key], made_now


def shared_prefix(prompt: Ids, texts: Sequence[Ids]) -> int:
    """Return how many tokens all texts and the prompt begin with; 0 where it would be hardly worth it.

    Every text keeps a token of its own. Where a prompt and a text meet, a tokenizer may join what was apart, so
    tokens are compared, not characters.
    """
    most = min([len(prompt), *(len(one) - 1 for one in texts)])
    for one in texts:
        if not np.array_equal(one[:most], prompt[:most]):
            most = int(np.argmax(one[:most] != prompt[:most]))
    return most if most >= SHORTEST_PREFIX else 0
