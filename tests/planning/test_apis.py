"""What the APIs ask for the same text: tokens of theirs, characters, and tokens of ours."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog import facts
from farthing.catalog.load import load_tokenizers
from farthing.catalog.lookups import FRESH_DAYS
from farthing.catalog.rows import ApiPrice, BatchPrice, TokensPerCharacter
from farthing.planning.answer import ApiOffer
from farthing.planning.apis import api_offers, batch_share_of_corpus

DAY = datetime.date(2026, 11, 21)


def tokenizer(
    name: str, low: float, mid: float, high: float, vocabularies: tuple[int, ...] = (1,)
) -> TokensPerCharacter:
    return TokensPerCharacter(
        tokenizer=name, vocabularies=vocabularies, low=low, mid=mid, high=high, source="here", date=DAY
    )


def api(
    rate: TokensPerCharacter,
    usd: float = 0.1,
    date: datetime.date = DAY,
    model: str = "m",
    batch: BatchPrice | None = None,
) -> ApiPrice:
    return ApiPrice(
        provider="P", model=model, usd_per_million_tokens=usd, tokens_per_character=rate, date=date,
        source="a list", note="", batch=batch,
    )  # fmt: skip


def at_batch(usd: float, days: int = 0) -> BatchPrice:
    return BatchPrice(
        usd_per_million_tokens=usd, date=DAY - datetime.timedelta(days=days), source="a leaflet"
    )


OWN = tokenizer("own", 0.2, 0.25, 0.3)
THEIRS = tokenizer("theirs", 0.15, 0.2, 0.35, (2,))


def offer(price: ApiPrice, own: TokensPerCharacter = OWN, tokens_per_day: float | None = None) -> ApiOffer:
    (found,) = api_offers([price], own, DAY, tokens_per_day)
    return found


def test_prices_by_hand() -> None:
    """$0.10 for a million of their tokens are 5M characters, 1.25M of our tokens."""
    found = offer(api(THEIRS), tokens_per_day=1e9)
    assert found.usd_per_million_tokens == 0.1
    characters, own = found.usd_per_million_characters, found.usd_per_million_own_tokens
    assert (characters.low, characters.mid, characters.high) == pytest.approx((0.015, 0.02, 0.035))
    # Both were measured on the same kinds of text, so end is set beside end.
    assert (own.low, own.mid, own.high) == pytest.approx((0.015 / 0.2, 0.08, 0.035 / 0.3))
    assert found.usd_per_month == pytest.approx(0.08 * 1000 * 365.25 / 12)
    assert (found.provider, found.model, found.source, found.as_of) == ("P", "m", "a list", "2026-11-21")
    rate = found.tokens_per_character
    assert (rate.low, rate.mid, rate.high, rate.source) == (0.15, 0.2, 0.35, "here")


def test_a_tokenizer_that_was_not_measured_may_be_anywhere_in_its_interval() -> None:
    own = offer(api(tokenizer("closed", 0.15, 0.2, 0.35, ()))).usd_per_million_own_tokens
    assert (own.low, own.mid, own.high) == pytest.approx((0.015 / 0.3, 0.08, 0.035 / 0.2))


def test_a_price_of_a_later_day_is_not_known_yet() -> None:
    assert api_offers([api(THEIRS, date=DAY + datetime.timedelta(days=1))], OWN, DAY, None) == ()


def test_without_a_demand_there_is_no_monthly_bill() -> None:
    assert offer(api(THEIRS)).usd_per_month is None


@pytest.mark.parametrize(("share", "billed"), [(0.0, 0.1), (0.4, 0.076), (1.0, 0.04)])
def test_what_can_wait_is_billed_at_the_batch_price(share: float, billed: float) -> None:
    """(1 − f)·list + f·batch: 0.6 · $0.10 + 0.4 · $0.04 = $0.076."""
    price = api(THEIRS, batch=at_batch(0.04))
    (found,) = api_offers([price], OWN, DAY, 1e9, corpus_tokens=5e9, batch_share=share)
    assert (found.usd_per_million_tokens, found.usd_per_million_tokens_batch) == (0.1, 0.04)
    assert found.usd_per_million_tokens_billed == pytest.approx(billed)
    characters, own = found.usd_per_million_characters, found.usd_per_million_own_tokens
    assert (characters.mid, own.mid) == pytest.approx((billed * 0.2, billed * 0.8))
    assert found.usd_per_month == pytest.approx(billed * 0.8 * 1000 * 365.25 / 12)
    assert found.usd_total == pytest.approx(billed * 0.8 * 5000)
    assert (found.batch_as_of, found.batch_source, found.batch_stale) == ("2026-11-21", "a leaflet", False)


def test_without_a_batch_price_all_is_billed_at_list_price() -> None:
    (found,) = api_offers([api(THEIRS)], OWN, DAY, batch_share=1.0)
    assert found.usd_per_million_tokens_billed == 0.1
    assert (found.usd_per_million_tokens_batch, found.batch_as_of, found.batch_source) == (None, None, None)


def test_a_batch_price_of_a_later_day_is_not_known_yet_and_an_old_one_is_flagged() -> None:
    later = api_offers([api(THEIRS, batch=at_batch(0.04, days=-1))], OWN, DAY, batch_share=1.0)[0]
    assert (later.usd_per_million_tokens_batch, later.usd_per_million_tokens_billed) == (None, 0.1)
    old = api_offers([api(THEIRS, batch=at_batch(0.04, FRESH_DAYS + 1))], OWN, DAY, batch_share=1.0)[0]
    assert (old.batch_stale, old.stale) == (True, False)


def test_apis_are_ranked_by_what_is_billed() -> None:
    prices = [api(OWN, 0.1, model="dear", batch=at_batch(0.05)), api(OWN, 0.06, model="cheap")]
    ranked = {
        share: [found.model for found in api_offers(prices, OWN, DAY, batch_share=share)] for share in (0, 1)
    }
    assert ranked == {0: ["cheap", "dear"], 1: ["dear", "cheap"]}


@pytest.mark.parametrize(("hours", "share"), [(1, 0), (23.99, 0), (24, 1), (48, 1)])
def test_a_corpus_goes_to_batch_endpoints_if_they_have_a_day(hours: float, share: float) -> None:
    assert batch_share_of_corpus(hours * 3600) == share


def test_the_same_tokenizer_counts_the_same() -> None:
    own = offer(api(OWN)).usd_per_million_own_tokens
    assert own.low == own.mid == own.high == 0.1


def test_two_unknown_tokenizers_are_not_the_same() -> None:
    unknown = tokenizer("unknown", 0.15, 0.2, 0.3, ())
    own = offer(api(unknown), unknown).usd_per_million_own_tokens
    assert own.low < own.mid < own.high
    assert own.mid == pytest.approx(0.1)


@pytest.mark.parametrize(("days", "stale"), [(0, False), (FRESH_DAYS, False), (FRESH_DAYS + 1, True)])
def test_an_old_price_is_flagged(days: int, stale: bool) -> None:
    assert offer(api(THEIRS, date=DAY - datetime.timedelta(days=days))).stale is stale


def test_no_apis_no_offers() -> None:
    assert api_offers([], OWN, DAY, 1e9) == ()


@pytest.fixture(scope="module")
def of_the_catalog() -> dict[str, tuple[ApiOffer, ...]]:
    """The packaged prices as seen by a model of each known tokenizer."""
    return {own.tokenizer: api_offers(facts.api_prices(), own, DAY, 1e9) for own in load_tokenizers()}


def test_the_catalogs_offers_are_sorted_and_complete(of_the_catalog: dict[str, tuple[ApiOffer, ...]]) -> None:
    assert len(of_the_catalog) >= 5
    for offers in of_the_catalog.values():
        own = [found.usd_per_million_own_tokens.mid for found in offers]
        assert own == sorted(own)
        assert sorted((found.provider, found.model) for found in offers) == sorted(
            (known.provider, known.model) for known in facts.api_prices() if known.date <= DAY
        )


def test_the_catalogs_intervals_are_ordered(of_the_catalog: dict[str, tuple[ApiOffer, ...]]) -> None:
    for offers in of_the_catalog.values():
        for found in offers:
            for interval in (found.usd_per_million_characters, found.usd_per_million_own_tokens):
                assert 0 < interval.low <= interval.mid <= interval.high


def test_a_model_meets_its_own_tokenizer_among_the_apis(
    of_the_catalog: dict[str, tuple[ApiOffer, ...]],
) -> None:
    """Qwen3-Embedding is sold by the token of the very tokenizer that a plan of it counts with."""
    sold = [found for found in of_the_catalog["qwen"] if found.model.startswith("Qwen3-Embedding")]
    assert len(sold) >= 2
    for found in sold:
        own = found.usd_per_million_own_tokens
        assert own.low == own.mid == own.high == found.usd_per_million_tokens


rates = st.tuples(*[st.floats(0.05, 0.6)] * 3).map(lambda three: tokenizer("some", *sorted(three)))


@given(rates, rates, st.floats(1e-3, 10), st.floats(1, 1e12), st.floats(1, 1e12))
def test_intervals_are_ordered_and_more_tokens_never_cost_less(
    theirs: TokensPerCharacter, own: TokensPerCharacter, usd: float, one: float, other: float
) -> None:
    theirs = tokenizer("theirs", theirs.low, theirs.mid, theirs.high)
    few, many = (offer(api(theirs, usd), own, tokens) for tokens in sorted((one, other)))
    interval = few.usd_per_million_own_tokens
    assert interval.low <= interval.mid <= interval.high
    assert few.usd_per_month is not None
    assert many.usd_per_month is not None
    assert few.usd_per_month <= many.usd_per_month


@given(rates, st.lists(st.tuples(rates, st.floats(1e-3, 10)), max_size=8))
def test_the_cheapest_comes_first(
    own: TokensPerCharacter, sold: list[tuple[TokensPerCharacter, float]]
) -> None:
    offers = api_offers([api(rate, usd, model=str(n)) for n, (rate, usd) in enumerate(sold)], own, DAY, None)
    prices = [found.usd_per_million_own_tokens.mid for found in offers]
    assert prices == sorted(prices)
    assert {found.model for found in offers} == {str(n) for n in range(len(sold))}
