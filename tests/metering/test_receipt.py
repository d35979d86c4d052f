"""The receipt: the keys that others rely on, and the arithmetic behind each figure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.metering.receipt import Elsewhere, Receipt, Seconds, make_receipt
from farthing.theory.work import Work

WORK = Work(
    useful_tokens=900_000,
    padded_tokens=9_000,
    reused_tokens=0,
    trimmed_tokens=0,
    useful_flops=20_000_000_000_000,
    padded_flops=1_000_000_000_000,
)
SECONDS = Seconds(wall=200.0, device=180.0, tokenization=3.0, writing=1.0, startup=2.0)
ELSEWHERE = Elsewhere(
    device="h100-sxm",
    provider=None,
    model="m",
    usd_per_million_tokens=0.001,
    usd_total=0.001,
    as_of="2026-11-01",
    source="quotes",
    note="",
)

DOCUMENTED: dict[str, set[str] | None] = {
    "texts": None,
    "embedded": None,
    "duplicates": None,
    "failed": None,
    "truncated": None,
    "tokens": {"input", "useful", "padded", "reused", "trimmed"},
    "seconds": {"wall", "device", "tokenization", "writing"},
    "tokens_per_s": None,
    "flops": {"useful", "executed"},
    "mfu": None,
    "mfu_device": None,
    "peak_flops_per_s": None,
    "peak_source": None,
    "predicted_seconds": None,
    "prediction_error": None,
    "prediction_basis": None,
    "usd": {"per_hour", "total", "marginal_per_million_tokens"},
    "elsewhere": {
        "device",
        "provider",
        "model",
        "usd_per_million_tokens",
        "usd_total",
        "as_of",
        "source",
    },
}
"""Keys of `embed --json`, and those inside them. docs/receipt.md explains them."""

ADDED: dict[str, set[str] | None] = {
    "model": None,
    "revision": None,
    "device": None,
    "dtype": None,
    "cached": None,
    "seconds": {"startup"},
    "warnings": None,
    "vector_error": None,
    "elsewhere": {"note"},
}
"""Keys beyond the documented ones. Adding one is fine and belongs here; renaming one is not."""


def receipt(**changes: Any) -> Receipt:
    arguments: dict[str, Any] = {
        "model": "m",
        "revision": "sha256:53aa",
        "device": "a processor, 2 cores, avx2",
        "dtype": "fp32",
        "texts": 10_000,
        "duplicates": 400,
        "truncated": 7,
        "input_tokens": 1_000_000,
        "work": WORK,
        "seconds": SECONDS,
        "peak_flops_per_s": 2e11,
        "peak_source": "measured GEMM, fp32: openvino 1024×1024×1024",
        "predicted_seconds": 190.0,
        "prediction_basis": "all",
        "usd_per_hour": 0.36,
        "elsewhere": [ELSEWHERE],
    }
    return make_receipt(**(arguments | changes))


def test_exactly_the_documented_keys() -> None:
    document = receipt().as_dict()
    assert set(document) == set(DOCUMENTED) | set(ADDED)
    for key in document:
        inner = (DOCUMENTED.get(key) or set()) | (ADDED.get(key) or set())
        value = document[key]
        rows = value if isinstance(value, list | tuple) else [value]
        for row in rows:
            assert (set(row) if isinstance(row, dict) else set()) == inner, key


@pytest.mark.parametrize(
    "changes", [{}, {"usd_per_hour": None, "predicted_seconds": None, "prediction_basis": None}]
)
def test_one_json_document_that_comes_back_the_same(changes: dict[str, Any]) -> None:
    document = receipt(**changes).as_dict()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document


def test_figures_by_hand() -> None:
    bill = receipt()
    assert (bill.texts, bill.embedded, bill.failed) == (10_000, 10_000, 0)
    assert (bill.duplicates, bill.cached, receipt(cached=9).cached) == (400, 0, 9)
    assert (bill.tokens.input, bill.tokens.useful, bill.tokens.padded) == (1_000_000, 900_000, 9_000)
    assert bill.tokens_per_s == pytest.approx(4500.0)
    assert bill.mfu == pytest.approx(0.5)
    assert bill.mfu_device == pytest.approx(2e13 / 180 / 2e11)
    assert bill.prediction_error == pytest.approx(0.05)
    assert bill.usd.per_hour == 0.36
    assert bill.usd.total == pytest.approx(0.02)
    # Device seconds, not wall seconds; over the tokens that were asked for, repeats included.
    assert bill.usd.marginal_per_million_tokens == pytest.approx(0.36 / 3600 * 180)


@given(
    st.floats(1e-3, 1e6),
    st.floats(0.01, 1.0),
    st.integers(1, 10**15),
    st.floats(1e9, 1e15),
    st.floats(0.0, 1e3),
)
def test_mfu_is_useful_flops_per_second_of_the_peak(
    wall: float, busy: float, flops: int, peak: float, price: float
) -> None:
    seconds = Seconds(wall=wall, device=wall * busy, tokenization=0, writing=0, startup=0)
    work = Work(useful_tokens=1, useful_flops=flops, padded_flops=flops)
    bill = receipt(seconds=seconds, work=work, peak_flops_per_s=peak, usd_per_hour=price)
    assert bill.mfu * peak * wall == pytest.approx(flops)
    assert bill.mfu_device * busy == pytest.approx(bill.mfu)
    assert bill.usd.total == pytest.approx(price * wall / 3600)


def test_no_price_no_money() -> None:
    usd = receipt(usd_per_hour=None).usd
    assert (usd.per_hour, usd.total, usd.marginal_per_million_tokens) == (None, None, None)


def test_a_machine_that_is_free_costs_nothing() -> None:
    usd = receipt(usd_per_hour=0.0).usd
    assert (usd.per_hour, usd.total, usd.marginal_per_million_tokens) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("predicted", "error"), [(200.0, 0.0), (100.0, 0.5), (500.0, 1.5)])
def test_the_error_of_the_prediction_is_relative_to_the_wall(predicted: float, error: float) -> None:
    assert receipt(predicted_seconds=predicted).prediction_error == pytest.approx(error)


def test_no_prediction_no_error() -> None:
    assert receipt(predicted_seconds=None, prediction_basis=None).prediction_error is None


def test_a_job_of_nothing_divides_by_nothing() -> None:
    nothing = Seconds(wall=0, device=0, tokenization=0, writing=0, startup=0)
    bill = receipt(texts=0, input_tokens=0, work=Work(), seconds=nothing, elsewhere=())
    assert (bill.tokens_per_s, bill.mfu, bill.mfu_device) == (0.0, 0.0, 0.0)
    assert (bill.prediction_error, bill.usd.marginal_per_million_tokens) == (None, None)
    json.dumps(bill.as_dict(), allow_nan=False)


def test_texts_that_failed_got_no_vector_and_the_caller_says_why() -> None:
    bill = receipt(failed=3, warnings=["3 texts have no vector"], peak_flops_per_s=1e9)
    assert (bill.texts, bill.embedded, bill.failed) == (10_000, 9_997, 3)
    assert bill.warnings[0] == "3 texts have no vector"
    assert bill.warnings[1:] == receipt(peak_flops_per_s=1e9).warnings
    assert receipt(failed=3, warnings=["a"]).refutes_calibration is False


EXECUTED_PER_S = WORK.executed_flops / SECONDS.device


@pytest.mark.parametrize(
    ("share", "refuted"), [(0.5, False), (1.0, False), (1.04, False), (1.06, True), (9.0, True)]
)
def test_a_device_faster_than_its_peak_is_not_believed(share: float, refuted: bool) -> None:
    bill = receipt(peak_flops_per_s=EXECUTED_PER_S / share)
    assert bill.refutes_calibration is refuted
    assert [line.startswith("faster than the measured peak") for line in bill.warnings] == [True] * refuted


def test_what_reuse_and_trimming_save_is_no_speed() -> None:
    """Texts of 10 tokens behind a reused prompt of 25: 3.5 tokens are useful for each that runs."""
    saved = WORK.useful_flops * 25 // 35
    reused = WORK._replace(reused_flops=saved, padded_flops=0)
    trimmed = WORK._replace(trimmed_flops=saved, padded_flops=0)
    for work in (reused, trimmed):
        bill = receipt(work=work, peak_flops_per_s=work.executed_flops / SECONDS.device / 0.7)
        assert bill.mfu_device == pytest.approx(0.7 * 35 / 10)
        assert not bill.refutes_calibration
        assert bill.warnings == ()


@given(
    st.builds(Work, useful_flops=st.integers(0, 10**15), padded_flops=st.integers(0, 10**15)),
    st.floats(1, 1e15),
)
def test_the_warning_says_what_the_receipt_refutes(work: Work, peak: float) -> None:
    bill = receipt(work=work, peak_flops_per_s=peak)
    assert len(bill.warnings) == bill.refutes_calibration
