"""From which volume on self-hosting is cheaper than an API, with replicas in whole numbers and a target to keep.

Knows a station, hourly prices and an API's price per token. Knows no catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.theory.planning.filling import BATCH_HEADROOM, fill
from farthing.theory.planning.plan import ApiOffer, BreakEven, PlanDemand, PlanRow
from farthing.theory.planning.search import smallest
from farthing.theory.planning.station import Routing
from farthing.theory.planning.waiting import Waiting
from farthing.theory.pricing import SECONDS_PER_DAY
from farthing.units import SECONDS_PER_HOUR, TOKENS_PER_MILLION

MOST_COMPARED = 4096
"""Replicas up to which a break-even is looked for; a larger fleet gains nothing more from its shared queue."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A break-even: the replicas that it takes, and the volumes in tokens per day."""

    replicas: int
    tokens_per_day: float
    always_from_tokens_per_day: float | None


def break_even_volume(
    waiting: Waiting,
    *,
    usd_per_hour: float,
    api_usd_per_million_tokens: float,
    peak_to_mean: float,
    target_s: float,
    routing: Routing = "shared",
    batch_share: float = 0.0,
) -> Volume | None:
    """Return the volume from which replicas cost no more than an API; None when no volume is enough.

    One replica pays for itself at T₁ = its price of a day / the API's price of a token. Serving k·T₁ takes k
    replicas; whether they keep the target at the peak is asked of the queue. The share of capacity in use is
    the same for every k, but more replicas on one queue carry it with less waiting, so the smallest k that
    keeps the target is the break-even. Above it, a further replica is paid for before it is needed; the last
    volume at which that can tip the balance is given too.

    Args:
        waiting: the queue of the device.
        usd_per_hour: price of one replica.
        api_usd_per_million_tokens: what the API bills per million tokens of the station's own tokenizer; with a batch
            share, list and batch price in the shares that they are paid for.
        peak_to_mean: peak rate / mean rate of a day.
        target_s: 99th percentile to keep at the peak.
        routing: one queue for all replicas, or each text to a replica at random.
        batch_share: share of the texts (0–1) that can wait.

    Source: price of a day = tokens of a day × price of a token, solved for the tokens; then in whole replicas.
    """
    paying_tokens = usd_per_hour * SECONDS_PER_DAY / SECONDS_PER_HOUR / api_usd_per_million_tokens
    paying_tokens *= TOKENS_PER_MILLION  # tokens per day that pay for one replica
    replica = waiting.station
    texts_per_s = paying_tokens / replica.lengths.mean / SECONDS_PER_DAY * peak_to_mean
    most = 1 if not batch_share else BATCH_HEADROOM * peak_to_mean
    if texts_per_s * replica.text_s.mid >= most or replica.lone_s(0.99) > target_s:
        return None

    def keeps(load: int, count: int) -> bool:
        if not batch_share:
            return waiting.keeps(load * texts_per_s, count, routing, target_s)
        rate = load * texts_per_s / peak_to_mean
        if rate * replica.text_s.mid > BATCH_HEADROOM * count:
            return False
        demand = PlanDemand(
            texts_per_s=rate,
            peak_texts_per_s=load * texts_per_s,
            peak_to_mean=peak_to_mean,
            tokens_per_day=rate * replica.lengths.mean * SECONDS_PER_DAY,
            p99_s=target_s,
            batch_share=batch_share,
            source="",
        )
        return fill(waiting, demand, count, routing) is not None

    least = smallest(lambda count: keeps(count, count), 1, 1, MOST_COMPARED)
    if least is None:
        return None
    # Just above what `count` replicas carry, one more is paid for: it must pay for itself at once.
    always = smallest(lambda count: keeps(count + 1, count), least, least, MOST_COMPARED)
    return Volume(least, least * paying_tokens, None if always is None else always * paying_tokens)


def break_evens(
    row: PlanRow, waiting: Waiting, usd_per_hour: float, apis: Sequence[ApiOffer], demand: PlanDemand
) -> tuple[BreakEven, ...]:
    """Return the break-even of one row against each API, in the order given."""
    volumes: dict[float, Volume | None] = {}
    results = []
    for api in apis:
        price = api.usd_per_million_own_tokens.mid
        if price not in volumes:
            volumes[price] = break_even_volume(
                waiting,
                usd_per_hour=usd_per_hour,
                api_usd_per_million_tokens=price,
                peak_to_mean=demand.peak_to_mean,
                target_s=demand.p99_s,
                routing=row.routing,
                batch_share=demand.batch_share,
            )
        volume = volumes[price]
        results.append(
            BreakEven(
                api=f"{api.provider} {api.model}",
                device=row.device,
                tokens_per_day=volume.tokens_per_day if volume else None,
                always_from_tokens_per_day=volume.always_from_tokens_per_day if volume else None,
                replicas=volume.replicas if volume else None,
            )
        )
    return tuple(results)
