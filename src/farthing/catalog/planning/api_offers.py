"""What the APIs ask for the same text: list prices at each tokenizer's count.

Knows API prices as they are passed in. Knows no device.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from farthing.catalog.lookups import is_old
from farthing.catalog.rows import ApiPrice, TokensPerCharacter
from farthing.theory.planning.plan import ApiOffer, CharacterRate, UsdInterval
from farthing.theory.pricing import DAYS_PER_MONTH
from farthing.units import TOKENS_PER_MILLION


def api_offers(
    apis: Sequence[ApiPrice], own: TokensPerCharacter, day: datetime.date, tokens_per_day: float | None
) -> tuple[ApiOffer, ...]:
    """Return what the APIs ask for the same characters, the cheapest first.

    Args:
        apis: their prices.
        own: tokens per character of the planned model.
        day: day for which prices are wanted.
        tokens_per_day: what is served, in the model's own tokens; None leaves the monthly bill None.
    """
    offers = []
    for api in apis:
        if api.date > day:
            continue  # not known yet
        rate = api.tokens_per_character
        mid, low, high = api.usd_per_million_characters
        # The same tokenizer counts the same, whatever the text: no interval is left.
        same = rate.tokenizer == own.tokenizer and bool(rate.vocabularies)
        price = api.usd_per_million_tokens
        per_own = UsdInterval(low=price, mid=price, high=price) if same else _per_own_token(api, own)
        monthly = None
        if tokens_per_day is not None:
            monthly = per_own.mid * tokens_per_day * DAYS_PER_MONTH / TOKENS_PER_MILLION
        offers.append(
            ApiOffer(
                provider=api.provider,
                model=api.model,
                usd_per_million_tokens=price,
                tokens_per_character=CharacterRate(
                    low=rate.low, mid=rate.mid, high=rate.high, source=rate.source
                ),
                usd_per_million_characters=UsdInterval(low=low, mid=mid, high=high),
                usd_per_million_own_tokens=per_own,
                usd_per_month=monthly,
                as_of=api.date.isoformat(),
                stale=is_old(api.date, day),
                source=api.source,
            )
        )
    return tuple(sorted(offers, key=lambda offer: offer.usd_per_million_own_tokens.mid))


def _per_own_token(api: ApiPrice, own: TokensPerCharacter) -> UsdInterval:
    """Return an API's price per million tokens of another tokenizer.

    Where both tokenizers were measured, the same kinds of text are at the ends of both intervals, so end is set
    beside end. One that was not measured may be anywhere in its interval, whatever the other does.
    """
    mid, low, high = api.usd_per_million_characters
    if api.tokens_per_character.vocabularies and own.vocabularies:
        prices = sorted((low / own.low, mid / own.mid, high / own.high))
        return UsdInterval(low=prices[0], mid=mid / own.mid, high=prices[-1])
    return UsdInterval(low=low / own.high, mid=mid / own.mid, high=high / own.low)
