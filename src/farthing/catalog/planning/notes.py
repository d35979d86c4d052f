"""What a reader should know before believing a plan, in a sentence each.

Knows what was given and assumed. Decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farthing.catalog.planning.api_offers import BATCH_ENDPOINT_S, batch_share_of_corpus
from farthing.catalog.rows import TokensPerCharacter
from farthing.theory.lengths import LengthDistribution
from farthing.units import SECONDS_PER_HOUR, format_number, format_seconds

if TYPE_CHECKING:
    from farthing.catalog.planning.trace_file import Trace
    from farthing.catalog.text_limit import TextLimit

_WITHIN = f"{BATCH_ENDPOINT_S / SECONDS_PER_HOUR:g} hours"


def tokenizer_note(tokenizer: TokensPerCharacter) -> str:
    """Return how many tokens the model makes of a character, and who says so."""
    return (
        f"this model makes {tokenizer.mid:.3g} tokens of a character "
        f"({tokenizer.low:.3g}–{tokenizer.high:.3g}): {tokenizer.source}"
    )


def trace_notes(arrivals: Trace | None) -> list[str]:
    """Return how a trace was taken, if there is one."""
    if arrivals is None:
        return []
    return [
        f"the trace's busiest minute has {format_number(arrivals.peak_to_mean)}× its mean rate; the squared "
        f"coefficient of variation between arrivals is {format_number(arrivals.interarrival_cv2)} (Poisson: 1); its "
        f"{format_seconds(arrivals.arrivals_s[-1])} are taken for a whole day"
    ]


def cut_notes(texts: LengthDistribution, limit: TextLimit) -> list[str]:
    """Return which share of the texts a model cuts, where, and who says so; nothing if none."""
    longer = texts.share_above(limit.tokens)
    if not longer:
        return []
    return [
        f"{format_number(100 * longer)} % of the texts are longer than the {limit.tokens:,} tokens that the model "
        f"takes, and cut ({limit.source})"
    ]


def length_notes(texts: LengthDistribution) -> list[str]:
    """Return what is missed where all texts are taken to be of one length."""
    if len(texts.lengths) > 1:
        return []
    return [
        "all texts are taken to be equally long; different ones wait longer: give a profile or a file as lengths"
    ]


def batch_share_notes(batch_share: float) -> list[str]:
    """Return which of their prices APIs bill a service, where some of it can wait."""
    if not batch_share:
        return []
    return [
        f"APIs bill the {batch_share:.0%} that can wait at their batch price where one is known; batch endpoints "
        f"promise results within {_WITHIN}"
    ]


def deadline_note(deadline_s: float) -> str:
    """Return which of their prices APIs bill a corpus before a deadline."""
    if batch_share_of_corpus(deadline_s):
        return (
            f"APIs are at their batch price where one is known: batch endpoints promise results within {_WITHIN}, "
            "and the deadline leaves that"
        )
    return f"APIs are at list price: batch endpoints promise results within {_WITHIN} only, and the deadline is sooner"
