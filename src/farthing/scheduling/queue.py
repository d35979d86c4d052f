"""What waits, and what a free lane takes of it: one policy for the simulator, for jobs and for the server."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Collection, Hashable
from operator import attrgetter
from typing import Generic, TypeVar

from farthing.errors import InputError, QueueFullError

Text = TypeVar("Text")

FILLER = sys.maxsize
"""Work class of what is taken only while nothing else waits: it does not age, and the limit does not count it."""

_KEPT_LINES = 64
"""Lines in which nothing waits are kept, since making one takes time, until there are so many."""

_rank = attrgetter("rank")


class _Line(deque[Text]):
    """Texts of one group and work class, in the order in which they were added."""

    def __init__(self, group: Hashable, rank: int, later_s: float) -> None:
        """Start empty.

        Args:
            group: what they may share a step with.
            rank: lines of a lower rank go first.
            later_s: seconds by which their class puts them behind texts of class 0 that came when they did.
        """
        self.group, self.rank, self.later_s = group, rank, later_s


class Queue(Generic[Text]):
    """Texts that wait, and the order in which they are taken. One thread at a time may use it.

    A text is any object that its owner wants back: a row, a part of a request, a batch of a job that runs in one step.

    A step begins with the text whose arrival + work class × ageing is least: a text of class c waits for no step whose
    first text arrived more than c × ageing after it. The step goes on with texts of the same group: first those of the
    same class, in the order in which they were added, then those of the classes that are next.

    Attributes:
        tokens: tokens that wait, filler left out; counted only where there is a limit.
        tokens_per_s: rate at which they leave, which the owner measures and sets; None: not known.
    """

    def __init__(
        self,
        tokens_of: Callable[[Text], float],
        arrived_s_of: Callable[[Text], float],
        *,
        ageing_s: float = math.inf,
        max_tokens: float = math.inf,
    ) -> None:
        """Start empty.

        Args:
            tokens_of: a text's length.
            arrived_s_of: when a text came, in seconds from any start; texts are added in that order, or nearly.
            ageing_s: seconds of waiting that make up for one class; ∞: a class waits for every text of those before it.
            max_tokens: most tokens that wait, filler left out; what comes while nothing waits may exceed it.

        Raises:
            InputError: the ageing is below 0.
        """
        if not ageing_s >= 0:
            raise InputError(f"queue: ageing of {ageing_s} s: give seconds, 0 or more")
        self._tokens_of, self._arrived_s_of = tokens_of, arrived_s_of
        self._ageing_s, self._max_tokens, self._limited = ageing_s, max_tokens, max_tokens < math.inf
        self.tokens = 0.0
        self.tokens_per_s: float | None = None
        self._online: dict[tuple[Hashable, int], _Line[Text]] = {}
        self._filler: dict[tuple[Hashable, int], _Line[Text]] = {}

    def __len__(self) -> int:
        return sum(map(len, (*self._online.values(), *self._filler.values())))

    def add(self, texts: Collection[Text], work_class: int = 0, group: Hashable = None) -> None:
        """Let texts wait: all of them, or none if there is no room.

        Args:
            texts: such as those of a request.
            work_class: 0 goes first, `FILLER` only while nothing else waits.
            group: what all texts of a step have in common: their model and prompt.

        Raises:
            QueueFullError: there is no room.
        """
        lines = self._filler if work_class == FILLER else self._online
        if self._limited and lines is self._online:
            waiting = self.tokens + sum(map(self._tokens_of, texts))
            if waiting > self._max_tokens and self.tokens:
                raise QueueFullError(self.tokens, self.tokens_per_s)
            self.tokens = waiting
        line = lines.get((group, work_class))
        if line is None:
            if len(lines) >= _KEPT_LINES:
                for name in [name for name, line in lines.items() if not line]:
                    del lines[name]
            ages = self._ageing_s < math.inf and work_class != FILLER
            rank, later_s = (0, work_class * self._ageing_s) if ages else (work_class, 0.0)
            line = lines[group, work_class] = _Line(group, rank, later_s)
        line.extend(texts)

    def cancel(self, text: Text) -> bool:
        """Forget a text that waits and return True; False where it does not, for example since its step began.

        It is looked for among all that wait, the longest waiting first: 10,000 others take a fraction of a millisecond.
        """
        for lines in (self._online, self._filler):
            for line in lines.values():
                if text in line:
                    line.remove(text)
                    if self._limited and lines is self._online:
                        self.tokens -= self._tokens_of(text)
                    return True
        return False

    def take(
        self,
        step_tokens: float = math.inf,
        lanes: int = 1,
        *,
        step_texts: float = math.inf,
        free_tokens: float = 0.0,
        filler_tokens: float = math.inf,
    ) -> list[Text]:
        """Return the texts of the next step, which wait no longer; none if nothing waits.

        Args:
            step_tokens: most tokens of a step; a single text may exceed it.
            lanes: lanes that share what waits: each takes ⌈texts that wait / lanes⌉ at most, and leaves the rest to
                those that are free next. 1: it takes whatever waits.
            step_texts: most texts of a step.
            free_tokens: tokens up to which a step takes no longer for more of them: a share is filled up to there.
            filler_tokens: most tokens of a step of filler, since what comes meanwhile waits for its end.
        """
        lines = [line for line in self._online.values() if line]
        online = bool(lines)
        if not online:
            lines = [line for line in self._filler.values() if line]
            if not lines:
                return []
            step_tokens = min(step_tokens, filler_tokens)
        if len(lines) > 1:
            # Ranks settle it more often than not, and are quicker to compare than arrivals.
            lines.sort(key=_rank)
            if lines[0].rank == lines[1].rank:
                lines.sort(key=self._place)
        share = step_texts
        if lanes > 1 and (own := -(-sum(map(len, lines)) // lanes)) < share:
            share = own
        step: list[Text] = []
        tokens, tokens_of = 0.0, self._tokens_of
        for line in lines:
            if line.group != lines[0].group:
                continue
            while line:
                filled = tokens + tokens_of(line[0])
                if filled > step_tokens or len(step) >= share:
                    free = filled <= free_tokens and filled <= step_tokens and len(step) < step_texts
                    if step and not free:
                        break
                step.append(line.popleft())
                tokens = filled
            if line:
                break
        if self._limited and online:
            self.tokens -= tokens
        return step

    def _place(self, line: _Line[Text]) -> tuple[int, float]:
        return line.rank, self._arrived_s_of(line[0]) + line.later_s
