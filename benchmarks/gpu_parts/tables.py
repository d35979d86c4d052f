"""Markdown tables, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits; a dash for none."""
    if value is None:
        return "–"
    if value and abs(value) < 10 ** (digits - 1):
        return f"{value:.{digits}g}"
    return f"{value:,.0f}"


def share(value: float | None) -> str:
    """Return a fraction as a percentage; a dash for none."""
    return "–" if value is None else f"{value:.1%}"


def ms(seconds: float | None) -> str:
    """Return milliseconds."""
    return "–" if seconds is None else f"{number(seconds * 1e3)} ms"


def tflops(flops_per_s: float | None) -> str:
    """Return TFLOP/s."""
    return "–" if flops_per_s is None else f"{number(flops_per_s / 1e12)} TFLOP/s"


def gib(count: float | None) -> str:
    """Return GiB."""
    return "–" if count is None else f"{count / 2**30:.1f} GiB"
