"""What docs/concepts/article.md is computed from: the article's own figures, the catalog and two kept results.

Knows files. What is computed from them is in article_figures, article_money and article_fit_figures.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farthing.catalog.load import load_api_prices, load_devices, load_models, load_rental_quotes
from farthing.catalog.lookups import find_device, find_model
from farthing.catalog.rows import ApiPrice, RentalQuote
from farthing.theory.devices import DeviceSpec
from farthing.theory.families.configs import shape_from_config
from farthing.theory.shapes import ModelShape

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"

AS_OF = datetime.date(2026, 11, 21)
"""The day for which the page takes prices, so that it says the same tomorrow."""

MODEL = "Qwen/Qwen3-Embedding-8B"
H100, RTX4090 = "H100 SXM", "RTX 4090"
CATALOG_NAMES = {H100: "h100-sxm", RTX4090: "rtx-4090"}

# The article's own figures, where we compute with them. Source: docs/facts.md, Article.
LENGTH = 1024
STATED = 1040
H100_MATMUL, RTX4090_PEAK, H100_PEAK = 750e12, 165e12, 989e12
H100_BANDWIDTH = 3.3e12
H100_USD, RTX4090_USD = 2.0, 0.37
H100_EMBEDDINGS_PER_S = 32.2
H100_TOKENS_PER_S, RTX4090_TOKENS_PER_S = 32.2 * 1040, 9.3 * 1040
RTX4090_DAY_TOKENS_PER_S, HEADLINE_TOKENS_PER_S = 10.6 * 1040, 22.0 * 520
ADA_USD, WIKIPEDIA_WORDS, WIKIPEDIA_TOKENS_PER_WORD = 0.10, 4.9e9, 4 / 3
O1_USD = (15, 60)
BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """All that the page is computed from.

    Attributes:
        shape: the article's model.
        recount: kept result of benchmarks/article_tokens.py.
        fit: kept result of benchmarks/article_fit.py.
        specs: datasheets by the article's names of the devices.
        quotes: rental quotes of the catalog.
        apis: API prices of the catalog.
        as_of: the day for which prices are taken.
    """

    shape: ModelShape
    recount: dict[str, Any]
    fit: dict[str, Any]
    specs: dict[str, DeviceSpec]
    quotes: tuple[RentalQuote, ...]
    apis: tuple[ApiPrice, ...]
    as_of: datetime.date

    @property
    def lengths(self) -> list[dict[str, Any]]:
        """The recounted lengths."""
        return list(self.recount["article"]["lengths"])

    @property
    def true(self) -> dict[int, float]:
        """True tokens by stated tokens."""
        return {row["stated_tokens"]: row["tokens"] for row in self.lengths}

    def share(self, stated: int = STATED) -> float:
        """Return true tokens per stated token of texts of this stated length."""
        return self.true[stated] / stated

    def cells(self, device: str) -> list[dict[str, float]]:
        """Return the article's cells of a device, each with what the fit predicts."""
        return list(self.fit["devices"][device]["cells"])

    def cell(self, device: str, stated: int, concurrent: int) -> dict[str, float]:
        """Return one of them."""
        return next(
            cell
            for cell in self.cells(device)
            if (cell["stated_tokens"], cell["concurrent_requests"]) == (stated, concurrent)
        )

    def rate(self, device: str, stated: int, concurrent: int) -> float:
        """Return the texts per second that the article measured."""
        return self.cell(device, stated, concurrent)["embeddings_per_s"]

    def best_tokens_per_s(self, device: str, *, true: bool) -> float:
        """Return the most tokens per second that were measured on a device, stated or true."""
        key = "tokens" if true else "stated_tokens"
        return max(cell["embeddings_per_s"] * cell[key] for cell in self.cells(device))

    def sustained(self, device: str) -> float:
        """Return the FLOP/s that the fit finds on a device, by true tokens and causal FLOPs."""
        fitted = self.fit["devices"][device]
        return float(fitted["efficiency"] * fitted["peak_flops_per_s"])


def load_material(as_of: datetime.date) -> Material:
    """Read the packaged catalog (never a user's) and the newest kept results."""
    model = find_model(load_models(), MODEL)
    assert model is not None
    devices = load_devices()
    recount, fit = (
        json.loads(max(RESULTS.glob(f"{name}-*.json")).read_text(encoding="utf-8"))
        for name in ("article-tokens", "article-fit")
    )
    return Material(
        shape=shape_from_config(model.config, MODEL),
        recount=recount,
        fit=fit,
        specs={device: find_device(devices, name).spec for device, name in CATALOG_NAMES.items()},
        quotes=load_rental_quotes(),
        apis=load_api_prices(),
        as_of=as_of,
    )
