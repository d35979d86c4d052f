"""Plans, explanations and prices that buyers were told wrongly once, asked for as buyers ask: by the command line."""

from __future__ import annotations

import datetime
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

import farthing
from farthing.cli.main import main

MODEL = "Qwen3-Embedding-8B"
DAY = datetime.date(2026, 11, 21)


class Shell:
    """Runs `farthing` in this process, in an empty folder and with settings of its own."""

    def __init__(self, settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings, self._capsys = settings, capsys

    def words(self, command: str) -> str:
        """Return what people read, unwrapped."""
        self._capsys.readouterr()
        code = main(command.split())
        out, err = self._capsys.readouterr()
        assert code == 0, err
        return " ".join((out + err).replace("│", " ").split())

    def json(self, command: str) -> dict[str, Any]:
        """Return what programs read."""
        document: dict[str, Any] = json.loads(self.words(f"{command} --json"))
        return document


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "farthing").mkdir(parents=True)
    return Shell(tmp_path / "config" / "farthing", capsys)


def test_a_device_that_nobody_measured_is_not_expected_to_beat_those_that_were(shell: Shell) -> None:
    """It was taken at its whole datasheet, the measured ones at .76 of theirs: the least known looked cheapest."""
    shares: dict[bool, list[float]] = {True: [], False: []}
    for device in shell.json("prices --only devices")["devices"]:
        rates = farthing.explain("bge-m3", device=device["device"]).rates
        measured = not rates.achievable_source.startswith("none published")
        shares[measured].append(rates.achievable_flops_per_s / rates.peak_flops_per_s)
    assert len(shares[False]) >= 2
    assert max(shares[False]) <= statistics.median(shares[True]) + 0.02


def test_it_is_said_where_the_server_sets_the_number_of_cards(shell: Shell) -> None:
    """Fourteen A100s were asked for, for an assumed server's sake, and no row said so; a public run did it on one."""
    demand = "--rate 8843 --lengths 57 --devices a100-40g --dtype fp16 --peak-to-mean 1"
    asked = f"plan intfloat/multilingual-e5-base {demand}"
    row = shell.json(asked)["rows"][0]
    assert row.get("bound_by") == "host", f"{row['replicas']} cards"
    assert "the host sets their number, not the device" in shell.words(asked)
    assert shell.json(f"{asked} --server tei")["rows"][0]["replicas"] == 1


def test_a_request_to_an_idle_device_waits_as_long_as_explained(shell: Shell) -> None:
    """A plan counted the host twice: with the request, and once more as the device's time."""
    row = shell.json("plan bge-small-en-v1.5 --rate 0.001 --devices l4")["rows"][0]
    host = shell.json("explain bge-small-en-v1.5 --device l4 --length 300")["host"]
    assert row["p50_s"] == pytest.approx(host["lone_latency_s"], rel=0.02)


def test_a_price_range_has_no_dear_end_where_slow_steps_miss_the_target(shell: Shell) -> None:
    """It ended at a fleet that would miss the target, had steps been as slow as they may be."""
    lone = shell.json(f"explain {MODEL} --device l4 --length 300")
    step_s, pace = lone["seconds"]["step"], lone["saturated_tokens_per_s"]
    slow_s = step_s * pace["mid"] / pace["low"]
    target_ms = 1000 * (lone["host"]["lone_s"] + (step_s + slow_s) / 2)
    row = shell.json(f"plan {MODEL} --rate 0.1 --devices l4 --p99-ms {target_ms}")["rows"][0]
    assert row["feasible"], row["reason"]
    assert row["usd_per_million_tokens"]["high"] is None, f"{1000 * slow_s:g} ms a step for {target_ms:g} ms"
    assert "would miss the target" in row["doubt"]


def test_a_corpus_is_done_by_its_deadline_at_the_slow_end_too(shell: Shell) -> None:
    """One card was enough for 22.1 of 24 hours, in steps known to 30 %: up to 28.7 hours."""
    corpus = f"plan {MODEL} --deadline 24 --devices h100-sxm --usd-per-hour 1 --corpus-tokens"
    tokens = shell.json(f"{corpus} 1e6")["rows"][0]["tokens_per_s"] * 22.1 * 3600
    row = shell.json(f"{corpus} {tokens}")["rows"][0]
    assert row["feasible"]
    assert row["usd_total"]["high"] / row["devices"] <= 24  # $1 an hour: the hours of each, at most


