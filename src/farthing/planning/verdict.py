"""The answer in a sentence, whether the order of rows survives what is not known, and what a reader should know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from farthing.catalog.rows import TokensPerCharacter
from farthing.planning.answer import ApiOffer, BreakEven, Offered, Order, PlanDemand, PlanRow
from farthing.planning.apis import BATCH_ENDPOINT_S, batch_share_of_corpus
from farthing.theory.lengths import LengthDistribution
from farthing.units import SECONDS_PER_HOUR, format_amount, format_number, format_seconds, format_usd

if TYPE_CHECKING:
    from farthing.catalog.text_limit import TextLimit
    from farthing.planning.asked.trace import Trace
    from farthing.planning.corpus import CorpusRow

MOST_COMPARED = 3
"""Rows that the cheapest is compared with."""


_WITHIN = f"{BATCH_ENDPOINT_S / SECONDS_PER_HOUR:g} hours"


def order_of(rows: Sequence[PlanRow]) -> tuple[Order, ...]:
    """Return whether the cheapest row stays ahead of the next devices over the intervals of prices and step times.

    A device counts once, at its cheapest: whether two offers of one change places is no news.

    Args:
        rows: rows in order of cost.
    """
    cheapest: dict[str, PlanRow] = {}
    for row in rows:
        if row.feasible:
            cheapest.setdefault(row.device, row)
    ranked = list(cheapest.values())
    return tuple(_order(ranked[0], other) for other in ranked[1 : 1 + MOST_COMPARED])


def _order(best: PlanRow, other: PlanRow) -> Order:
    own, theirs = best.usd_per_million_tokens, other.usd_per_million_tokens
    assert own is not None
    assert theirs is not None
    low = None if own.high is None else theirs.low / own.high
    return Order(
        device=named(best),
        against=named(other),
        ratio=theirs.mid / own.mid,
        low=low,
        high=None if theirs.high is None else theirs.high / own.low,
        stays=low is not None and low >= 1,
    )


def named(row: Offered) -> str:
    """Return what a row is called in a sentence."""
    return f"{row.device} spot" if row.spot else row.device


def same_model(api: ApiOffer, model: str) -> bool:
    """Return whether an API serves a model, by the last part of its name."""
    return api.model.lower().rpartition("/")[2] == model.lower().rpartition("/")[2]


def verdict(
    model: str,
    rows: Sequence[PlanRow],
    apis: Sequence[ApiOffer],
    even: Sequence[BreakEven],
    order: Sequence[Order],
    demand: PlanDemand,
) -> str:
    """Return the cheapest that keeps the target, the cheapest APIs, and what would flip the order."""
    target = f"99 % within {format_seconds(demand.p99_s)}"
    best = next((row for row in rows if row.feasible), None)
    if best is None or best.usd_per_million_tokens is None or best.usd_per_month is None:
        return f"No device keeps {target}. {_apis(model, apis, None)}"
    usd = best.usd_per_million_tokens
    what = f"{best.devices} × {named(best)}"
    own = (
        f"Cheapest that keeps {target}: {what} at {best.provider}, {format_usd(best.usd_per_month)} a month, "
        f"{_cents(usd.mid)} per 1M tokens"
    )
    if best.bound_by == "host" and best.replicas != 1:
        own += "; the host sets their number, not the device"
    if best.doubt is not None:
        own += f"; but {best.doubt}"
    following = next((row for row in rows if row is not best and row.feasible), None)
    if following is not None and following.usd_per_million_tokens is not None:
        own += f"; next {named(following)} at {_cents(following.usd_per_million_tokens.mid)}"
    flips = [one.against for one in order if not one.stays]
    if flips:
        own += f"; {', '.join(flips)} may be cheaper, within what is known of prices and speeds"
    return f"{own}. {_apis(model, apis, usd.mid)}{_flips(model, apis, even)}"


def _apis(model: str, apis: Sequence[ApiOffer], own: float | None) -> str:
    named = {
        "the same model": next((api for api in apis if same_model(api, model)), None),
        "any model": next(iter(apis), None),
    }
    parts = []
    for what, api in named.items():
        if api is None:
            parts.append(f"no API is known to sell {what}")
            continue
        price = api.usd_per_million_own_tokens.mid
        beside = ""
        if own is not None:
            ratio = own / price
            beside = f" ({format_number(max(ratio, 1 / ratio))}× {'cheaper' if ratio > 1 else 'dearer'})"
        parts.append(f"{what} by API: {api.provider} {api.model} {_cents(price)}{beside}")
    if named["the same model"] is named["any model"] and named["any model"] is not None:
        parts = [parts[0].replace("the same model", "the same model, and any")]
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def _flips(model: str, apis: Sequence[ApiOffer], even: Sequence[BreakEven]) -> str:
    """Return from which volume the cheapest row beats the cheapest API of the same model, or of any."""
    pairs = list(zip(apis, even, strict=True))
    chosen = next(((api, one) for api, one in pairs if same_model(api, model)), pairs[0] if pairs else None)
    if chosen is None:
        return ""
    api, one = chosen
    if one.tokens_per_day is None:
        return f" At no volume is {one.device} cheaper than {api.provider}."
    return f" {one.device} is cheaper than {api.provider} from {format_amount(one.tokens_per_day)} tokens a day on."


def corpus_verdict(model: str, rows: Sequence[CorpusRow], apis: Sequence[ApiOffer]) -> str:
    """Return the cheapest way to embed a corpus in time, and the cheapest APIs."""
    best = next((row for row in rows if row.feasible), None)
    same = next((api for api in apis if same_model(api, model)), None)
    offers = [("the same model", same), ("any model", next(iter(apis), None))]
    asked = "; ".join(
        f"{what} by API: {format_usd(api.usd_total)} at {api.provider} ({api.model})"
        for what, api in offers
        if api is not None and api.usd_total is not None
    )
    if best is None or best.usd_total is None or best.hours is None:
        return f"No device does it in time. {asked}."
    doubt = f"; but {best.doubt}" if best.doubt is not None else ""
    most = best.usd_total.high
    between = f"{format_usd(best.usd_total.low)} to {format_usd(most)}" if most is not None else ""
    return (
        f"Cheapest: {best.devices} × {named(best)} at {best.provider}, "
        f"{format_usd(best.usd_total.mid)} ({between}), {format_number(best.hours.mid)} hours (at most "
        f"{format_number(best.hours.high)}){doubt}. {asked[:1].upper()}{asked[1:]}."
    )


def _cents(usd: float) -> str:
    return f"{format_number(100 * usd)} ¢"


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


def deadline_note(deadline_s: float | None) -> str:
    """Return which of their prices APIs bill a corpus before a deadline."""
    if deadline_s is None:
        return "APIs are at list price: no deadline is given; from 24 hours on they are at their batch price"
    if batch_share_of_corpus(deadline_s):
        return (
            f"APIs are at their batch price where one is known: batch endpoints promise results within {_WITHIN}, "
            "and the deadline leaves that"
        )
    return f"APIs are at list price: batch endpoints promise results within {_WITHIN} only, and the deadline is sooner"
