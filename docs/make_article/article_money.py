"""The article's figures on dollars, as we compute them, and what has become of them since.

Each function returns the fields that a section of article.md.template names, in the unit that is printed.
"""

from __future__ import annotations

import datetime
from types import SimpleNamespace

from article_material import (
    ADA_USD,
    CATALOG_NAMES,
    H100,
    H100_EMBEDDINGS_PER_S,
    H100_MATMUL,
    H100_PEAK,
    H100_TOKENS_PER_S,
    H100_USD,
    HEADLINE_TOKENS_PER_S,
    MODEL,
    O1_USD,
    RTX4090,
    RTX4090_DAY_TOKENS_PER_S,
    RTX4090_PEAK,
    RTX4090_TOKENS_PER_S,
    RTX4090_USD,
    STATED,
    WIKIPEDIA_TOKENS_PER_WORD,
    WIKIPEDIA_WORDS,
    Material,
)

from farthing.catalog.lookups import FRESH_DAYS, device_price
from farthing.catalog.rows import ApiPrice
from farthing.theory.pricing import flops_per_usd, tokens_per_day, usd_per_million_tokens
from farthing.units import SECONDS_PER_HOUR

USD = {H100: H100_USD, RTX4090: RTX4090_USD}
SATURATED = 128


def price_figures(m: Material) -> SimpleNamespace:
    """Return the figures at the article's own prices."""
    h100, rtx = _cents(H100_USD, H100_TOKENS_PER_S), _cents(RTX4090_USD, RTX4090_TOKENS_PER_S)
    tenth = usd_per_million_tokens(H100_USD, H100_TOKENS_PER_S, 0.1)
    day = tokens_per_day(RTX4090_DAY_TOKENS_PER_S)
    best = {device: _cents(usd, m.best_tokens_per_s(device, true=False)) for device, usd in USD.items()}
    saturated = {device: _cents(usd, _saturated_rate(m, device)) for device, usd in USD.items()}
    # By the cell's measured rate; the article rounds it to 22.0 embeddings/s.
    cheapest = min(_cents(usd, m.best_tokens_per_s(device, true=True)) for device, usd in USD.items())
    headline_true = _cents(RTX4090_USD, m.rate(RTX4090, 520, SATURATED) * m.true[520])
    wikipedia = WIKIPEDIA_WORDS * WIKIPEDIA_TOKENS_PER_WORD / 1e6
    return SimpleNamespace(
        h100_cents=h100,
        h100_true_cents=h100 / m.share(),
        h100_true_rate=H100_TOKENS_PER_S * m.share(),
        h100_saturated_cents=saturated[H100],
        rtx_saturated_cents=saturated[RTX4090],
        tenth_cents=tenth * 100,
        tenth_true_cents=tenth / m.share() * 100,
        tenth_ratio=tenth / ADA_USD,
        tenth_true_ratio=tenth / m.share() / ADA_USD,
        requests=tokens_per_day(H100_EMBEDDINGS_PER_S, 0.1),
        rtx_cents=rtx,
        rtx_true_cents=rtx / m.share(),
        cheaper_cell=1 - rtx / h100,
        cheaper_saturated=1 - saturated[RTX4090] / saturated[H100],
        best_h100_cents=best[H100],
        best_rtx_cents=best[RTX4090],
        cheaper_best=1 - best[RTX4090] / best[H100],
        headline_cents=_cents(RTX4090_USD, HEADLINE_TOKENS_PER_S),
        headline_true_cents=headline_true,
        cheapest_true_cents=cheapest,
        day_mtokens=day / 1e6,
        day_true_mtokens=day * m.share() / 1e6,
        day_usd=24 * RTX4090_USD,
        per_usd_paper=_tflops_per_usd(H100_PEAK, H100_USD),
        per_usd_real=_tflops_per_usd(H100_MATMUL, H100_USD),
        per_usd_rtx=_tflops_per_usd(RTX4090_PEAK, RTX4090_USD),
        per_usd_h100_served=_tflops_per_usd(m.sustained(H100), H100_USD),
        per_usd_rtx_served=_tflops_per_usd(m.sustained(RTX4090), RTX4090_USD),
        eflop_per_usd=flops_per_usd(H100_MATMUL, H100_USD) / 1e18,
        ratio_paper=H100_MATMUL / RTX4090_PEAK,
        ratio_usd=H100_USD / RTX4090_USD,
        ratio_fit=m.sustained(H100) / m.sustained(RTX4090),
        ratio_lone=_ratio(m, STATED, 1),
        ratio_saturated=_ratio(m, STATED, SATURATED),
        wikipedia_usd=wikipedia * ADA_USD,
        wikipedia_h100_usd=wikipedia * h100 / m.share() / 100,
        wikipedia_tenth_usd=wikipedia * tenth / m.share(),
        wikipedia_prose_usd=WIKIPEDIA_WORDS * m.recount["prose"]["tokens_per_word"] / 1e6 * ADA_USD,
        o1_in=O1_USD[0] / ADA_USD,
        o1_out=O1_USD[1] / ADA_USD,
    )


