"""`plan` over the packaged catalog: its documented keys, its choices, and what it refuses."""

from __future__ import annotations

import csv
import datetime
import json
import random
from pathlib import Path
from typing import Any

import pytest

from farthing.catalog import facts
from farthing.catalog.calibration_file import write_calibration_file
from farthing.catalog.calibrations import save_calibration, save_model_calibration
from farthing.catalog.lookups import device_price
from farthing.errors import InputError
from farthing.planning.answer import Plan, PlanRow
from farthing.planning.corpus import CorpusPlan
from farthing.planning.explain import explain
from farthing.planning.plan import plan, plan_corpus
from farthing.theory.pricing import DAYS_PER_MONTH
from makers import TINY_BERT_CONFIG, make_calibration, make_model_calibration

DAY = datetime.date(2026, 11, 21)
MODEL, MINILM = "Qwen3-Embedding-8B", "all-MiniLM-L6-v2"

ROW_KEYS = {
    "device", "provider", "usd_per_hour", "price_as_of", "replicas", "utilization", "p50_s", "p99_s",
    "p99_source", "usd_per_million_tokens", "usd_per_month", "feasible", "reason",
    "verified", "bound_by",
}  # fmt: skip
"""Keys that others rely on."""


@pytest.fixture(scope="module")
def usual() -> Plan:
    return plan(MODEL, rate=50, lengths=300, p99_s=0.2, today=DAY)


def best(result: Plan, device: str) -> PlanRow:
    return next(row for row in result.rows if row.device == device)


def test_the_documented_keys_are_there_in_plain_json(usual: Plan) -> None:
    document = json.loads(json.dumps(usual.as_dict(), allow_nan=False))
    for row in document["rows"]:
        assert row.keys() >= ROW_KEYS
        if row["feasible"]:
            assert row["verified"] in ("simulated", "approximate")
            assert row["bound_by"] in ("device", "host", "latency")
            assert row["usd_per_million_tokens"].keys() == {"low", "mid", "high"}
    assert document["verdict"]
    assert document["server"].keys() >= {"kind", "threads", "source"}
    for api in document["apis"]:
        assert api.keys() >= {"provider", "model", "usd_per_million_tokens", "tokens_per_character", "as_of"}
        assert api["tokens_per_character"].keys() == {"mid", "low", "high", "source"}
    for point in document["break_even"]:
        assert point.keys() >= {"api", "device", "tokens_per_day"}


def test_every_device_with_a_price_has_one_row_and_the_others_are_named(usual: Plan) -> None:
    priced = {
        device.device
        for device in facts.devices()
        if device_price(facts.rental_quotes(), device.device, DAY) is not None
    }
    assert len(priced) >= 12
    assert sorted(row.device for row in usual.rows) == sorted(priced)
    assert set(usual.unpriced) == {device.device for device in facts.devices()} - priced


def test_every_row_is_feasible_or_says_why(usual: Plan) -> None:
    assert {row.feasible for row in usual.rows} == {True, False}
    for row in usual.rows:
        assert row.feasible == (row.reason is None)
        if row.feasible:
            assert row.p99_s is not None
            assert row.p50_s is not None
            assert row.p50_s <= row.p99_s <= 0.2
            assert row.p99_source
    reasons = {row.device: row.reason for row in usual.rows}
    assert "does not fit" in (reasons["t4"] or "")  # 16 GB of weights on 16 GB


def test_rows_rise_in_price_and_apis_too(usual: Plan) -> None:
    prices = [
        row.usd_per_million_tokens.mid for row in usual.rows if row.feasible and row.usd_per_million_tokens
    ]
    assert prices == sorted(prices)
    own = [api.usd_per_million_own_tokens.mid for api in usual.apis]
    assert own == sorted(own)


def test_break_even_is_of_the_cheapest_row_against_every_api(usual: Plan) -> None:
    assert [point.api for point in usual.break_even] == [f"{api.provider} {api.model}" for api in usual.apis]
    assert {point.device for point in usual.break_even} == {usual.rows[0].device}
    volumes = [point.tokens_per_day for point in usual.break_even]
    assert None in volumes  # the cheapest market price of this very model is below what these devices cost
    known = [volume for volume in volumes if volume is not None]
    assert known == sorted(known, reverse=True)


