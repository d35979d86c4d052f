"""Steps that take several texts at once: how their time grows, where that stops paying, how long texts wait.

Knows the line that step times follow, and the policy of the scheduler: a free server takes what waits, up to a
cap, at once, and never waits to fill up; Poisson arrivals, one server, step times that depend on the number of
texts alone. Knows no lengths: whoever has texts of different lengths gives the seconds of mean ones.

Times are infinite where the work offered is at least what the server can do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farthing.errors import InputError
from farthing.theory.queueing.batch_queue import BatchQueue

SATURATED = 0.95
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
    """Return n*, the tokens at which a step reaches `SATURATED` of the throughput of endless steps.

    Past it a larger step buys nothing, and everyone in it waits longer. 0 where a step has no overhead.

    Source: n/(τ₀ + αn) = .95/α gives n* = 19·τ₀/α.
    """
    return SATURATED / (1 - SATURATED) * line.overhead_s / line.token_s


def mean_time_in_system_bound_s(arrivals_per_s: float, overhead_s: float, text_s: float) -> float:
    """Return what the mean seconds from arrival to the end of the step do not exceed; infinite if λα ≥ 1.

    For steps of τ₀ + α·n seconds that take all n texts that wait, without a cap.

    Args:
        arrivals_per_s: λ, texts per second, at least 0.
        overhead_s: τ₀, at least 0.
        text_s: α, above 0.

    Raises:
        InputError: an argument is out of its range.

    Source: Inoue 2021, "Queueing analysis of GPU-based inference servers with dynamic batching", Performance
    Evaluation (arXiv 1912.06322): min(φ₀, φ₁).
    """
    line = StepLine(overhead_s, text_s)
    if not 0 <= arrivals_per_s < math.inf:
        raise InputError(f"arrivals per second: {arrivals_per_s}: give a number of at least 0")
    load, overheads = arrivals_per_s * line.token_s, arrivals_per_s * line.overhead_s
    if load >= 1:
        return math.inf
    low_load = (text_s + overhead_s) / (2 * (1 - load)) * (1 + 2 * overheads + (1 - overheads) / (1 + load))
    high_load = 3 * overhead_s / (2 * (1 - load)) + text_s / 2 * (load + 2) / (1 - load**2)
    return min(low_load, high_load)


def batch_time_in_system_quantile_s(
    arrivals_per_s: float, step_s: Callable[[int], float], largest_batch: int, quantile: float = 0.99
) -> float:
    """Return the quantile of the seconds from arrival to the end of the step; infinite if it never settles.

    Args:
        arrivals_per_s: texts per second, at least 0.
        step_s: from the number of texts in a step to its seconds.
        largest_batch: most texts in a step, at least 1.
        quantile: a probability of at least 0 and below 1.

    Raises:
        InputError: an argument is out of its range.

    Source: the embedded Markov chain, as in `batch_queue.BatchQueue`.
    """
    return BatchQueue(arrivals_per_s, step_s, largest_batch).quantile_s(quantile)


def batch_mean_time_in_system_s(
    arrivals_per_s: float, step_s: Callable[[int], float], largest_batch: int
) -> float:
    """Return the mean seconds from arrival to the end of the step; infinite if it never settles.

    Args:
        arrivals_per_s: texts per second, at least 0.
        step_s: from the number of texts in a step to its seconds.
        largest_batch: most texts in a step, at least 1.

    Raises:
        InputError: an argument is out of its range.

    Source: the embedded Markov chain, as in `batch_queue.BatchQueue`.
    """
    return BatchQueue(arrivals_per_s, step_s, largest_batch).mean_s()
