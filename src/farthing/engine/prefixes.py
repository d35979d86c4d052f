"""Prefixes that many texts begin with: what was made of them once is kept, and made of causal models only.

Knows a checkpoint's kind. What is made, keys and values on whatever device, is the model's.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.network.packing import Ids
from farthing.errors import InputError

PREFIXES_KEPT = 16
"""Prefixes that are kept: a model has a few prompts, and each has one."""

Past = TypeVar("Past")


class Prefixes(Generic[Past]):
    """The keys and values of prefixes, each made when it is first asked for. Several threads may ask."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._kept: dict[bytes, Past] = {}
        self._lock = Lock()

    def of(self, ids: Ids, make: Callable[[Ids], Past]) -> tuple[Past, bool]:
        """Return the keys and values of some tokens, and whether they were made just now.

        Args:
            ids: int32 (P,), at least one token.
            make: token ids to their keys and values. Not kept: it belongs to the model, which keeps this.

        Raises:
            InputError: the model attends both ways, or its pooling reads more than the last token.
        """
        if not self._checkpoint.reuses_prefixes:
            raise InputError(
                f"{self._checkpoint.name}: a prefix is reused by causal models with last-token pooling only"
            )
        key = ids.tobytes()
        with self._lock:
            made_now = key not in self._kept
            if made_now:
                made = make(ids)
                if len(self._kept) >= PREFIXES_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = made
            return self._kept[key], made_now