def test_a_card_on_little_power_may_be_as_slow_as_it_was_measured_to_be(shell: Shell) -> None:
    """TEI's 62.2k tokens/s on an L4 were below the whole interval, which was as narrow wherever less is known."""
    asked = "explain bge-large-en-v1.5 --device l4 --length 449 --dtype fp16"
    pace = shell.json(asked)["saturated_tokens_per_s"]
    assert pace["low"] <= 62_200 <= pace["high"]

    def down_to(model: str, device: str) -> float:
        pace = shell.json(f"explain {model} --device {device}")["saturated_tokens_per_s"]
        return float(pace["mid"] / pace["low"])

    known = down_to("bge-large-en-v1.5", "h100-sxm")
    little_known = [("bge-large-en-v1.5", name) for name in ("v100", "t4", "tpu-v5e", "mi300x")]
    for model, device in [("all-MiniLM-L6-v2", "h100-sxm"), *little_known]:
        assert down_to(model, device) > 1.2 * known, (model, device)


def test_the_order_of_two_devices_stays_only_where_speeds_let_it(shell: Shell) -> None:
    """A device 5 % dearer was said to stay so, though its speed is not known to 30 %: only prices were moved."""
    asked = f"plan {MODEL} --rate 60 --devices l40s,a100-80g"
    replicas = {row["device"]: row["replicas"] for row in reversed(shell.json(asked)["rows"])}
    for dearer, stays in ((1.05, False), (20, True)):
        usd = {"l40s": 1.0, "a100-80g": dearer * replicas["l40s"] / replicas["a100-80g"]}
        (shell.settings / "prices.toml").write_text(
            "".join(f"[rental.{name}]\nusd_per_hour = {usd[name]}\ndate = {DAY}\n" for name in usd)
        )
        words = shell.words(asked)
        assert f"a100-80g is {dearer:g}" in words
        assert ("the order stays" in words) == stays


def test_a_model_that_barely_fits_is_in_doubt(shell: Shell) -> None:
    """The least that a step can do with was the verdict, where real runners keep up to 2.4 times its activations."""
    asked = "plan e5-mistral-7b-instruct --rate 0.05 --p99-ms 5000 --devices t4"
    row = shell.json(asked)["rows"][0]
    assert row["feasible"]
    assert row.get("doubt") is not None
    assert "with all that real runners keep it does not fit" in shell.words(asked)


def test_a_price_is_someones_offer(shell: Shell) -> None:
    """An A10 was $0.76, between a marketplace and a list price; no provider was named, and one quote made a range."""
    for device in ("a10", "t4"):
        row = farthing.plan("bge-m3", rate=1, devices=[device], today=DAY).as_dict()["rows"][0]
        quotes = shell.json(f"prices --device {device}")["devices"][0]["quotes"]
        offers = {quote["provider"]: quote["usd_per_hour"] for quote in quotes}
        assert (row["provider"], row["usd_per_hour"]) in offers.items()
        assert len(offers) > 1 or row["usd_per_hour_min"] is None


def test_an_engine_that_packs_pads_nothing(shell: Shell) -> None:
    """Two fifths of the work were said to be padding, of one batch and of an engine that had long packed."""
    waste = shell.json("plan all-MiniLM-L6-v2 --rate 20 --lengths queries")["padding"]
    assert [row["waste"] for row in waste if "Farthing" in row["policy"]] == [0]


def test_a_plan_begins_with_its_answer_and_offers_nothing_unasked(shell: Shell) -> None:
    """It had no verdict, but sold idle time to someone with a text in 100 s, and compared H100 and 4090 always."""
    asked = "plan all-MiniLM-L6-v2 --rate 0.01 --devices t4,l4,rtx-4090,h100-sxm"
    document, words = shell.json(asked), shell.words(asked)
    best = document["rows"][0]["device"]
    said = {
        "verdict": words.startswith(f"Cheapest that keeps 99 % within 200 ms: 1 × {best} at "),
        "filled": document["filled"],
        "compared with": set(re.findall(r"as dear as ([\w-]+)", words)),
        "the server is assumed": "the server is assumed" in words,
        "APIs may miss the target": "they are not held to the target" in words,
    }
    assert said == {
        "verdict": True,
        "filled": None,
        "compared with": {best},
        "the server is assumed": True,
        "APIs may miss the target": True,
    }
