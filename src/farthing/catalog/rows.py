"""The rows of the catalog: what a dated fact, a price and a model look like once they are checked.

Knows no file. Values are in SI base units and USD.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from farthing.theory.devices import DeviceSpec

RentalKind = Literal["on-demand", "spot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure with its origin.

    Attributes:
        value: the figure, in base units.
        unit: the unit that the source states, before conversion.
        source: where it comes from.
        date: when that said so.
    """

    value: float
    unit: str
    source: str
    date: datetime.date

    @property
    def origin(self) -> str:
        """Source and date in one line."""
        return f"{self.source} ({self.date})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogDevice:
    """A device and what is published of it.

    Attributes:
        device: short name, for example `h100-sxm`.
        name: full name.
        peak: dense datasheet peak per dtype, FLOP/s.
        achievable: best published matrix product per dtype, FLOP/s.
        memory: bytes.
        bandwidth: bytes per second.
        power: watts; None when no source states it.
    """

    device: str
    name: str
    peak: Mapping[str, Fact]
    achievable: Mapping[str, Fact]
    memory: Fact
    bandwidth: Fact
    power: Fact | None

    @property
    def spec(self) -> DeviceSpec:
        """The same as the theory wants it, each figure's origin by field name."""
        sources = {
            "memory_bytes": self.memory.origin,
            "bandwidth_bytes_per_s": self.bandwidth.origin,
        }
        if self.power is not None:
            sources["power_w"] = self.power.origin
        sources |= {f"peak_flops_per_s.{dtype}": fact.origin for dtype, fact in self.peak.items()}
        sources |= {f"achievable_flops_per_s.{dtype}": fact.origin for dtype, fact in self.achievable.items()}
        return DeviceSpec(
            device=self.device,
            name=self.name,
            peak_flops_per_s={dtype: fact.value for dtype, fact in self.peak.items()},
            achievable_flops_per_s={dtype: fact.value for dtype, fact in self.achievable.items()},
            memory_bytes=self.memory.value,
            bandwidth_bytes_per_s=self.bandwidth.value,
            power_w=None if self.power is None else self.power.value,
            sources=sources,
        )


MARKETPLACES = ("akash", "lium", "openrelay", "runpod", "runpod community", "spheron", "vast")
"""Providers whose devices belong to many hosts, in lower case; the tracker's figures name no provider at all.

RunPod's own price lists give its community's price where they give one; its secure cloud is a provider like others.
"""

UNNAMED_SOURCES = ("price survey of 2026-11-20",)
"""What stands as source where a quote was copied from a survey that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalQuote:
    """What one provider asked for an hour of one device on one day, in USD.

    `sold_by` devices are rented together, at that price each.
    """

    device: str
    provider: str
    kind: RentalKind
    usd_per_hour: float
    date: datetime.date
    source: str
    note: str
    sold_by: int = 1

    @property
    def market(self) -> bool:
        """Whether a marketplace offers it."""
        return self.provider.lower() in MARKETPLACES or self.provider.endswith("of the tracker")

    @property
    def company(self) -> str:
        """The provider whatever it calls its instances, a marketplace apart from the rest of its company."""
        return f"{self.provider.lower().split()[0]}{' market' if self.market else ''}"

    @property
    def sourced(self) -> bool:
        """Whether its own source is known."""
        return self.source not in UNNAMED_SOURCES


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensPerCharacter:
    """How many tokens a tokenizer makes of a character of English text, [CLS] and the like not counted.

    Attributes:
        tokenizer: its name in the catalog.
        vocabularies: rows of the token table of models that use it, by which a model's tokenizer is told.
        mid: tokens per character to reckon with.
        low: the least to expect of English text.
        high: the most.
        source: how it was measured, or why the interval is wide.
        date: when.
    """

    tokenizer: str
    vocabularies: tuple[int, ...]
    mid: float
    low: float
    high: float
    source: str
    date: datetime.date


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPrice:
    """What a provider asks for a million input tokens at its batch endpoint, which may take a day, in USD.

    It has a date and a source of its own: it may have been read elsewhere than the list price beside it.
    """

    usd_per_million_tokens: float
    date: datetime.date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPrice:
    """What a provider asks for a million input tokens of an embedding model, in USD, by its own tokenizer.

    Attributes:
        provider: who.
        model: which.
        usd_per_million_tokens: list price, of an answer at once.
        tokens_per_character: of its tokenizer.
        date: when that was so.
        source: where it comes from.
        note: what else is to be said of it.
        batch: price at its batch endpoint, never above the list price; None when none is known.
    """

    provider: str
    model: str
    usd_per_million_tokens: float
    tokens_per_character: TokensPerCharacter
    date: datetime.date
    source: str
    note: str
    batch: BatchPrice | None = None

    @property
    def usd_per_million_characters(self) -> tuple[float, float, float]:
        """USD per million characters of English at the list price: mid, low, high. Comparable across tokenizers."""
        rate = self.tokens_per_character
        return (
            self.usd_per_million_tokens * rate.mid,
            self.usd_per_million_tokens * rate.low,
            self.usd_per_million_tokens * rate.high,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel:
    """A model that is known offline: the figures of its config.json, with their origin.

    Attributes:
        name: its name on the hub.
        aliases: other names; the part after the slash is one without being listed.
        config: figures of its config.json.
        max_seq_length: most tokens of a text, where less than its positions is stated; else None.
        source: where `config` comes from.
        date: when that said so.
    """

    name: str
    aliases: tuple[str, ...]
    config: Mapping[str, Any]
    max_seq_length: Fact | None = None
    source: str
    date: datetime.date
