"""`farthing plan` as people meet it: a table or one JSON document, a picture, and one line when it cannot."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from farthing.cli.main import main

MODEL = "Qwen3-Embedding-8B"
RATE = ("--rate", "50", "--p99-ms", "200")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What people read, unwrapped."""
        return " ".join((self.out + self.err).replace("│", " ").split())


Plan = Callable[..., Outcome]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Run `farthing plan` in this process, in an empty folder and on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(["plan", *arguments])
        return Outcome(code, *capsys.readouterr())

    return run


def refused(outcome: Outcome, *fragments: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("farthing: ")
    assert outcome.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in outcome.err


def test_json_is_one_document_and_nothing_else(plan: Plan) -> None:
    outcome = plan(MODEL, *RATE, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert document["model"] == "Qwen/Qwen3-Embedding-8B"
    assert document["demand"]["texts_per_s"] == 50
    assert document["demand"]["p99_s"] == pytest.approx(0.2)


def test_the_table_shows_what_the_plan_says(plan: Plan) -> None:
    document = json.loads(plan(MODEL, *RATE, "--json").out)
    outcome = plan(MODEL, *RATE)
    assert (outcome.code, outcome.err) == (0, "")
    for row in document["rows"]:
        assert row["device"] in outcome.words
        if not row["feasible"]:
            assert row["reason"] in outcome.words
    best = document["rows"][0]
    assert f"{best['usd_per_month']:,.0f}" in outcome.words
    names = [f"{api['provider']} {api['model']}" for api in document["apis"]]
    shown = [name for name in names if name in outcome.words]
    assert len(shown) >= 12
    assert {name for name in names if name.endswith(" Qwen3-Embedding-8B")} <= set(shown)  # the same model
    assert "OpenAI text-embedding-3-small" in shown
    assert "never" in outcome.words
    assert "the order may be the other way round" in outcome.words
    assert outcome.words.startswith(" ".join(document["verdict"].split()))
    assert "idle time" not in outcome.words  # nobody asked
    assert "padding waste" not in outcome.words  # all texts are as long
    for note in document["notes"]:
        assert " ".join(note.split()) in outcome.words
    assert "None" not in outcome.out
    assert "nan" not in outcome.out


def test_padding_waste_is_said_where_lengths_differ(plan: Plan) -> None:
    outcome = plan("bge-m3", "--rate", "5", "--lengths", "abstracts", "--devices", "l4")
    assert "padding waste: arrival order, 32 texts a batch, padded" in outcome.words


def test_large_numbers_may_be_written_short(plan: Plan) -> None:
    whole = json.loads(plan(MODEL, "--tokens-per-day", "2000000000", "--devices", "h200", "--json").out)
    for short in ("2B", "2G", "2e9", "2000M", "2_000_000_000", "2,000,000,000"):
        assert json.loads(plan(MODEL, "--tokens-per-day", short, "--devices", "h200", "--json").out) == whole
    refused(plan(MODEL, "--tokens-per-day", "many"), "'many' is no amount", "2e6")


def test_a_corpus(plan: Plan) -> None:
    arguments = (MODEL, "--corpus-tokens", "5B", "--deadline", "24")
    document = json.loads(plan(*arguments, "--json").out)
    assert document["deadline_s"] == 86400
    outcome = plan(*arguments)
    assert outcome.code == 0
    assert "Deadline" in outcome.words
    for row in document["rows"]:
        assert row["device"] in outcome.words
    assert document["dtype"] in outcome.words
    (api,) = (
        api
        for api in document["apis"]
        if api["model"] == "text-embedding-3-small" and api["provider"] == "OpenAI"
    )
    assert (
        f"OpenAI text-embedding-3-small 2 1 {100 * api['usd_per_million_own_tokens']['mid']:.3g}"
        in outcome.words
    )
    assert f"${api['usd_total']:.2f}" in outcome.words
    sooner = plan(MODEL, "--corpus-tokens", "5B", "--deadline", "23").words
    assert "APIs are at list price" in sooner
    assert "batch ¢" not in sooner


def test_a_corpus_that_nothing_embeds_in_time_is_said_with_reasons(plan: Plan) -> None:
    words = plan(MODEL, "--corpus-tokens", "5e18", "--deadline", "24", "--devices", "l4,h200").words
    assert "No device is done by the deadline" in words
    assert "h200, l4: it takes more than 100,000 devices" in words
    words = plan(MODEL, "--corpus-tokens", "5B", "--deadline", "24", "--max-usd-per-hour", "0.01").words
    assert "No device is done by the deadline within the budget" in words
    assert "the limit is $0.01" in words


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "asked",
    [
        ("--rate", "50", "--p99-ms", "240"),
        ("--rate", "50", "--p99-ms", "240", "--spot", "--batch-share", "0.4"),
        ("--corpus-tokens", "5B", "--deadline", "24"),
    ],
    ids=["rate", "rate, spot and batch", "corpus"],
)
def test_every_row_is_one_line_of_the_screen(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, width: int, asked: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    document = json.loads(plan(MODEL, *asked, "--json").out)
    lines = plan(MODEL, *asked).out.splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]
    for row in document["rows"]:
        if row["feasible"]:
            name = row["device"] + (" spot" if row["spot"] else "")
            shown = [line for line in lines if line.startswith(f"{name} ")]
            monthly = row.get("usd_per_month")
            assert [line for line in shown if "–" in line or (monthly and f"{monthly:,.0f}" in line)]
    names = [f"{api['provider']} {api['model']}" for api in document["apis"]]
    table = lines[next(row for row, line in enumerate(lines) if line.startswith("API ")) :]
    shown = [line for line in table if line.startswith(tuple(f"{name} " for name in names))]
    assert len(shown) == 12
    assert len({len(line) for line in shown}) == 1  # whole rows: all columns are there


def test_what_can_wait_is_billed_at_the_batch_price(plan: Plan) -> None:
    bill = ("--replace-api", "OpenAI text-embedding-3-small", "--monthly-usd", "900", "--devices", "l4")
    words = plan("bge-m3", *bill, "--batch-share", "0.4").words
    # $900 buy 45G tokens at $0.02; 60 % of them stay there, 40 % go to $0.01.
    assert "$900.00 a month buys 45B tokens" in words
    saved = "instead of $720 a month to OpenAI text-embedding-3-small (its batch price for the 40% that can wait): $"
    assert saved in words


def test_a_corpus_has_no_rate(plan: Plan) -> None:
    refused(plan(MODEL, "--deadline", "5"), "--corpus-texts")
    refused(plan(MODEL, "--corpus-texts", "5", "--server", "tei"), "--server", "not for a corpus")
    corpus = (MODEL, "--corpus-tokens", "5B", "--deadline", "24")
    refused(plan(*corpus, "--rate", "5"), "--rate", "not for a corpus")
    refused(plan(*corpus, "--plot", "x.svg"), "--plot", "not for a corpus")


def test_an_api_bill(plan: Plan) -> None:
    outcome = plan(
        "bge-m3",
        "--replace-api",
        "text-embedding-3-small",
        "--monthly-usd",
        "900",
        "--devices",
        "l4",
        "--json",
    )
    assert outcome.code == 0, outcome.err
    demand = json.loads(outcome.out)["demand"]
    assert demand["tokens_per_day"] > 1e9
    assert demand["replaces"] == "OpenAI text-embedding-3-small"
    words = plan(
        "bge-m3", "--replace-api", "text-embedding-3-small", "--monthly-usd", "900", "--devices", "l4"
    ).words
    assert "instead of $900 a month to OpenAI text-embedding-3-small: $" in words


def test_texts_in_a_file_are_counted_with_the_models_tokenizer(
    plan: Plan, tmp_path: Path, minilm: Path
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a text\nanother text that is longer\n")
    counted = json.loads(plan(str(minilm), "--rate", "5", "--lengths", "texts.txt", "--json").out)
    assert counted["lengths"]["source"] == "2 texts in texts.txt, tokenized"
    assert counted["lengths"]["mean"] == (4 + 7) / 2  # [CLS] and [SEP] among them
    estimated = json.loads(plan(MODEL, "--rate", "5", "--lengths", "texts.txt", "--json").out)
    assert "estimated" in estimated["lengths"]["source"]


def test_a_target_that_nothing_keeps_is_said_with_reasons(plan: Plan) -> None:
    outcome = plan(MODEL, "--rate", "5", "--p99-ms", "1")
    assert outcome.code == 0
    assert "No device keeps the target" in outcome.words
    assert "meets an idle device" in outcome.words
    document = json.loads(plan(MODEL, "--rate", "5", "--p99-ms", "1", "--json").out)
    assert not any(row["feasible"] for row in document["rows"])
    assert (document["break_even"], document["filled"]) == ([], None)
    refused(plan(MODEL, "--rate", "5", "--p99-ms", "1", "--plot", "x.svg"), "nothing to draw")
    assert not (Path("x.svg")).exists()


def test_the_picture_names_devices_and_apis(plan: Plan, tmp_path: Path) -> None:
    outcome = plan(MODEL, *RATE, "--plot", "cost.svg")
    assert outcome.code == 0, outcome.err
    drawn = (tmp_path / "cost.svg").read_bytes()
    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert plan(MODEL, *RATE, "--plot", "cost.png").code == 0
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert plan(MODEL, *RATE, "--plot", "again.svg").code == 0
    assert (tmp_path / "again.svg").read_bytes() == drawn


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((MODEL,), ("nothing given", "a rate")),
        ((MODEL, "--rate", "fast"), ("--rate", "'fast'")),
        (("no-such-model", "--rate", "5"), ("no-such-model",)),
        ((MODEL, "--rate", "5", "--devices", "h1000"), ("unknown device 'h1000'", "h100-sxm")),
        ((MODEL, "--trace", "none.csv"), ("none.csv",)),
        ((MODEL, "--rate", "5", "--plot", "cost.gif"), ("cost.gif", ".svg")),
        ((MODEL, "--rate", "5", "--devices", "l4", "--calibration", "none.json"), ("none.json",)),
    ],
)
def test_bad_input_is_one_line(plan: Plan, arguments: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    refused(plan(*arguments), *fragments)


def test_a_trace_that_comes_in_bursts_is_told_from_one_that_does_not(plan: Plan, tmp_path: Path) -> None:
    times = {"even": [0.5 * k for k in range(400)], "bursts": [20.0 * (k // 40) for k in range(400)]}
    said = {}
    for name, arrivals in times.items():
        rows = "".join(f"{time},100\n" for time in arrivals)
        (tmp_path / f"{name}.csv").write_text(f"arrival_s,tokens\n{rows}")
        outcome = plan("bge-m3", "--trace", f"{name}.csv", "--devices", "l4", "--p99-ms", "50")
        assert outcome.code == 0, outcome
        said[name] = outcome.words
    assert "the target is kept" in said["even"]
    assert "the target is MISSED: real arrivals come in bursts, and it takes" in said["bursts"]
    assert "a fleet of l4 that follows the trace's load" in said["even"]


def test_work_that_can_wait_stands_apart_where_no_step_of_it_fits(plan: Plan) -> None:
    alone = ("bge-m3", "--rate", "1", "--devices", "l4", "--lengths", "300")
    p50_ms = 1000 * json.loads(plan(*alone, "--p99-ms", "500", "--json").out)["rows"][0]["p50_s"]
    outcome = plan(*alone, "--batch-share", "0.5", "--p99-ms", f"{1.5 * p50_ms:.3f}")
    assert (
        "run on 1 of the 2 × l4, apart from the others (no step of theirs fits under the target"
        in outcome.words
    )
    assert "Can wait 50% of the texts" in outcome.words


def test_one_offer_has_no_range_and_no_step_times_turn_the_order_at_one_price(plan: Plan) -> None:
    outcome = plan("bge-m3", "--rate", "5", "--devices", "t4,rtx-4060-ti,tpu-v6e")
    assert "one offer only, so how far prices spread is not known: t4, rtx-4060-ti" in outcome.words
    assert "at these two prices, whatever their step times: the order stays" in outcome.words
    assert "Farthing's engine does not run on tpu-v6e" in outcome.words


def test_a_corpus_says_what_keeping_its_vectors_costs_and_a_service_has_none(plan: Plan) -> None:
    corpus = ("bge-m3", "--corpus-texts", "1e6", "--devices", "l4")
    assert "a month to keep" in plan(*corpus, "--usd-per-gb-month", "0.25").words
    assert "a month to keep" not in plan(*corpus).words
    refused(
        plan("bge-m3", "--rate", "1", "--usd-per-gb-month", "0.25"), "--usd-per-gb-month belongs to a corpus"
    )


def test_a_corpus_that_barely_fits_is_in_doubt(plan: Plan) -> None:
    """As a service is: real runners took up to 2.4 times the activations that a step needs at least."""
    corpus = ("e5-mistral-7b-instruct", "--corpus-tokens", "1e8", "--devices", "t4")
    (row,) = json.loads(plan(*corpus, "--json").out)["rows"]
    assert (row["feasible"], "does not fit" in row["doubt"]) == (True, True)
    assert "; but with all that real runners keep it does not fit" in plan(*corpus).words
