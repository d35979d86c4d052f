"""What the APIs ask for the same text, by each tokenizer's count, and from which volume on devices are cheaper."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from farthing.catalog.lookups import is_old
from farthing.catalog.rows import ApiPrice, BatchPrice, TokensPerCharacter
from farthing.planning.answer import ApiOffer, BreakEven, CharacterRate, PlanDemand
from farthing.planning.replicas.station import Station
from farthing.planning.replicas.waiting import approximated, smallest
from farthing.planning.rows import Served
from farthing.theory.pricing import DAYS_PER_MONTH, SECONDS_PER_DAY
from farthing.theory.time.steps import Interval
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

BATCH_ENDPOINT_S = SECONDS_PER_DAY
"""Seconds within which batch endpoints promise their results: OpenAI and Google a day, Voyage half of one.

Source: OpenAI's Batch API and Voyage's (blog.voyageai.com/2025/12/04/batch-api), completion windows.
"""

MOST_COMPARED = 1024
"""Replicas up to which a break-even is looked for; a larger fleet gains nothing more from its shared queue."""


def api_offers(
    apis: Sequence[ApiPrice],
    own: TokensPerCharacter,
    day: datetime.date,
    tokens_per_day: float | None = None,
    *,
    corpus_tokens: float | None = None,
    batch_share: float = 0.0,
) -> tuple[ApiOffer, ...]:
    """Return what the APIs ask for the same characters, the cheapest first.

    Args:
        apis: their prices.
        own: tokens per character of the planned model.
        day: day for which prices are wanted.
        tokens_per_day: what is served, in the model's own tokens; None leaves the monthly bill None.
        corpus_tokens: what is embedded once, in the model's own tokens; None leaves the total None.
        batch_share: share of the tokens (0–1) that can wait for a batch endpoint: they are billed at the batch
            price where one is known.
    """
    offers = []
    for api in apis:
        if api.date > day:
            continue  # not known yet
        batch = api.batch if api.batch is not None and api.batch.date <= day else None
        listed = billed = api.usd_per_million_tokens
        if batch is not None:
            billed = (1 - batch_share) * listed + batch_share * batch.usd_per_million_tokens
        offers.append(_offer(api, batch, billed, own, day, tokens_per_day, corpus_tokens))
    return tuple(sorted(offers, key=lambda offer: offer.usd_per_million_own_tokens.mid))


def batch_share_of_corpus(deadline_s: float | None) -> float:
    """Return the share of a corpus that can wait for a batch endpoint: all of it, or nothing."""
    return 1.0 if deadline_s is not None and deadline_s >= BATCH_ENDPOINT_S else 0.0


def _offer(
    api: ApiPrice,
    batch: BatchPrice | None,
    billed: float,
    own: TokensPerCharacter,
    day: datetime.date,
    tokens_per_day: float | None,
    corpus_tokens: float | None,
) -> ApiOffer:
    rate = api.tokens_per_character
    # The same tokenizer counts the same, whatever the text: no interval is left.
    same = rate.tokenizer == own.tokenizer and bool(rate.vocabularies)
    per_own = Interval(low=billed, mid=billed, high=billed) if same else _per_own_token(billed, rate, own)
    monthly = total = None
    if tokens_per_day is not None:
        monthly = per_own.mid * tokens_per_day * DAYS_PER_MONTH / TOKENS_PER_MILLION
    if corpus_tokens is not None:
        total = per_own.mid * corpus_tokens / TOKENS_PER_MILLION
    return ApiOffer(
        provider=api.provider,
        model=api.model,
        usd_per_million_tokens=api.usd_per_million_tokens,
        usd_per_million_tokens_batch=None if batch is None else batch.usd_per_million_tokens,
        usd_per_million_tokens_billed=billed,
        tokens_per_character=CharacterRate(low=rate.low, mid=rate.mid, high=rate.high, source=rate.source),
        usd_per_million_characters=Interval(
            low=billed * rate.low, mid=billed * rate.mid, high=billed * rate.high
        ),
        usd_per_million_own_tokens=per_own,
        usd_per_month=monthly,
        usd_total=total,
        as_of=api.date.isoformat(),
        stale=is_old(api.date, day),
        source=api.source,
        batch_as_of=None if batch is None else batch.date.isoformat(),
        batch_stale=batch is not None and is_old(batch.date, day),
        batch_source=None if batch is None else batch.source,
    )


def _per_own_token(billed: float, theirs: TokensPerCharacter, own: TokensPerCharacter) -> Interval:
    """Return a price per million tokens of another tokenizer.

    Where both tokenizers were measured, the same kinds of text are at the ends of both intervals, so end is set
    beside end. One that was not measured may be anywhere in its interval, whatever the other does.
    """
    low, mid, high = billed * theirs.low, billed * theirs.mid, billed * theirs.high
    if theirs.vocabularies and own.vocabularies:
        prices = sorted((low / own.low, mid / own.mid, high / own.high))
        return Interval(low=prices[0], mid=mid / own.mid, high=prices[-1])
    return Interval(low=low / own.high, mid=mid / own.mid, high=high / own.low)


def break_evens(best: Served, apis: Sequence[ApiOffer], demand: PlanDemand) -> tuple[BreakEven, ...]:
    """Return the break-even of the cheapest row against each API, in the order given.

    One replica pays for itself at T₁ = its price of a day / the API's price of a token. Serving k·T₁ takes k replicas;
    whether they keep the target at the peak is asked of the queue. The share of capacity in use is the same for every
    k, but more replicas on one queue carry it with less waiting, so the smallest k that keeps the target is it.

    Source: price of a day = tokens of a day × price of a token, solved for the tokens; then in whole replicas.
    """
    known: dict[float, int | None] = {}
    day_usd = best.candidate.usd_per_hour() * SECONDS_PER_DAY / SECONDS_PER_HOUR
    results = []
    for api in apis:
        price = api.usd_per_million_own_tokens.mid
        paying_tokens = day_usd / price * TOKENS_PER_MILLION
        if price not in known:
            known[price] = _replicas(best.station, paying_tokens, demand)
        replicas = known[price]
        results.append(
            BreakEven(
                api=f"{api.provider} {api.model}",
                device=best.row.device,
                tokens_per_day=None if replicas is None else replicas * paying_tokens,
                replicas=replicas,
            )
        )
    return tuple(results)


def _replicas(replica: Station, tokens_per_day: float, demand: PlanDemand) -> int | None:
    """Return the fewest replicas that keep the target when each serves so many tokens a day."""
    texts_per_s = tokens_per_day / replica.lengths.mean / SECONDS_PER_DAY
    peak = texts_per_s * demand.peak_to_mean * (1 - demand.batch_share)
    if max(peak, texts_per_s) * replica.full_text_s >= 1 or replica.lone_s(0.99) > demand.p99_s:
        return None

    def keeps(count: int) -> bool:
        return approximated(replica, count * peak, count).p99_s <= demand.p99_s

    return smallest(keeps, 1, MOST_COMPARED)