def test_tokens_per_day_and_rate_say_the_same() -> None:
    by_rate = plan(MODEL, rate=50, lengths=300, devices=["h100-sxm"], today=DAY)
    by_tokens = plan(MODEL, tokens_per_day=50 * 300 * 86400, lengths=300, devices=["h100-sxm"], today=DAY)
    assert by_tokens.rows == by_rate.rows


def test_an_api_bill_becomes_a_demand() -> None:
    """$900 a month at $0.02 are 45G of its tokens; cl100k and Qwen make about as many of a text."""
    result = plan(
        MODEL, replace_api="text-embedding-3-small", monthly_usd=900, devices=["rtx-4090"], today=DAY
    )
    (api,) = (a for a in result.apis if (a.provider, a.model) == ("OpenAI", "text-embedding-3-small"))
    assert result.demand.tokens_per_day * DAYS_PER_MONTH == pytest.approx(45e9, rel=0.1)
    assert api.usd_per_month == pytest.approx(900)
    assert "text-embedding-3-small" in result.demand.source


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Ten minutes at 20 a second, the sixth of them at 60."""
    rng, rows, now = random.Random(0), [], 0.0
    while now < 600:
        rows.append((f"{now:.3f}", rng.choice([100, 200, 900])))
        now += rng.expovariate(60 if 300 <= now < 360 else 20)
    path = tmp_path / "trace.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_s", "tokens"])
        writer.writerows(rows)
    return path


def test_a_trace_gives_rate_peak_and_lengths_and_is_replayed(trace: Path) -> None:
    result = plan("bge-m3", trace=trace, p99_s=0.1, today=DAY)
    assert result.demand.texts_per_s == pytest.approx(24, rel=0.1)
    assert result.demand.peak_to_mean == pytest.approx(60 / 24, rel=0.15)
    assert result.lengths.mean == pytest.approx(400, rel=0.1)
    assert result.replay is not None
    assert (result.replay.device, result.replay.replicas) == (result.rows[0].device, result.rows[0].replicas)
    assert result.replay.keeps_target  # Poisson at the peak minute is worse than this trace over all
    assert result.rows[0].p99_s is not None
    assert result.replay.p99_s <= result.rows[0].p99_s


def test_a_fleet_follows_the_load_of_a_trace(trace: Path) -> None:
    result = plan("Qwen3-Embedding-8B", trace=trace, p99_s=0.3, devices=["rtx-4090"], today=DAY)
    fleet, row = result.following, result.rows[0]
    assert fleet is not None
    assert row.replicas is not None
    assert fleet.replicas_least < fleet.replicas_most <= row.replicas
    assert fleet.replicas_least <= fleet.replicas_mean < fleet.replicas_most
    assert row.usd_per_million_tokens is not None
    assert fleet.usd_per_million_tokens < row.usd_per_million_tokens.mid
    assert row.utilization is not None
    assert fleet.utilization * fleet.replicas_mean == pytest.approx(row.utilization * row.replicas)
    assert plan("bge-m3", rate=5, devices=["l4"], today=DAY).following is None


def test_a_burst_that_the_plan_misses_is_answered_with_more_replicas(tmp_path: Path) -> None:
    """Two hundred texts at once, then calm: Poisson at the busiest minute knows nothing of it."""
    path = tmp_path / "burst.csv"
    times = [0.0] * 200 + [1.0 + k / 2 for k in range(1200)]
    path.write_text("time_s,tokens\n" + "".join(f"{t},400\n" for t in times))
    replay = plan("Qwen3-Embedding-0.6B", trace=path, p99_s=0.1, devices=["t4"], today=DAY).replay
    assert replay is not None
    assert not replay.keeps_target
    assert replay.p99_s > 0.1
    assert replay.replicas_needed is not None
    assert replay.replicas_needed > replay.replicas


def test_texts_that_can_wait_are_not_replayed_as_online(trace: Path) -> None:
    all_now, some = (
        plan("bge-m3", trace=trace, p99_s=0.1, devices=["l4"], batch_share=share, today=DAY).replay
        for share in (0.0, 0.5)
    )
    assert all_now is not None
    assert some is not None
    assert some.texts == pytest.approx(all_now.texts / 2, rel=0.1)


def test_another_models_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cal.json"
    measured = make_model_calibration(model="sentence-transformers/all-MiniLM-L6-v2")
    write_calibration_file(path, make_calibration(), measured)
    given: dict[str, Any] = {
        "rate": 0.1, "lengths": 60, "p99_s": 20, "devices": ["local"], "usd_per_hour": 0.1, "calibration": path,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"all-MiniLM-L6-v2.*not BAAI/bge-m3"):
        plan("bge-m3", **given, today=DAY)
    result = plan("all-MiniLM-L6-v2", **given, today=DAY)
    assert {row.basis for row in result.rows} == {"calibration"}
    assert any("were measured on two cores" in note for note in result.notes)


def test_a_calibration_without_a_device_is_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "cal.json"
    write_calibration_file(path, make_calibration(), make_model_calibration())
    given: dict[str, Any] = {
        "lengths": 60,
        "p99_s": 20,
        "calibration": path,
        "usd_per_hour": 0.1,
        "today": DAY,
    }
    alone, named = (plan(MINILM, rate=0.1, devices=devices, **given) for devices in (None, ["local"]))
    assert {row.device for row in alone.rows} == {"local"}
    assert alone.rows == named.rows
    with pytest.raises(
        InputError, match=r"no price is known for local: .*\[local\] usd_per_hour into .*config\.toml"
    ):
        plan(MINILM, rate=0.1, calibration=path, today=DAY)


def test_this_machine_is_planned_with_as_it_was_calibrated_and_priced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As explain does: the calibration that is kept, the price of the configuration."""
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(InputError, match="local is not calibrated yet: run `farthing calibrate`"):
        plan(MINILM, rate=0.1, devices=["local"], usd_per_hour=0.1, today=DAY)
    machine = make_calibration()
    save_calibration(machine)
    name = "sentence-transformers/all-MiniLM-L6-v2"
    save_model_calibration(make_model_calibration(model=name), machine, "r")
    (tmp_path / "farthing" / "config.toml").write_text("[local]\nusd_per_hour = 0.08\n")
    result = plan(MINILM, rate=0.1, lengths=60, p99_s=20, devices=["local", "l4"], today=DAY)
    own, other = (next(row for row in result.rows if row.device == device) for device in ("local", "l4"))
    assert (own.usd_per_hour, own.provider, own.basis) == (0.08, "as configured", "calibration")
    assert other.basis == "datasheet"
    assert result.dtype == "fp32, bf16"
    assert any("local: this model's step times were measured on two cores" in note for note in result.notes)
    explained = explain(MINILM, device="local", length=60, today=DAY)
    assert explained.usd_per_hour.value == own.usd_per_hour
    assert explained.basis == own.basis


