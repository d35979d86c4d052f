"""Plan: which devices, how many, at what price and latency, or the API; what `farthing plan` answers.

Knows names and units. How they come about is in `rows`, `break_even`, `filling` and `sensitivity`; what a trace adds
is in `traced`, what `farthing plan` answers for a corpus in `corpus_plan`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farthing.theory.planning.station import Routing
    from farthing.theory.planning.traced import Following, Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class UsdInterval:
    """USD: `mid` at the median price and expected step time; `low` and `high` at both ends of both."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One device at one price, with the fewest replicas that keep the target at peak.

    Attributes:
        device: short name of the device.
        provider: whose price it is.
        usd_per_hour: price of one device; of spot devices the quote, before interruptions are paid for.
        usd_per_hour_min: lowest of its quotes.
        usd_per_hour_max: highest of its quotes.
        price_as_of: ISO 8601 date of the newest of them.
        price_stale: whether that is older than the catalog's limit.
        price_sources: where the quotes come from.
        spot: whether it can be taken away.
        basis: whether step times come from a calibration or a datasheet.
        replicas: devices; None when no number of them keeps the target.
        routing: one queue for all replicas (shared), or each text to a replica at random (random).
        utilization: share of saturated capacity in use at the mean rate.
        peak_utilization: the same at the peak rate.
        p50_s: median time from arrival to vector at the peak rate.
        p99_s: its 99th percentile.
        p99_source: how the two were computed.
        tokens_per_s: saturated throughput of one replica, host included.
        usd_per_million_tokens: of the mean rate, idle time paid for.
        usd_per_month: of all replicas.
        feasible: whether target, memory and budget are kept.
        reason: why not; None when feasible.
    """

    device: str
    provider: str
    usd_per_hour: float
    usd_per_hour_min: float
    usd_per_hour_max: float
    price_as_of: str
    price_stale: bool
    price_sources: tuple[str, ...]
    spot: bool
    basis: str
    replicas: int | None
    routing: Routing
    utilization: float | None
    peak_utilization: float | None
    p50_s: float | None
    p99_s: float | None
    p99_source: str | None
    tokens_per_s: float
    usd_per_million_tokens: UsdInterval | None
    usd_per_month: float | None
    feasible: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CharacterRate:
    """Tokens per character of a tokenizer, with its interval and source."""

    low: float
    mid: float
    high: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOffer:
    """What an API would ask for the same texts, counted by its own tokenizer.

    Attributes:
        provider: who.
        model: which.
        usd_per_million_tokens: list price, of the provider's tokens.
        usd_per_million_tokens_batch: price at its batch endpoint; None when none is known.
        usd_per_million_tokens_billed: what this plan pays: list price, batch price, or the two in the shares of
            the tokens that cannot and can wait.
        tokens_per_character: of its tokenizer.
        usd_per_million_characters: the price that is billed, with that.
        usd_per_million_own_tokens: the same per million tokens of the planned model.
        usd_per_month: of the demand; None in corpus mode.
        usd_total: of the corpus; None of a service.
        as_of: date of the list price.
        stale: whether that is older than the catalog's limit.
        source: where it comes from.
        batch_as_of: date of the batch price.
        batch_stale: whether that is older than the limit.
        batch_source: where it comes from.
    """

    provider: str
    model: str
    usd_per_million_tokens: float
    usd_per_million_tokens_batch: float | None
    usd_per_million_tokens_billed: float
    tokens_per_character: CharacterRate
    usd_per_million_characters: UsdInterval
    usd_per_million_own_tokens: UsdInterval
    usd_per_month: float | None
    usd_total: float | None
    as_of: str
    stale: bool
    source: str
    batch_as_of: str | None
    batch_stale: bool
    batch_source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """From how many tokens a day (of the planned model) self-hosting is cheaper than an API; None: never.

    Replicas come in whole numbers: just above `tokens_per_day` another replica may tip the balance back;
    from `always_from_tokens_per_day` on it does not.
    """

    api: str
    device: str
    tokens_per_day: float | None
    always_from_tokens_per_day: float | None
    replicas: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What filling idle time with batch work does to the cheapest plan.

    Attributes:
        device: whose idle time.
        replicas: of that device; more than the row has when its target leaves no room for a batch step.
        replicas_before: of that device for the online texts alone; with a batch share, for all texts online.
        filler_step_s: length of one step of batch work, so chosen that the target still holds.
        filler_step_tokens: tokens of such a step.
        efficiency: its throughput over that of a saturated step.
        p99_s: 99th percentile of the online texts with the filler, at most.
        p99_before_s: the same with these replicas and no filler.
        utilization: share of saturated capacity in use, both kinds of work together.
        batch_tokens_per_day: batch work that is done beside the online texts.
        usd_per_million_tokens: over both kinds of work.
        usd_per_million_tokens_before: without the filler, with the replicas before.
    """

    device: str
    replicas: int
    replicas_before: int
    filler_step_s: float
    filler_step_tokens: int
    efficiency: float
    p99_s: float
    p99_before_s: float
    utilization: float
    batch_tokens_per_day: float
    usd_per_million_tokens: float
    usd_per_million_tokens_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioSpread:
    """How far a ratio of two prices moves over a set of quotes.

    Attributes:
        low: with the dearest quote of the one and the cheapest of the other.
        high: the other way round.
        flips: whether the order of the two is reversed at one end.
    """

    low: float
    high: float
    flips: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Whether two rows change places inside the spread of their quotes.

    Attributes:
        device: the cheaper of the two at median prices.
        against: the other.
        ratio: price of `against` over price of `device`, per token, at median prices.
        fresh: over the quotes that the medians are of.
        newest: over the newest quote of every provider, older ones among them.
        newest_since: ISO 8601 date of the oldest of those.
    """

    device: str
    against: str
    ratio: float
    fresh: RatioSpread
    newest: RatioSpread
    newest_since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingWaste:
    """Share of computed positions that are padding under a batching policy, for the lengths of the plan."""

    policy: str
    waste: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLengths:
    """Tokens per text as the plan took them."""

    mean: float
    cv2: float
    p99: int
    longest: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDemand:
    """What the plan serves: rates in texts per second, the target, and where they come from.

    `replaces` is the provider and model of the API whose bill it was worked out from.
    """

    texts_per_s: float
    peak_texts_per_s: float
    peak_to_mean: float
    tokens_per_day: float
    p99_s: float
    batch_share: float
    source: str
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which devices, how many, at what price and latency; and the APIs. SI base units and USD.

    Attributes:
        model: name of the model.
        dtype: dtype of weights and activations.
        demand: what is served.
        lengths: tokens per text.
        rows: devices, the cheapest first, infeasible ones last, each with its reason.
        unpriced: devices that no one has given a price for.
        apis: the APIs, the cheapest for these texts first.
        break_even: the cheapest self-hosted row against each API.
        filled: what batch work in idle time does to the cheapest row; None when nothing is feasible.
        replay: the trace, if one was given, played through the cheapest row.
        following: the trace, if one was given, served by a fleet that follows its load.
        sensitivity: whether the order of rows survives the spread of their quotes.
        padding: padding waste of batching policies for these lengths.
        notes: what a reader should know before believing the numbers.
    """

    model: str
    dtype: str
    demand: PlanDemand
    lengths: PlanLengths
    rows: tuple[PlanRow, ...]
    unpriced: tuple[str, ...]
    apis: tuple[ApiOffer, ...]
    break_even: tuple[BreakEven, ...]
    filled: Filled | None
    replay: Replay | None
    following: Following | None
    sensitivity: tuple[Sensitivity, ...]
    padding: tuple[PaddingWaste, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types, with the documented keys."""
        return asdict(self)
