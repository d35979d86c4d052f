"""From genai-prices to API prices: its embedding models, under the catalog's names and tokenizers.

Knows how genai-prices names providers and models. Knows no file.

Its data carry no date of their own: what is fetched is what the project publishes on that day, so that is the
date. What comes with the package is as old as the package and says not how old, so it is not used.

Source: genai-prices 0.2.3, `data.py`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from farthing.catalog.lookups import UNKNOWN_TOKENIZER
from farthing.catalog.rows import ApiPrice

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice

_PROVIDERS = {
    "aws": "Amazon",
    "azure": "Azure",
    "cloudflare": "Cloudflare",
    "ovhcloud": "OVH",
    "voyageai": "Voyage",
}
"""genai-prices' id of a provider → the catalog's name; others go by their own."""

_MODELS = {
    "databricks-qwen3-embedding-0-6b": "Qwen3-Embedding-0.6B",
    "databricks-bge-large-en": "bge-large-en",
    "databricks-gte-large-en": "gte-large-en",
}
"""Names that no rule turns into the catalog's."""

_EMBEDDING = re.compile(r"embed|(^|[/-])(bge|gte|e5|voyage)-")
_OTHER = re.compile(r"rerank")

_BATCH = {"processing": "batch"}
"""How genai-prices marks the prices of batch endpoints; few of its models have them."""


class Row(NamedTuple):
    """An embedding model's price, in the order of the catalog's columns."""

    provider: str
    model: str
    usd_per_million_tokens: float
    usd_per_million_tokens_batch: float | None
    tokenizer: str


def fetch(url: str | None = None) -> DataSnapshot:
    """Return what genai-prices publishes now.

    Args:
        url: where; None for its own address.

    Raises:
        Exception: whatever stands in the way: network, server or format.
    """
    from genai_prices import UpdatePrices

    snapshot = (UpdatePrices() if url is None else UpdatePrices(url=url)).fetch()
    if snapshot is None:
        raise ValueError("it has no prices")
    return snapshot


def embedding_rows(snapshot: DataSnapshot, known: Sequence[ApiPrice], today: datetime.date) -> list[Row]:
    """Return the embedding models of a snapshot that are offered now, under the catalog's names.

    A model that the catalog knows has its tokenizer at any provider; another's is unknown.

    Args:
        snapshot: what genai-prices says.
        known: the catalog's prices.
        today: day for which prices are wanted.
    """
    spelled = {price.model.lower(): price.model for price in known}
    tokenizers = {price.model.lower(): price.tokens_per_character.tokenizer for price in known}
    now = datetime.datetime.combine(today, datetime.time(12), datetime.UTC)
    rows: dict[tuple[str, str], Row] = {}
    for provider in snapshot.providers:
        name = _PROVIDERS.get(provider.id, provider.name)
        for model in provider.models:
            identity = model.id.lower()
            if model.deprecated or not _EMBEDDING.search(identity) or _OTHER.search(identity):
                continue
            price = _input_price(model, now)
            if price is None:
                continue
            plain = _plain(model.id)
            key = plain.lower()
            rows.setdefault(
                (name, key),
                Row(
                    name,
                    spelled.get(key, plain),
                    price,
                    _batch_price(model, now, price),
                    tokenizers.get(key, UNKNOWN_TOKENIZER),
                ),
            )
    return list(rows.values())


def _input_price(model: ModelInfo, now: datetime.datetime) -> float | None:
    """Return USD per million text tokens, or None when there is no such price or it is nothing."""
    return _usd(model.get_prices(now))


def _batch_price(model: ModelInfo, now: datetime.datetime, listed: float) -> float | None:
    """Return the same at the batch endpoint, or None when no price below the list price is said of one."""
    variants = getattr(model, "price_variants", None) or ()  # older releases have none
    if not any(variant.when == _BATCH for variant in variants):
        return None
    usd = _usd(model.get_prices(now, _BATCH))
    return usd if usd is not None and usd < listed else None


def _usd(prices: ModelPrice) -> float | None:
    price = prices.input_mtok
    amount = price if isinstance(price, Decimal) else getattr(price, "base", None)
    return float(amount) if isinstance(amount, Decimal) and 0 < amount < Decimal("1e6") else None


def _plain(model: str) -> str:
    """Return a model's name without what its provider puts around it: `@cf/baai/bge-m3` is `bge-m3`."""
    last = model.rsplit("/", 1)[-1]
    return _MODELS.get(last, re.sub(r"^(amazon|cohere)\.|:\d+$", "", last))