def test_a_calibrated_device_of_the_catalog_has_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "cal.json"
    write_calibration_file(path, make_calibration(), None)
    result = plan(MODEL, rate=0.001, p99_s=1e6, devices=["l4"], calibration=path, usd_per_hour=0.1, today=DAY)
    assert all("does not fit" in (row.reason or "") for row in result.rows)
    with pytest.raises(InputError, match="unknown device 'my-box'"):
        plan(MODEL, rate=1, devices=["my-box"], calibration=path, usd_per_hour=0.1, today=DAY)


@pytest.mark.parametrize("rate", [3000, 5000, 10_000, 1e6])
@pytest.mark.parametrize("model", ["bge-small-en-v1.5", "bge-m3", "potion-base-8M"])
def test_high_rates_are_planned(model: str, rate: float) -> None:
    result = plan(model, rate=rate, today=DAY)
    assert any(row.feasible for row in result.rows)


def test_no_trace_no_replay(usual: Plan) -> None:
    assert usual.replay is None


def test_the_users_own_price_counts(usual: Plan) -> None:
    own = plan(MODEL, rate=50, lengths=300, devices=["b200"], usd_per_hour=0.5, today=DAY)
    assert {row.usd_per_hour for row in own.rows} == {0.5}
    assert {row.provider for row in own.rows} == {"as given"}
    assert best(own, "b200").replicas == best(usual, "b200").replicas


