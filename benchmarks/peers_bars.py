"""What was asked of Farthing beside its peers, judged from the figures. Knows no engine and measures nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SPEEDUPS = {"docstrings": 1.4, "scifact": 1.05, "mix": 1.8, "mix as it comes": 1.8}
"""Least throughput over the best peer's. Source: issue 4, bar 2, as all of these."""

LATENCY = 1.5
LATENCY_OF_FASTEMBED = 1.0
PREFIX = 1.5
MFU = 0.80


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that was asked for.

    Attributes:
        question: what was measured.
        against: which engine Farthing is set beside, or what of it.
        figure: what was found; None where it could not be.
        least: what was asked.
    """

    question: str
    against: str
    figure: float | None
    least: float

    @property
    def met(self) -> bool | None:
        """Whether the figure is at least what was asked; None where there is no figure."""
        return None if self.figure is None else self.figure >= self.least

    def row(self) -> dict[str, Any]:
        """Return the bar for JSON."""
        return {
            "question": self.question,
            "against": self.against,
            "figure": self.figure,
            "at_least": self.least,
            "met": self.met,
        }


def throughput_bars(question: str, medians_s: Mapping[str, float], ours_of: Mapping[str, str]) -> list[Bar]:
    """Return a bar for each precision: Farthing's against the best peer of the same.

    Args:
        question: docstrings, scifact, mix or mix as it comes.
        medians_s: seconds of each engine.
        ours_of: the Farthing of the same precision for each peer.
    """
    bars = []
    for ours in dict.fromkeys(ours_of.values()):
        peers = [name for name in medians_s if ours_of.get(name) == ours]
        if not peers or ours not in medians_s:
            continue
        best = min(peers, key=lambda name: medians_s[name])
        label = f"{ours} against the best peer, {best}"
        bars.append(Bar(question, label, medians_s[best] / medians_s[ours], SPEEDUPS[question]))
    return bars


def latency_bars(medians_s: Mapping[str, Mapping[str, float]], ours_of: Mapping[str, str]) -> list[Bar]:
    """Return a bar for each peer and length: its median latency over Farthing's of the same precision.

    Args:
        medians_s: for each length, the seconds of each engine.
        ours_of: the Farthing of the same precision for each peer.
    """
    bars = []
    for tokens, medians in medians_s.items():
        for peer, ours in ours_of.items():
            if peer in medians and ours in medians:
                least = LATENCY_OF_FASTEMBED if peer == "fastembed" else LATENCY
                bars.append(
                    Bar(
                        f"latency, {tokens} tokens",
                        f"{ours} against {peer}",
                        medians[peer] / medians[ours],
                        least,
                    )
                )
    return bars


def all_bars(questions: Mapping[str, Any], ours_of: Mapping[str, str]) -> list[Bar]:
    """Return every bar of the questions that were asked, from their figures as the JSON has them."""
    bars: list[Bar] = []
    for question in SPEEDUPS:
        if question in questions:
            bars += throughput_bars(question, _medians(questions[question]["engines"]), ours_of)
    if "latency" in questions:
        by_length = {tokens: _medians(one["engines"]) for tokens, one in questions["latency"].items()}
        bars += latency_bars(by_length, ours_of)
    for corpus, one in questions.get("mfu", {}).items():
        found = one["engines"]["farthing"]["mfu_wall"]
        bars.append(Bar(f"mfu, {corpus}", "wall, over the fp32 GEMM peak", found, MFU))
    if "prefix" in questions:
        medians = _medians(questions["prefix"]["engines"])
        ratio = medians["farthing, plain"] / medians["farthing"]
        bars.append(Bar("prefix", "farthing with prefix reuse against without", ratio, PREFIX))
    return bars


def _medians(engines: Mapping[str, Any]) -> dict[str, float]:
    return {name: row["median_s"] for name, row in engines.items()}


def print_bars(bars: Iterable[Bar]) -> None:
    """Print the bars as a table."""
    print("\n| question | | found | asked | met |\n|---|---|---|---|---|")
    for bar in bars:
        found = "not measured" if bar.figure is None else f"{bar.figure:.3f}"
        met = "" if bar.met is None else "yes" if bar.met else "no"
        print(f"| {bar.question} | {bar.against} | {found} | ≥ {bar.least:g} | {met} |")
