"""What `farthing plan` answers for a service: names and units of the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from farthing.theory.time.steps import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class UsdInterval:
    """USD: `mid` at the price and step time expected, `low` and `high` at the ends of both; no high: none is enough."""

    low: float
    mid: float
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """One device at one price.

    Attributes:
        device: short name of the device.
        provider: whose offer it is; of several, the median one's.
        usd_per_hour: price of one device; of spot devices the quote, before interruptions are paid for.
        usd_per_hour_min: lowest offer of the kind; None where there is no other.
        usd_per_hour_max: highest such offer.
        price_as_of: ISO 8601 date of the offer.
        price_stale: whether that is older than the catalog's limit.
        price_source: where the offer comes from; None where no one is named.
        marketplace: whether many hosts offer it there, who come and go.
        spot: whether it can be taken away.
        basis: whether step times come from a calibration or a datasheet.
        tokens_per_s: saturated throughput of one device, host included.
    """

    device: str
    provider: str
    usd_per_hour: float
    usd_per_hour_min: float | None
    usd_per_hour_max: float | None
    price_as_of: str
    price_stale: bool
    price_source: str | None
    marketplace: bool
    spot: bool
    basis: str
    tokens_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow(Offered):
    """One device at one price, with the fewest replicas that keep the target at peak.

    Attributes:
        replicas: devices that keep the target; None when no number of them does.
        replicas_low: those that would, at the low end of the step times.
        replicas_high: at their high end; None where no number would.
        replicas_random: those that would if each request went to a replica at random instead of one queue.
        devices: what is paid for: replicas, spare ones, and what is sold with them.
        utilization: share of the devices' saturated capacity in use at the mean rate.
        peak_utilization: the same at the peak rate.
        p50_s: median time from arrival to vector at the peak rate.
        p99_s: its 99th percentile.
        p99_source: how the two were computed.
        verified: whether the simulator says so, or an approximation.
        usd_per_million_tokens: of the mean rate, idle time paid for.
        usd_per_month: of all devices.
        feasible: whether target, memory and budget are kept, with step times as expected.
        certain: whether that holds at the high end of step times and of memory too, with `replicas_high`.
        doubt: why not; None when it does.
        bound_by: what sets the number of replicas.
        reason: why not; None when feasible.
    """

    replicas: int | None = None
    replicas_low: int | None = None
    replicas_high: int | None = None
    replicas_random: int | None = None
    devices: int | None = None
    utilization: float | None = None
    peak_utilization: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None
    p99_source: str | None = None
    verified: Literal["simulated", "approximate"] | None = None
    usd_per_million_tokens: UsdInterval | None = None
    usd_per_month: float | None = None
    feasible: bool = False
    certain: bool = False
    doubt: str | None = None
    bound_by: Literal["device", "host", "latency", "memory"] | None = None
    reason: str | None = None


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
    usd_per_million_characters: Interval
    usd_per_million_own_tokens: Interval
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
    """From how many tokens a day (of the planned model) a device is cheaper than an API; None: never.

    Replicas come in whole numbers: just above, another one may tip the balance back for a while.
    """

    api: str
    device: str
    tokens_per_day: float | None
    replicas: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What it saves that some texts can wait, on the cheapest row.

    Attributes:
        device: whose idle time they fill.
        replicas: of that device.
        replicas_apart: those among them that only run batch work, where no step of it fits beside the online texts or
            filling idle time would take as many; 0 where it fills idle time.
        replicas_before: of that device if all texts were online.
        filler_step_s: length of one step of batch work, beside online texts so chosen that the target still holds.
        filler_step_tokens: tokens of such a step.
        efficiency: its throughput over that of a saturated step.
        p99_s: 99th percentile of the online texts with the filler, simulated.
        usd_per_million_tokens: over both kinds of work.
        usd_per_million_tokens_before: with the replicas before.
    """

    device: str
    replicas: int
    replicas_apart: int
    replicas_before: int
    filler_step_s: float
    filler_step_tokens: int
    efficiency: float
    p99_s: float
    usd_per_million_tokens: float
    usd_per_million_tokens_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A trace played through the replicas of the cheapest row, in the simulator.

    Attributes:
        device: the row's device.
        replicas: how many.
        texts: arrivals of the trace that are served at once.
        p50_s: median time from arrival to vector.
        p99_s: its 99th percentile over the whole trace.
        keeps_target: whether that is within the target.
        replicas_needed: the fewest that keep it, at least those planned; None when not even 64 times as many do.
    """

    device: str
    replicas: int
    texts: int
    p50_s: float
    p99_s: float
    keeps_target: bool
    replicas_needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """The cheapest row's devices, started and stopped as the trace's load changes.

    Attributes:
        device: the row's device.
        interval_s: how often the fleet is sized.
        cold_start_s: how far ahead a replica has to be asked for.
        replicas_least: fewest that stand at any time.
        replicas_mean: how many stand on average.
        replicas_most: most that stand at any time.
        utilization: share of their saturated capacity in use.
        usd_per_million_tokens: of the trace's mean rate.
    """

    device: str
    interval_s: float
    cold_start_s: float
    replicas_least: int
    replicas_mean: float
    replicas_most: int
    utilization: float
    usd_per_million_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Whether the cheapest row and another may change places.

    Attributes:
        device: the cheaper of the two, as expected.
        against: the other.
        ratio: price of `against` over price of `device`, per token.
        low: the same at the worse ends of prices and step times for `device`; None where none is enough there.
        high: at the better ends.
        stays: whether it is above 1 all the same.
    """

    device: str
    against: str
    ratio: float
    low: float | None
    high: float | None
    stays: bool


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

    `replaces` is the provider and model of the API whose bill it was worked out from; `spare` replicas stand beside
    those that the target takes.
    """

    texts_per_s: float
    peak_texts_per_s: float
    peak_to_mean: float
    tokens_per_day: float
    p99_s: float
    batch_share: float
    source: str
    replaces: str | None = None
    spare: int = 0

    @property
    def online_peak_texts_per_s(self) -> float:
        """Texts per second at the peak that cannot wait."""
        return (1 - self.batch_share) * self.peak_texts_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanServer:
    """The server before the devices: its kind, its threads, and whether its figures are assumed."""

    kind: str
    threads: int
    texts_per_request: int
    assumed: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which devices, how many, at what price and latency; and the APIs. SI base units and USD.

    Attributes:
        verdict: the answer in a sentence.
        model: name of the model.
        dtype: dtype of weights and activations.
        server: what stands before the devices.
        demand: what is served.
        lengths: tokens per text.
        rows: devices, the cheapest first, infeasible ones last, each with its reason.
        unpriced: devices that no one has given a price for.
        apis: the APIs, the cheapest for these texts first.
        break_even: the cheapest self-hosted row against each API.
        filled: what it saves that some texts can wait; None where none can.
        replay: the trace, if one was given, played through the cheapest row.
        following: the trace, if one was given, served by a fleet that follows its load.
        order: whether the order of rows survives the intervals of prices and step times.
        padding: padding waste of batching policies for these lengths.
        notes: what a reader should know before believing the numbers.
    """

    verdict: str
    model: str
    dtype: str
    server: PlanServer
    demand: PlanDemand
    lengths: PlanLengths
    rows: tuple[PlanRow, ...]
    unpriced: tuple[str, ...]
    apis: tuple[ApiOffer, ...]
    break_even: tuple[BreakEven, ...]
    filled: Filled | None
    replay: Replay | None
    following: Following | None
    order: tuple[Order, ...]
    padding: tuple[PaddingWaste, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON types, with the documented keys."""
        return asdict(self)