def test_spot_rows_are_beside_the_others_and_their_assumption_is_said() -> None:
    result = plan(MODEL, rate=50, lengths=300, spot=True, today=DAY)
    assert {row.spot for row in result.rows} == {True, False}
    assert any("spot: an interruption every 6 hours" in note for note in result.notes)


def test_a_device_without_a_price_is_ranked_only_with_one() -> None:
    unpriced = plan(MODEL, rate=50, today=DAY).unpriced
    assert unpriced
    with pytest.raises(InputError, match=f"no price is known for {unpriced[0]}"):
        plan(MODEL, rate=50, devices=[unpriced[0]], today=DAY)
    assert plan(MODEL, rate=50, devices=[unpriced[0]], usd_per_hour=1.0, today=DAY).rows


def test_a_price_older_than_ninety_days_is_flagged() -> None:
    later = plan(MODEL, rate=50, today=datetime.date(2027, 6, 1))
    assert all(row.price_stale for row in later.rows)
    assert all(api.stale for api in later.apis)
    assert any("over 90 days old" in note for note in later.notes)


def test_texts_are_cut_at_the_models_limit() -> None:
    result = plan("all-MiniLM-L6-v2", rate=50, lengths="conversations", today=DAY)
    assert result.lengths.longest == 256
    assert "cut to 256" in result.lengths.source
    (note,) = (note for note in result.notes if "and cut" in note)
    assert "% of the texts are longer than the 256 tokens that the model takes" in note
    assert "sentence_bert_config.json" in note
    every = plan("all-MiniLM-L6-v2", rate=50, lengths=300, devices=["l4"], today=DAY)
    assert any(note.startswith("100 % of the texts") for note in every.notes)
    short = plan("all-MiniLM-L6-v2", rate=50, lengths="queries", today=DAY)
    assert not any("and cut" in note for note in short.notes)
    corpus = plan_corpus(
        "all-MiniLM-L6-v2", corpus_tokens=1e9, deadline_s=1e5, lengths="conversations", today=DAY
    )
    assert corpus.lengths.longest == 256
    assert any("and cut" in note for note in corpus.notes)


def test_a_folder_says_where_its_texts_are_cut(tmp_path: Path, trace: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY_BERT_CONFIG | {"max_position_embeddings": 512}))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 128}')
    result = plan(str(tmp_path), trace=trace, devices=["l4"], today=DAY)
    assert result.lengths.longest == 128
    assert any("longer than the 128 tokens" in note and "max_seq_length 128" in note for note in result.notes)


def test_a_dtype_leaves_out_the_devices_without_it() -> None:
    devices = {row.device for row in plan(MODEL, rate=50, dtype="fp8", today=DAY).rows}
    assert "h100-sxm" in devices
    assert "a100-80g" not in devices
    with pytest.raises(InputError, match="fp8"):
        plan(MODEL, rate=50, dtype="fp8", devices=["a100-80g"], today=DAY)


def test_datasheet_basis_and_host_are_said(usual: Plan) -> None:
    assert {row.basis for row in usual.rows} == {"datasheet"}
    assert any("not measured" in note for note in usual.notes)
    assert any("server is assumed" in note and "--server" in note for note in usual.notes)


