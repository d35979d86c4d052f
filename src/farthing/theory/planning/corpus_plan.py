"""CorpusPlan: which devices, how many, for how long and for how much; what `farthing plan` answers for a corpus.

Knows names and units, apart from `plan` so that the plan of a service need not make them. How the rows come about is in
`corpus`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from farthing.theory.planning.plan import ApiOffer, PaddingWaste, PlanLengths, UsdInterval


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRow:
    """One device working off a corpus before a deadline.

    Attributes:
        device: short name of the device.
        provider: whose price it is.
        usd_per_hour: price of one device.
        price_as_of: ISO 8601 date of its newest quote.
        price_stale: whether that is older than the catalog's limit.
        devices: how many work side by side; None when the model does not fit, or no number of them is enough.
        hours: how long each works.
        usd_total: device-hours × price; of spot devices with the work that interruptions lose.
        usd_per_million_tokens: the same per token.
        tokens_per_s: throughput of one device, host included.
        feasible: whether memory, budget and the number of devices that anyone rents are kept.
        reason: why not; None when feasible.
    """

    device: str
    provider: str
    usd_per_hour: float
    price_as_of: str
    price_stale: bool
    spot: bool
    devices: int | None
    hours: float | None
    usd_total: UsdInterval | None
    usd_per_million_tokens: UsdInterval | None
    tokens_per_s: float
    feasible: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPlan:
    """Devices × hours × dollars for a corpus, and what the APIs ask for it."""

    model: str
    dtype: str
    corpus_tokens: float
    deadline_s: float
    lengths: PlanLengths
    rows: tuple[CorpusRow, ...]
    unpriced: tuple[str, ...]
    apis: tuple[ApiOffer, ...]
    padding: tuple[PaddingWaste, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types, with the documented keys."""
        return asdict(self)
