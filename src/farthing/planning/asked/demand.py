"""What a plan serves: a rate, tokens per day, a trace or an API's bill, as texts per second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farthing.catalog.rows import ApiPrice, TokensPerCharacter
from farthing.errors import InputError
from farthing.planning.answer import PlanDemand
from farthing.theory.lengths import LengthDistribution
from farthing.theory.pricing import DAYS_PER_MONTH, SECONDS_PER_DAY, check_positive
from farthing.units import TOKENS_PER_MILLION, format_amount, format_usd

if TYPE_CHECKING:
    from farthing.planning.asked.trace import Trace

DEFAULT_PEAK_TO_MEAN = 2.0
"""An assumption, shown with every plan: the busiest hours see twice the mean rate of the day."""

SAME_PRICE = 1.1
"""Providers of a model whose prices are within this factor need not be told apart: the first is taken, and named.
Azure asks 10 % more than OpenAI for OpenAI's models; others ask ten times what the next one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be served; the arguments of `plan` of the same names, the trace as read."""

    rate: float | None = None
    tokens_per_day: float | None = None
    trace: Trace | None = None
    replace_api: str | None = None
    monthly_usd: float | None = None
    p99_s: float
    peak_to_mean: float | None = None
    batch_share: float = 0.0
    spare: int = 0


def demand_of(
    wanted: Wanted,
    texts: LengthDistribution,
    tokenizer: TokensPerCharacter,
    apis: Sequence[ApiPrice],
) -> PlanDemand:
    """Return what is served, in texts per second.

    Args:
        wanted: the one of rate, tokens per day, trace and API bill that is given, and the target.
        texts: tokens per text.
        tokenizer: the model's, to turn an API's tokens into the model's.
        apis: known APIs.

    Raises:
        InputError: not exactly one is given, a number is out of range, or the API is unknown.
    """
    _check(wanted)
    peak = wanted.peak_to_mean
    if peak is None:
        peak = DEFAULT_PEAK_TO_MEAN if wanted.trace is None else wanted.trace.peak_to_mean
    texts_per_s, source = _rate(wanted, texts, tokenizer, apis)
    return PlanDemand(
        texts_per_s=texts_per_s,
        peak_texts_per_s=texts_per_s * peak,
        peak_to_mean=peak,
        tokens_per_day=texts_per_s * texts.mean * SECONDS_PER_DAY,
        p99_s=wanted.p99_s,
        batch_share=wanted.batch_share,
        source=source,
        replaces=_replaced(wanted, apis),
        spare=wanted.spare,
    )


def _replaced(wanted: Wanted, apis: Sequence[ApiPrice]) -> str | None:
    if wanted.replace_api is None:
        return None
    api = find_api(apis, wanted.replace_api)
    return f"{api.provider} {api.model}"


def _check(wanted: Wanted) -> None:
    given = {
        "a rate": wanted.rate,
        "tokens per day": wanted.tokens_per_day,
        "a trace": wanted.trace,
        "an API to replace": wanted.replace_api,
    }
    said = [name for name, value in given.items() if value is not None]
    if len(said) != 1:
        raise InputError(
            f"how much is to be served? {' and '.join(said) or 'nothing'} given: "
            f"give exactly one of {', '.join(given)}"
        )
    check_positive("the p99 target", wanted.p99_s)
    if not 0 <= wanted.batch_share < 1:
        raise InputError(f"batch share is {wanted.batch_share}: give a fraction of at least 0 and below 1")
    if wanted.spare < 0:
        raise InputError(f"spare is {wanted.spare}: give a whole number of at least 0")
    if wanted.peak_to_mean is not None and not 1 <= wanted.peak_to_mean < math.inf:
        raise InputError(f"peak to mean is {wanted.peak_to_mean}: give a number of at least 1")
    if (wanted.monthly_usd is None) != (wanted.replace_api is None):
        raise InputError("an API to replace and its monthly USD belong together: give both or neither")


def _rate(
    wanted: Wanted, texts: LengthDistribution, tokenizer: TokensPerCharacter, apis: Sequence[ApiPrice]
) -> tuple[float, str]:
    """Return texts per second and where they come from."""
    if wanted.rate is not None:
        return check_positive("rate", wanted.rate), "the rate given"
    if wanted.tokens_per_day is not None:
        per_s = check_positive("tokens per day", wanted.tokens_per_day) / SECONDS_PER_DAY
        return per_s / texts.mean, "the tokens per day given"
    if wanted.trace is not None:
        return wanted.trace.texts_per_s, wanted.trace.source
    api = find_api(apis, wanted.replace_api or "")
    monthly = check_positive("monthly USD", wanted.monthly_usd or 0.0)
    theirs = monthly / api.usd_per_million_tokens * TOKENS_PER_MILLION
    ours = theirs / api.tokens_per_character.mid * tokenizer.mid
    return ours / DAYS_PER_MONTH / SECONDS_PER_DAY / texts.mean, (
        f"{format_usd(monthly)} a month buys {format_amount(theirs)} tokens of {api.provider} {api.model}, "
        f"about {format_amount(ours)} tokens of this model's tokenizer"
    )


def find_api(apis: Sequence[ApiPrice], name: str) -> ApiPrice:
    """Return the API with this model, or this provider and model, upper or lower case.

    Raises:
        InputError: there is none, or several providers sell the model at prices that differ.
    """
    wanted = " ".join(name.lower().split())
    found = [api for api in apis if wanted in (api.model.lower(), f"{api.provider} {api.model}".lower())]
    if not found:
        known = ", ".join(dict.fromkeys(api.model for api in apis))
        raise InputError(f"unknown API model {name!r}: use one of {known}")
    prices = [api.usd_per_million_tokens for api in found]
    if max(prices) > min(prices) * SAME_PRICE * (1 + 1e-9):
        names = ", ".join(f"'{api.provider} {api.model}'" for api in found)
        raise InputError(f"{name!r} is sold by several providers: say which: {names}")
    return found[0]