def test_more_host_threads_help_a_small_model() -> None:
    one, eight = (
        plan("all-MiniLM-L6-v2", rate=5000, lengths=60, devices=["l4"], host_threads=n, today=DAY).rows[0]
        for n in (1, 8)
    )
    assert one.replicas is not None
    assert eight.replicas is not None
    assert eight.replicas < one.replicas


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to serve": ({}, "nothing given"),
    "two demands": ({"rate": 1, "tokens_per_day": 5}, "a rate and tokens per day given"),
    "no rate": ({"rate": 0}, "rate is 0"),
    "rate not finite": ({"rate": float("nan")}, "rate is nan"),
    "no target": ({"rate": 1, "p99_s": 0}, "p99 target is 0"),
    "peak below mean": ({"rate": 1, "peak_to_mean": 0.5}, "peak to mean is 0.5"),
    "all can wait": ({"rate": 1, "batch_share": 1.0}, "batch share is 1.0"),
    "no such device": ({"rate": 1, "devices": ["h1000"]}, "unknown device 'h1000'"),
    "no device": ({"rate": 1, "devices": []}, "no device is named"),
    "a price for many": ({"rate": 1, "usd_per_hour": 2.0}, "usd per hour belongs to one device"),
    "a calibration for many": (
        {"rate": 1, "devices": ["l4", "t4"], "calibration": "x.json"},
        "belongs to one",
    ),
    "no such dtype": ({"rate": 1, "dtype": "fp2"}, "unknown dtype 'fp2'"),
    "no such profile": ({"rate": 1, "lengths": "tweets"}, "'tweets'"),
    "no budget": ({"rate": 1, "max_usd_per_hour": 0}, "most USD per hour is 0"),
    "no such server": ({"rate": 1, "server": "nginx"}, "unknown server 'nginx': use one of farthing, tei"),
    "no texts": ({"rate": 1, "texts_per_request": 0}, "texts per request is 0"),
    "spare below 0": ({"rate": 1, "spare": -1}, "spare is -1"),
    "no such provider": ({"rate": 1, "providers": ["Acme"]}, "price of Acme"),
    "no threads": ({"rate": 1, "host_threads": 0}, "host threads is 0"),
    "a bill without an API": ({"rate": 1, "monthly_usd": 5}, "belong together"),
    "an API without a bill": ({"replace_api": "text-embedding-3-small"}, "belong together"),
    "no such API": ({"replace_api": "text-embedding-4", "monthly_usd": 5}, "unknown API model"),
    "an API of several": ({"replace_api": "bge-m3", "monthly_usd": 5}, "several providers"),
    "this machine unmeasured": (
        {"rate": 1, "devices": ["local"], "dtype": "int8"},
        "not calibrated in int8 yet",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_culprit(case: str) -> None:
    arguments, message = BAD[case]
    with pytest.raises(InputError) as caught:
        plan(MODEL, **arguments, today=DAY)
    assert message in str(caught.value)


def test_a_corpus_is_priced_on_devices_and_apis() -> None:
    result = plan_corpus(MODEL, corpus_tokens=5e9, deadline_s=24 * 3600, today=DAY)
    assert isinstance(result, CorpusPlan)
    row = result.rows[0]
    assert row.feasible
    assert row.hours is not None
    assert row.hours.high <= 24
    totals = [row.usd_total.mid for row in result.rows if row.feasible and row.usd_total]
    assert totals == sorted(totals)
    assert {api.usd_per_month for api in result.apis} == {None}
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("hours", "batch"), [(24, True), (23, False)])
def test_a_corpus_pays_apis_the_batch_price_if_the_deadline_leaves_a_day(hours: int, batch: bool) -> None:
    result = plan_corpus(MODEL, corpus_tokens=5e9, deadline_s=hours * 3600, today=DAY)
    api = next(a for a in result.apis if (a.provider, a.model) == ("OpenAI", "text-embedding-3-small"))
    assert (api.usd_per_million_tokens, api.usd_per_million_tokens_batch) == (0.02, 0.01)
    assert api.usd_per_million_tokens_billed == (0.01 if batch else 0.02)
    assert api.usd_total == pytest.approx(api.usd_per_million_own_tokens.mid * 5000)
    own = [a.usd_per_million_own_tokens.mid for a in result.apis]
    assert own == sorted(own)
    said = "APIs are at their batch price" if batch else "APIs are at list price"
    assert len([note for note in result.notes if note.startswith(said) and "24 hours" in note]) == 1


def test_texts_that_can_wait_lower_the_bill_of_an_api_that_has_batches() -> None:
    now, some = (
        plan("bge-m3", rate=5, p99_s=0.5, devices=["l4"], batch_share=share, today=DAY)
        for share in (0.0, 0.4)
    )
    bills = {(a.provider, a.model): a.usd_per_month for a in now.apis}
    for api in some.apis:
        assert api.usd_per_month is not None
        share = 1.0
        if api.usd_per_million_tokens_batch is not None:
            share = 0.6 + 0.4 * api.usd_per_million_tokens_batch / api.usd_per_million_tokens
        assert api.usd_per_month == pytest.approx(share * (bills[api.provider, api.model] or 0))
    assert any("the 40% that can wait" in note for note in some.notes)
    assert not any("batch" in note for note in now.notes)


