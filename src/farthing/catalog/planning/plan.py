"""`plan` and `plan_corpus`: from the names of a model and of devices, and a demand, to a Plan.

Knows where things are found. What is planned with them is `theory.planning`'s.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.catalog import facts
from farthing.catalog.arguments import checked
from farthing.catalog.load import load_tokenizers
from farthing.catalog.lookups import tokens_per_character_of
from farthing.catalog.planning.api_offers import api_offers, batch_share_of_corpus
from farthing.catalog.planning.candidates import DeviceChoice, find_candidates
from farthing.catalog.planning.length_input import CountTokens, LengthsInput, lengths_from
from farthing.catalog.planning.notes import (
    batch_share_notes,
    cut_notes,
    deadline_note,
    length_notes,
    tokenizer_note,
    trace_notes,
)
from farthing.catalog.resolve import resolve_model
from farthing.catalog.rows import TokensPerCharacter
from farthing.scheduling.padding import padding_wastes
from farthing.theory.lengths import LengthDistribution, counted_lengths
from farthing.theory.planning.plan import BreakEven, Plan, PlanLengths
from farthing.theory.pricing import check_positive

if TYPE_CHECKING:
    from farthing.theory.planning.corpus_plan import CorpusPlan

DEFAULT_P99_S = 0.2
DEFAULT_LENGTHS = 300


@checked
def plan(
    model: str,
    *,
    rate: float | None = None,
    tokens_per_day: float | None = None,
    trace: str | Path | None = None,
    replace_api: str | None = None,
    monthly_usd: float | None = None,
    lengths: LengthsInput | None = None,
    p99_s: float = DEFAULT_P99_S,
    peak_to_mean: float | None = None,
    spot: bool = False,
    batch_share: float = 0.0,
    devices: Sequence[str] | None = None,
    max_usd_per_hour: float | None = None,
    dtype: str | None = None,
    usd_per_hour: float | None = None,
    calibration: str | Path | None = None,
    host_threads: int | None = None,
    count_tokens: CountTokens | None = None,
    today: datetime.date | None = None,
) -> Plan:
    """Plan the cheapest devices × replicas that keep a latency target, and compare with the APIs.

    Exactly one of `rate`, `tokens_per_day`, `trace` and `replace_api` says how much is served.

    Args:
        model: name in the catalog, a folder with a config.json, or a hub id.
        rate: texts per second, mean over the day.
        tokens_per_day: tokens per day instead.
        trace: a CSV file of arrivals and lengths instead; gives the rate, its peak and the lengths.
        replace_api: an API's model instead, whose bill is `monthly_usd`.
        monthly_usd: USD per month paid to it now.
        lengths: tokens per text: a mean, a profile, a file, token counts; None for 300, or the trace's.
        p99_s: seconds from arrival to vector that 99 % of the texts may take at the peak.
        peak_to_mean: peak rate over mean rate; None for 2, or the trace's busiest minute.
        spot: plan with spot devices beside the on-demand ones.
        batch_share: share of the texts (0–1) that can wait: they fill idle time, and APIs bill them at their batch
            price where one is known.
        devices: names in the catalog, or `local` for this machine as it was calibrated; None for all that have a
            price, or local when a calibration is given.
        max_usd_per_hour: budget for all replicas together.
        dtype: dtype of weights and activations; None or `auto` for bf16, or fp16 where a device lacks it, and for
            local what it would run in.
        usd_per_hour: price of the one device in `devices`; None for the catalog's, or the configuration's for local.
        calibration: file that `farthing calibrate --output` wrote, for the one device in `devices`.
        host_threads: threads of the server's host path; None for what was published or measured.
        count_tokens: counts the tokens of texts, for a file of texts; None to estimate them.
        today: day for which prices are wanted; None for the current day.

    Raises:
        InputError: an argument is out of range or missing, or a device, dtype, profile or API is unknown.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
    """
    # Here, so that a corpus does not wait for the queues of a service, nor either for what only a trace needs.
    from farthing.catalog.planning.demand import Wanted, demand_of
    from farthing.theory.planning.break_even import break_evens
    from farthing.theory.planning.filling import filled
    from farthing.theory.planning.rows import plan_rows
    from farthing.theory.planning.sensitivity import sensitivity

    day = today or datetime.date.today()
    arrivals = None
    if trace is not None:
        from farthing.catalog.planning.trace_file import read_trace

        arrivals = read_trace(Path(trace).expanduser())
    resolved = resolve_model(model)
    name, shape, limit = resolved.name, resolved.shape, resolved.limit
    tokenizer = tokens_per_character_of(load_tokenizers(), shape.vocabulary)
    if lengths is None and arrivals is not None:
        given = counted_lengths(arrivals.tokens, arrivals.source)
    else:
        given = _lengths(lengths, tokenizer, count_tokens)
    texts = given.truncated(limit.tokens)
    apis = facts.api_prices()
    wanted = Wanted(
        rate=rate,
        tokens_per_day=tokens_per_day,
        trace=arrivals,
        replace_api=replace_api,
        monthly_usd=monthly_usd,
        p99_s=p99_s,
        peak_to_mean=peak_to_mean,
        batch_share=batch_share,
    )
    demand = demand_of(wanted, texts, tokenizer, apis)
    choice = DeviceChoice(
        devices=devices,
        spot=spot,
        dtype=None if dtype == "auto" else dtype,
        usd_per_hour=usd_per_hour,
        calibration=calibration,
        host_threads=host_threads,
    )
    field = find_candidates(name, shape, choice, day)
    if max_usd_per_hour is not None:
        check_positive("the most USD per hour", max_usd_per_hour)
    rows, queues = plan_rows(field.candidates, demand, texts, max_usd_per_hour)
    offers = api_offers(apis, tokenizer, day, demand.tokens_per_day, batch_share=demand.batch_share)
    best = next((row for row in rows if row.feasible), None)
    against: tuple[BreakEven, ...] = ()
    idle = bursts = ups_and_downs = None
    if best is not None:
        own = next(c for c in field.candidates if (c.device, c.spot) == (best.device, best.spot))
        waiting = queues[best.device, best.spot]
        against = break_evens(best, waiting, own.usd_per_hour(own.price.value), offers, demand)
        idle = filled(best, waiting, own, demand)
        if arrivals is not None:
            from farthing.catalog.planning.replay import followed, replayed

            bursts = replayed(
                best,
                waiting.station,
                arrivals.truncated(limit.tokens),
                demand,
                None if idle is None else idle.filler_step_s,
            )
            hourly = own.usd_per_hour(own.price.value)
            ups_and_downs = followed(best, waiting, arrivals, demand, hourly)
    return Plan(
        model=name,
        dtype=field.dtype,
        demand=demand,
        lengths=_shown(texts),
        rows=rows,
        unpriced=field.unpriced,
        apis=offers,
        break_even=against,
        filled=idle,
        replay=bursts,
        following=ups_and_downs,
        sensitivity=sensitivity(rows, field.newest_quotes),
        padding=padding_wastes(texts),
        notes=(
            *resolved.notes,
            *field.notes,
            *trace_notes(arrivals),
            *cut_notes(given, limit),
            *length_notes(texts),
            *batch_share_notes(demand.batch_share),
            tokenizer_note(tokenizer),
        ),
    )


@checked
def plan_corpus(
    model: str,
    *,
    corpus_tokens: float,
    deadline_s: float,
    lengths: LengthsInput | None = None,
    spot: bool = False,
    devices: Sequence[str] | None = None,
    max_usd_per_hour: float | None = None,
    dtype: str | None = None,
    usd_per_hour: float | None = None,
    calibration: str | Path | None = None,
    host_threads: int | None = None,
    count_tokens: CountTokens | None = None,
    today: datetime.date | None = None,
) -> CorpusPlan:
    """Plan a corpus before a deadline: devices × hours × dollars.

    A deadline of a day or more leaves time for the APIs' batch endpoints: they are priced at those.

    Args:
        model: name in the catalog, a folder with a config.json, or a hub id.
        corpus_tokens: tokens to embed.
        deadline_s: seconds until they must be done.
        lengths: tokens per text, as in `plan`; None for 300.
        spot: plan with spot devices beside the on-demand ones.
        devices: as in `plan`.
        max_usd_per_hour: budget for all devices together.
        dtype: as in `plan`.
        usd_per_hour: as in `plan`.
        calibration: as in `plan`.
        host_threads: threads that tokenize; None for 4, or as many as were calibrated.
        count_tokens: as in `plan`.
        today: as in `plan`.

    Raises:
        InputError: an argument is out of range, or a device, dtype or profile is unknown.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
    """
    from farthing.theory.planning.corpus import corpus_rows
    from farthing.theory.planning.corpus_plan import CorpusPlan

    day = today or datetime.date.today()
    check_positive("corpus tokens", corpus_tokens)
    check_positive("the deadline", deadline_s)
    resolved = resolve_model(model)
    name, shape, limit = resolved.name, resolved.shape, resolved.limit
    tokenizer = tokens_per_character_of(load_tokenizers(), shape.vocabulary)
    given = _lengths(lengths, tokenizer, count_tokens)
    texts = given.truncated(limit.tokens)
    choice = DeviceChoice(
        devices=devices,
        spot=spot,
        dtype=None if dtype == "auto" else dtype,
        usd_per_hour=usd_per_hour,
        calibration=calibration,
        host_threads=host_threads,
    )
    field = find_candidates(name, shape, choice, day, in_bulk=True)
    if max_usd_per_hour is not None:
        check_positive("the most USD per hour", max_usd_per_hour)
    return CorpusPlan(
        model=name,
        dtype=field.dtype,
        corpus_tokens=corpus_tokens,
        deadline_s=deadline_s,
        lengths=_shown(texts),
        rows=corpus_rows(field.candidates, corpus_tokens, deadline_s, texts, max_usd_per_hour),
        unpriced=field.unpriced,
        apis=api_offers(
            facts.api_prices(),
            tokenizer,
            day,
            corpus_tokens=corpus_tokens,
            batch_share=batch_share_of_corpus(deadline_s),
        ),
        padding=padding_wastes(texts),
        notes=(
            *resolved.notes,
            *field.notes,
            "every device is busy to the end; starting it and loading the model are not counted",
            *cut_notes(given, limit),
            deadline_note(deadline_s),
            tokenizer_note(tokenizer),
        ),
    )


def _lengths(
    given: LengthsInput | None,
    tokenizer: TokensPerCharacter,
    count_tokens: CountTokens | None,
) -> LengthDistribution:
    return lengths_from(
        DEFAULT_LENGTHS if given is None else given,
        tokens_per_character=tokenizer.mid,
        count_tokens=count_tokens,
    )


def _shown(texts: LengthDistribution) -> PlanLengths:
    return PlanLengths(
        mean=texts.mean, cv2=texts.cv2, p99=texts.quantile(0.99), longest=texts.longest, source=texts.source
    )