def since_figures(m: Material) -> SimpleNamespace:
    """Return the figures at the prices of the page's day."""
    figures = SimpleNamespace()
    for device, name in ((H100, "h100"), (RTX4090, "rtx")):
        price = device_price(m.quotes, CATALOG_NAMES[device], m.as_of)
        assert price is not None
        assert price.min is not None
        assert price.max is not None
        year = _quotes(m, device, 365)
        values: dict[str, object] = {
            "usd": price.value,
            "low": price.min,
            "high": price.max,
            "quotes": price.offers,
            "stale": ", older than 90 days" if price.stale else "",
            "cents": _cents(price.value, _saturated_rate(m, device)),
            "low_cents": _cents(price.min, _saturated_rate(m, device)),
            "high_cents": _cents(price.max, _saturated_rate(m, device)),
            "floor_cents": _cents(price.min, m.best_tokens_per_s(device, true=True)),
            "year_low": min(year),
            "year_high": max(year),
        }
        vars(figures).update({f"{name}_{key}": value for key, value in values.items()})
    for name, provider, model in (
        ("ada", "OpenAI", "text-embedding-ada-002"),
        ("gemini", "Google", "gemini-embedding-001"),
        ("cohere", "Cohere", "embed-v4.0"),
    ):
        row = next(row for row in m.apis if (row.provider, row.model) == (provider, model))
        values = {
            "": row.usd_per_million_tokens,
            "_date": row.date,
            "_cents": row.usd_per_million_tokens * 100,
        }
        vars(figures).update({f"{name}{key}": value for key, value in values.items()})
    vars(figures).update(_ranking(m, figures.h100_usd / figures.rtx_usd), **_market(m))
    return figures


def _ranking(m: Material, ratio_usd: float) -> dict[str, object]:
    """The H100 is the cheaper device where its price is fewer 4090s than its speed is."""
    ratio = _ratio(m, STATED, SATURATED)
    shared = {cell["stated_tokens"] for cell in m.cells(H100)}
    ratios = [_ratio(m, int(stated), SATURATED) for stated in shared]
    least = {days: min(_quotes(m, H100, days)) / max(_quotes(m, RTX4090, days)) for days in (FRESH_DAYS, 365)}
    said = {days: "flips" if value < ratio else "does not flip" for days, value in least.items()}
    return {
        "ratio": ratio,
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "ratio_usd": ratio_usd,
        "least_90": least[FRESH_DAYS],
        "least_year": least[365],
        "flips_90": said[FRESH_DAYS],
        "flips_year": said[365],
    }


def _market(m: Material) -> dict[str, object]:
    """What APIs ask for the article's own model."""
    own = [row for row in m.apis if row.model == MODEL.rpartition("/")[2]]
    low, high = (choose(row.usd_per_million_tokens for row in own) for choose in (min, max))
    return {
        "own_count": len({row.provider for row in own}),
        "own_low_cents": low * 100,
        "own_high_cents": high * 100,
        "own_low_names": _names(own, low),
        "own_high_names": _names(own, high),
        "own_spread": high / low,
        "needed": H100_USD / SECONDS_PER_HOUR / low * 1e6,
    }


def _names(rows: list[ApiPrice], usd: float) -> str:
    return " and ".join(sorted({row.provider for row in rows if row.usd_per_million_tokens == usd}))


def _cents(usd_per_hour: float, tokens_per_s: float) -> float:
    return usd_per_million_tokens(usd_per_hour, tokens_per_s) * 100


def _saturated_rate(m: Material, device: str) -> float:
    """True tokens per second at 1040 × 128."""
    return m.rate(device, STATED, SATURATED) * m.true[STATED]


def _ratio(m: Material, stated: int, concurrent: int) -> float:
    return m.rate(H100, stated, concurrent) / m.rate(RTX4090, stated, concurrent)


def _tflops_per_usd(flops_per_s: float, usd_per_hour: float) -> float:
    """The article's "TFLOPS/$": a rate over a rate."""
    return flops_per_usd(flops_per_s, usd_per_hour) / SECONDS_PER_HOUR / 1e12


def _quotes(m: Material, device: str, days: int) -> list[float]:
    """The on-demand quotes of so many days before the page's, USD per hour."""
    since = m.as_of - datetime.timedelta(days=days)
    return [
        quote.usd_per_hour
        for quote in m.quotes
        if quote.device == CATALOG_NAMES[device]
        and quote.kind == "on-demand"
        and since <= quote.date <= m.as_of
    ]
