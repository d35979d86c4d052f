"""Where larger steps stop paying: the line that step times follow, and the tokens that nearly reach its throughput."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from farthing.errors import InputError

SATURATION = 0.95
"""Share of the throughput of endless steps at which a step counts as saturated: past it, twice the
tokens bring at most 2.6 % more. A choice."""


@dataclass(frozen=True, slots=True)
class StepLine:
    """Step time as a line in the tokens (or texts) of the step.

    Attributes:
        overhead_s: τ₀, seconds of a step beside what its tokens take, at least 0.
        token_s: α, seconds that one token more takes, above 0.
    """

    overhead_s: float
    token_s: float

    def __post_init__(self) -> None:
        """Check the line.

        Raises:
            InputError: a number is out of its range.
        """
        if not (0 <= self.overhead_s < math.inf and 0 < self.token_s < math.inf):
            raise InputError(
                f"step line of {self.overhead_s} s and {self.token_s} s per token: give seconds of at least 0, "
                "and above 0 per token"
            )

    def seconds(self, tokens: float) -> float:
        """Return the seconds of a step of `tokens` tokens."""
        return self.overhead_s + self.token_s * tokens


def fit_step_line(points: Sequence[tuple[int, float]]) -> StepLine:
    """Return the line through measured steps whose relative errors have the least sum of squares.

    Relative ones, because what a measured step is off by is about a share of its time, and because the small
    steps, which tell τ₀, would count for nothing beside the large ones. Where the best τ₀ is below 0, it is 0
    and α is fitted alone.

    Args:
        points: tokens of a step, and its seconds.

    Raises:
        InputError: fewer than two different numbers of tokens, a number that is not above 0, or seconds that
            do not grow with the tokens.

    Source: weighted least squares with weights 1/seconds².
    """
    if len({tokens for tokens, _ in points}) < 2:
        raise InputError(
            f"step line from {len(points)} points: give at least two different numbers of tokens"
        )
    if not all(tokens > 0 and 0 < seconds < math.inf for tokens, seconds in points):
        raise InputError("step line: a point is not above 0: give tokens and seconds above 0")
    weights = [seconds**-2 for _, seconds in points]
    total = math.fsum(weights)
    mean_tokens = math.fsum(w * n for w, (n, _) in zip(weights, points, strict=True)) / total
    mean_s = math.fsum(w * s for w, (_, s) in zip(weights, points, strict=True)) / total
    spread = math.fsum(w * (n - mean_tokens) ** 2 for w, (n, _) in zip(weights, points, strict=True))
    together = math.fsum(w * (n - mean_tokens) * s for w, (n, s) in zip(weights, points, strict=True))
    token_s = together / spread
    if token_s <= 0:
        raise InputError(
            "step line: the seconds do not grow with the tokens: measure again, with larger steps"
        )
    overhead_s = mean_s - token_s * mean_tokens
    if overhead_s < 0:
        squares = math.fsum(w * n * n for w, (n, _) in zip(weights, points, strict=True))
        products = math.fsum(w * n * s for w, (n, s) in zip(weights, points, strict=True))
        return StepLine(0.0, products / squares)
    return StepLine(overhead_s, token_s)


def saturation_tokens(line: StepLine) -> float:
    """Return n*, the tokens at which a step reaches `SATURATION` of the throughput of endless steps.

    Past it a larger step buys nothing, and everyone in it waits longer. 0 where a step has no overhead.

    Source: n/(τ₀ + αn) = .95/α gives n* = 19·τ₀/α.
    """
    return SATURATION / (1 - SATURATION) * line.overhead_s / line.token_s
