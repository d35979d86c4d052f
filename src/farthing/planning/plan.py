"""`plan` and `plan_corpus`: from the names of a model and of devices, and a demand, to a Plan."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from farthing.catalog import facts
from farthing.catalog.load import load_tokenizers
from farthing.catalog.lookups import tokens_per_character_of
from farthing.catalog.resolve import resolve_model
from farthing.catalog.rows import TokensPerCharacter
from farthing.errors import InputError
from farthing.planning.answer import Plan, PlanLengths, PlanServer
from farthing.planning.apis import api_offers, batch_share_of_corpus
from farthing.planning.asked.arguments import checked
from farthing.planning.asked.lengths import CountTokens, LengthsInput, lengths_from
from farthing.planning.devices.choice import DeviceChoice, find_candidates
from farthing.planning.padding import padding_wastes
from farthing.planning.verdict import (
    batch_share_notes,
    cut_notes,
    deadline_note,
    length_notes,
    tokenizer_note,
    trace_notes,
)
from farthing.theory.host import DEFAULT_SERVER
from farthing.theory.lengths import LengthDistribution, counted_lengths
from farthing.theory.pricing import check_positive

if TYPE_CHECKING:
    from farthing.planning.corpus import CorpusPlan

DEFAULT_P99_S = 0.2
DEFAULT_LENGTHS = 300

VECTOR_BYTES = 4
"""Bytes of one number of a vector that is kept: float32."""


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
    spare: int = 0,
    batch_share: float = 0.0,
    devices: Sequence[str] | None = None,
    providers: Sequence[str] | None = None,
    max_usd_per_hour: float | None = None,
    dtype: str | None = None,
    usd_per_hour: float | None = None,
    calibration: str | Path | None = None,
    server: str = DEFAULT_SERVER,
    host_threads: int | None = None,
    texts_per_request: int = 1,
    count_tokens: CountTokens | None = None,
    today: datetime.date | None = None,
    notify: Callable[[str], None] | None = None,
) -> Plan:
    """Plan the cheapest devices × replicas that keep a latency target, and compare with the APIs.

    Exactly one of `rate`, `tokens_per_day`, `trace` and `replace_api` says how much is served. Replicas and waits of
    the cheapest rows, and of devices that are named, are simulated; those of the others are approximated.

    Args:
        model: name in the catalog, a folder with a config.json, or a hub id.
        rate: texts per second, mean over the day.
        tokens_per_day: tokens per day instead.
        trace: a CSV file of arrivals and lengths instead; gives the rate, its peak and the lengths.
        replace_api: an API's model instead, whose bill is `monthly_usd`.
        monthly_usd: USD per month paid to it now.
        lengths: tokens per text: a mean, a profile, a file, token counts; None for 300, or the trace's.
        p99_s: seconds from arrival to vector that 99 % of the requests may take at the peak.
        peak_to_mean: peak rate over mean rate; None for 2, or the trace's busiest minute.
        spot: plan with spot devices beside the on-demand ones.
        spare: replicas that stand beside those that the target takes, for when one fails.
        batch_share: share of the texts (0–1) that can wait: they fill idle time, and APIs bill them at their batch
            price where one is known.
        devices: names in the catalog, or `local` for this machine as it was calibrated; None for all that have a
            price, or local when a calibration is given.
        providers: names: a row for each of their offers; `all` for every provider's, `market` for the marketplaces';
            None for the median of those that list a price.
        max_usd_per_hour: budget for all devices together.
        dtype: dtype of weights and activations; None or `auto` for bf16, or fp16 where a device lacks it, and for
            local what it would run in.
        usd_per_hour: price of the one device in `devices`; None for the catalog's, or the configuration's for local.
        calibration: file that `farthing calibrate --output` wrote, for the one device in `devices`.
        server: kind of server before the devices, of `theory.host.SERVERS`.
        host_threads: threads of the server's host path; None for what was published or measured.
        texts_per_request: texts that come together, and are waited for together.
        count_tokens: counts the tokens of texts, for a file of texts; None to estimate them.
        today: day for which prices are wanted; None for the current day.
        notify: told what is simulated, in a few words.

    Raises:
        InputError: an argument is out of range or missing, or a device, dtype, profile or API is unknown.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
    """
    # Here, so that a corpus does not wait for the queues of a service, nor either for what only a trace needs.
    from farthing.planning.apis import break_evens
    from farthing.planning.asked.demand import Wanted, demand_of
    from farthing.planning.rows import plan_rows, rows_of
    from farthing.planning.verdict import order_of, verdict

    day = today or datetime.date.today()
    arrivals = None
    if trace is not None:
        from farthing.planning.asked.trace import read_trace

        arrivals = read_trace(Path(trace).expanduser())
    resolved = resolve_model(model)
    name, shape, limit = resolved.name, resolved.shape, resolved.limit
    tokenizer = tokens_per_character_of(load_tokenizers(), shape.vocabulary)
    if lengths is None and arrivals is not None:
        given = counted_lengths(arrivals.tokens, arrivals.source)
    else:
        given = _lengths(lengths, tokenizer, count_tokens)
    texts = given.truncated(limit.tokens)
    prices = facts.api_prices()
    wanted = Wanted(
        rate=rate,
        tokens_per_day=tokens_per_day,
        trace=arrivals,
        replace_api=replace_api,
        monthly_usd=monthly_usd,
        p99_s=p99_s,
        peak_to_mean=peak_to_mean,
        batch_share=batch_share,
        spare=spare,
    )
    demand = demand_of(wanted, texts, tokenizer, prices)
    choice = DeviceChoice(
        devices=devices,
        providers=providers,
        spot=spot,
        dtype=dtype,
        usd_per_hour=usd_per_hour,
        calibration=calibration,
        server=server,
        host_threads=host_threads,
        texts_per_request=texts_per_request,
    )
    field = find_candidates(name, shape, choice, day)
    if max_usd_per_hour is not None:
        check_positive("the most USD per hour", max_usd_per_hour)
    served = plan_rows(
        field.candidates, demand, texts, max_usd_per_hour=max_usd_per_hour, notify=notify or (lambda _: None)
    )
    offers = api_offers(prices, tokenizer, day, demand.tokens_per_day, batch_share=demand.batch_share)
    idle = bursts = ups_and_downs = None
    if demand.batch_share:
        from farthing.planning.filling import fill

        idle, served = fill(served, demand, max_usd_per_hour)
    best = served[0] if served[0].row.feasible else None
    if best is not None and arrivals is not None:
        from farthing.planning.replay import followed, replayed

        bursts = replayed(best, arrivals.truncated(limit.tokens), demand, idle)
        ups_and_downs = followed(best, arrivals, demand)
    rows = rows_of(served)
    even = break_evens(best, offers, demand) if best is not None else ()
    order = order_of(rows)
    host = field.candidates[0].host
    return Plan(
        verdict=verdict(name, rows, offers, even, order, demand),
        model=name,
        dtype=field.dtype,
        server=PlanServer(
            kind=server,
            threads=host.threads,
            texts_per_request=host.texts_per_request,
            assumed=host.assumed,
            source=host.source,
        ),
        demand=demand,
        lengths=_shown(texts),
        rows=rows,
        unpriced=field.unpriced,
        apis=offers,
        break_even=even,
        filled=idle,
        replay=bursts,
        following=ups_and_downs,
        order=order,
        padding=padding_wastes(texts),
        notes=(
            *resolved.notes,
            *field.notes,
            *trace_notes(arrivals),
            *cut_notes(given, limit),
            *length_notes(texts),
            *batch_share_notes(demand.batch_share),
            "how long APIs take to answer is not known: they are not held to the target",
            tokenizer_note(tokenizer),
        ),
    )


@checked
def plan_corpus(
    model: str,
    *,
    corpus_tokens: float | None = None,
    corpus_texts: float | None = None,
    deadline_s: float | None = None,
    lengths: LengthsInput | None = None,
    spot: bool = False,
    devices: Sequence[str] | None = None,
    providers: Sequence[str] | None = None,
    max_usd_per_hour: float | None = None,
    dtype: str | None = None,
    usd_per_hour: float | None = None,
    calibration: str | Path | None = None,
    host_threads: int | None = None,
    usd_per_gb_month: float | None = None,
    count_tokens: CountTokens | None = None,
    today: datetime.date | None = None,
) -> CorpusPlan:
    """Plan a corpus, before a deadline if there is one: devices × hours × dollars.

    A deadline of a day or more leaves time for the APIs' batch endpoints: they are priced at those.

    Args:
        model: name in the catalog, a folder with a config.json, or a hub id.
        corpus_tokens: tokens to embed.
        corpus_texts: or texts to embed, of `lengths`.
        deadline_s: seconds until they must be done, at the slow end of what is expected; None: one device, however
            long it takes.
        lengths: tokens per text, as in `plan`; None for 300.
        spot: plan with spot devices beside the on-demand ones.
        devices: as in `plan`.
        providers: as in `plan`.
        max_usd_per_hour: budget for all devices together.
        dtype: as in `plan`.
        usd_per_hour: as in `plan`.
        calibration: as in `plan`.
        host_threads: threads that tokenize; None for 4, or as many as were calibrated.
        usd_per_gb_month: what you pay to keep a gigabyte; None leaves what the vectors cost None.
        count_tokens: as in `plan`.
        today: as in `plan`.

    Raises:
        InputError: an argument is out of range, or a device, dtype or profile is unknown.
        ModelError: the model's folder or configuration cannot be used.
        ModelUnavailableError: the model is neither known nor here, and the hub cannot be reached.
    """
    from farthing.planning.corpus import CorpusPlan, corpus_rows
    from farthing.planning.verdict import corpus_verdict

    day = today or datetime.date.today()
    if (corpus_tokens is None) == (corpus_texts is None):
        raise InputError("how large is the corpus? give its tokens or its texts, one of the two")
    if deadline_s is not None:
        check_positive("the deadline", deadline_s)
    resolved = resolve_model(model)
    name, shape, limit = resolved.name, resolved.shape, resolved.limit
    tokenizer = tokens_per_character_of(load_tokenizers(), shape.vocabulary)
    given = _lengths(lengths, tokenizer, count_tokens)
    texts = given.truncated(limit.tokens)
    if corpus_texts is not None:
        tokens = check_positive("corpus texts", corpus_texts) * texts.mean
    else:
        tokens = check_positive("corpus tokens", corpus_tokens or 0.0)
    choice = DeviceChoice(
        devices=devices,
        providers=providers,
        spot=spot,
        dtype=dtype,
        usd_per_hour=usd_per_hour,
        calibration=calibration,
        host_threads=host_threads,
    )
    field = find_candidates(name, shape, choice, day, in_bulk=True)
    if max_usd_per_hour is not None:
        check_positive("the most USD per hour", max_usd_per_hour)
    if usd_per_gb_month is not None:
        check_positive("USD per GB and month", usd_per_gb_month)
    kept_bytes = tokens / texts.mean * shape.hidden * VECTOR_BYTES
    rows = corpus_rows(field.candidates, tokens, deadline_s, texts, max_usd_per_hour)
    offers = api_offers(
        facts.api_prices(),
        tokenizer,
        day,
        corpus_tokens=tokens,
        batch_share=batch_share_of_corpus(deadline_s),
    )
    return CorpusPlan(
        verdict=corpus_verdict(name, rows, offers),
        model=name,
        dtype=field.dtype,
        corpus_texts=tokens / texts.mean,
        corpus_tokens=tokens,
        deadline_s=deadline_s,
        lengths=_shown(texts),
        rows=rows,
        unpriced=field.unpriced,
        apis=offers,
        vectors_bytes=kept_bytes,
        vectors_usd_per_month=None if usd_per_gb_month is None else kept_bytes / 1e9 * usd_per_gb_month,
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