@pytest.mark.parametrize(("tokens", "deadline_s", "message"), [(0, 1, "corpus tokens"), (1, 0, "deadline")])
def test_a_corpus_needs_tokens_and_time(tokens: float, deadline_s: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_corpus(MODEL, corpus_tokens=tokens, deadline_s=deadline_s, today=DAY)


def test_a_corpus_is_of_tokens_or_of_texts() -> None:
    by_texts = plan_corpus(MODEL, corpus_texts=10e6, lengths=500, today=DAY)
    by_tokens = plan_corpus(MODEL, corpus_tokens=5e9, lengths=500, today=DAY)
    assert by_texts.rows == by_tokens.rows
    assert by_tokens.corpus_texts == pytest.approx(10e6)
    assert by_texts.vectors_bytes == 10e6 * 4096 * 4
    assert by_texts.vectors_usd_per_month is None
    kept = plan_corpus(MODEL, corpus_texts=10e6, lengths=500, usd_per_gb_month=0.1, today=DAY)
    assert kept.vectors_usd_per_month == pytest.approx(16.384)
    for tokens in (None, 1.0):
        with pytest.raises(InputError, match="how large is the corpus"):
            plan_corpus(MODEL, corpus_tokens=tokens, corpus_texts=tokens, today=DAY)


# Prices and their providers


def test_a_price_is_an_offer_that_someone_made(usual: Plan) -> None:
    """Not a mean of two; a provider once; marketplaces only where nobody lists a price; a lone offer has no range."""
    quotes = facts.rental_quotes()
    for row in usual.rows:
        own = [quote for quote in quotes if quote.device == row.device and quote.kind == "on-demand"]
        assert (row.provider, row.usd_per_hour) in {(quote.provider, quote.usd_per_hour) for quote in own}
        fresh = [q for q in own if (DAY - q.date).days <= 90]
        if fresh:
            assert row.marketplace == all(q.market for q in fresh)
        if len({q.company for q in own}) == 1:
            assert row.usd_per_hour_min is None


def test_every_provider_has_a_row_where_that_is_asked_for() -> None:
    every = plan(MODEL, rate=50, devices=["h100-sxm"], providers=["all"], today=DAY).rows
    assert len({row.provider for row in every}) == len(every) > 8
    assert {row.usd_per_hour_min for row in every} == {None}
    some = plan(MODEL, rate=50, devices=["h100-sxm"], providers=["Lambda", "coreweave"], today=DAY).rows
    assert {row.provider for row in some} == {"Lambda", "CoreWeave"}
    market = plan(MODEL, rate=50, devices=["h100-sxm"], providers=["market"], today=DAY).rows
    assert [row.marketplace for row in market] == [True]


# The server


def test_the_host_sets_the_fleet_and_another_server_does_not() -> None:
    """8,843 texts a second of 57 tokens on an A100: a public run did it on one card, behind TEI."""
    given: dict[str, Any] = {
        "rate": 8843,
        "lengths": 57,
        "devices": ["a100-40g"],
        "dtype": "fp16",
        "peak_to_mean": 1,
    }
    usual = plan("intfloat/multilingual-e5-base", **given, today=DAY)
    assert usual.rows[0].bound_by == "host"
    assert usual.server.assumed
    assert "the host sets their number" in usual.verdict
    threads = plan("intfloat/multilingual-e5-base", **given, host_threads=16, today=DAY).rows[0]
    assert threads.replicas == 1
    tei = plan("intfloat/multilingual-e5-base", **given, server="tei", today=DAY).rows[0]
    assert tei.replicas == 1
    together = plan(
        "intfloat/multilingual-e5-base", **given, server="vllm", texts_per_request=256, today=DAY
    ).rows[0]
    assert together.replicas is not None
    assert usual.rows[0].replicas is not None
    assert together.replicas < usual.rows[0].replicas


def test_an_idle_wait_is_what_explain_says() -> None:
    """The host is counted once."""
    explained = explain("bge-small-en-v1.5", device="l4", length=300, today=DAY)
    planned = plan("bge-small-en-v1.5", rate=0.001, devices=["l4"], today=DAY).rows[0]
    assert planned.p50_s == pytest.approx(explained.host.lone_latency_s, rel=0.02)
