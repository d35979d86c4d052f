"""From USD per hour and tokens per second to USD per million tokens.

Knows prices as numbers with a source and a date. Knows no catalog, and nothing of how fast a device is.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from farthing.errors import InputError
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
DAYS_PER_MONTH = 365.25 / 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalPrice:
    """What an hour of a device costs: the offer of one provider, the median one where there are several.

    Attributes:
        value: USD per hour.
        provider: whose offer it is.
        as_of: ISO 8601 date of it.
        source: where it comes from; None where no one is named.
        min: lowest offer of the kind, USD per hour; None where there is no other.
        max: highest such offer.
        offers: number of providers that `value` is the median of.
        stale: whether it is older than the catalog's limit.
        market: whether it is a marketplace's, where hosts are many and come and go.
        sold_by: devices that are rented together.
    """

    value: float
    provider: str
    as_of: str
    source: str | None
    min: float | None = None
    max: float | None = None
    offers: int = 1
    stale: bool = False
    market: bool = False
    sold_by: int = 1


def check_positive(name: str, value: float) -> float:
    """Return a finite number above 0.

    Raises:
        InputError: it is not; `name` says what it is.
    """
    if not 0 < value < float("inf"):
        raise InputError(f"{name} is {value}: give a number above 0")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotTerms:
    """What interruptions of spot devices cost.

    Attributes:
        mean_time_between_s: mean time between interruptions of one device.
        lost_s: time that each loses: the restart elsewhere, and work that was under way.
        drain_s: time before each that takes no new work.
    """

    mean_time_between_s: float
    lost_s: float
    drain_s: float

    def __post_init__(self) -> None:
        """Check the times.

        Raises:
            InputError: the time between interruptions is not above 0, or another is below 0.
        """
        check_positive("spot: the time between interruptions", self.mean_time_between_s)
        if not (0 <= self.lost_s < float("inf") and 0 <= self.drain_s < float("inf")):
            raise InputError(
                f"spot: {self.lost_s} s lost and {self.drain_s} s drained: give numbers of at least 0"
            )

    @property
    def useful_share(self) -> float:
        """Share of the paid time that does useful work."""
        return max(0.0, 1 - (self.lost_s + self.drain_s) / self.mean_time_between_s)


SPOT_TERMS = SpotTerms(mean_time_between_s=6 * SECONDS_PER_HOUR, lost_s=180.0, drain_s=30.0)
"""An assumption, said so wherever it is used: an interruption every six hours, three minutes to come back, and a
notice of thirty seconds (AWS gives two minutes, GCP and Azure thirty seconds)."""


def spot_usd_per_hour(usd_per_hour: float, terms: SpotTerms) -> float:
    """Return USD per useful hour of a device that is interrupted now and then.

    Raises:
        InputError: interruptions leave no useful time.

    Source: of each mean time between interruptions, what is lost and drained is paid for and does nothing.
    """
    if terms.useful_share <= 0:
        raise InputError(
            f"spot: {terms.lost_s + terms.drain_s:g} s are lost every {terms.mean_time_between_s:g} s: "
            "interruptions leave no useful time; use on-demand devices"
        )
    return usd_per_hour / terms.useful_share


def usd_per_million_tokens(usd_per_hour: float, tokens_per_s: float, utilization: float = 1.0) -> float:
    """Return USD per million tokens; idle time is paid for too.

    Args:
        usd_per_hour: price of the device, at least 0.
        tokens_per_s: tokens per second while it is busy.
        utilization: share of the time that it is busy, above 0 and at most 1.

    Raises:
        InputError: an argument is out of its range.

    Source: USD per second over tokens per second, of the time that is busy.
    """
    if not 0 < utilization <= 1:
        raise InputError(f"utilization is {utilization}: give a fraction above 0 and at most 1")
    if not 0 <= usd_per_hour < float("inf"):
        raise InputError(f"USD per hour is {usd_per_hour}: give a number of at least 0")
    if not tokens_per_s > 0:
        raise InputError(f"tokens per second is {tokens_per_s}: give a number above 0")
    return usd_per_hour / (tokens_per_s * SECONDS_PER_HOUR) * TOKENS_PER_MILLION / utilization


def given_price(usd_per_hour: float, day: datetime.date, whose: str = "as given") -> RentalPrice:
    """Return the price that a user gives, as of `day`: no interval, never old."""
    return RentalPrice(value=usd_per_hour, provider=whose, as_of=day.isoformat(), source=whose)


def tokens_per_day(tokens_per_s: float, utilization: float = 1.0) -> float:
    """Return the tokens of a day at `tokens_per_s` while busy, which is `utilization` of the time."""
    return tokens_per_s * SECONDS_PER_DAY * utilization


def flops_per_usd(flops_per_s: float, usd_per_hour: float) -> float:
    """Return the FLOPs that a dollar buys. The article's "TFLOPS/$" is this over 3600 s."""
    return flops_per_s * SECONDS_PER_HOUR / usd_per_hour
