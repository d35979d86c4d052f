"""The smallest number that is enough, in few questions.

Knows whole numbers. Knows not what they count.
"""

from __future__ import annotations

from collections.abc import Callable


def smallest(keeps: Callable[[int], bool], least: int, guess: int, most: int) -> int | None:
    """Return the smallest count of at least `least` that keeps, looking outwards from `guess`; None above `most`.

    Whatever more than a count that keeps, keeps too.
    """
    step = 1
    if keeps(guess):
        high, low = guess, max(least - 1, guess - step)
        while low >= least and keeps(low):
            high, step = low, 2 * step
            low = max(least - 1, high - step)
    else:
        low, high = guess, guess + step
        while not keeps(high):
            if high > most:
                return None
            low, step = high, 2 * step
            high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
