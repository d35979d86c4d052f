"""The roofline: check values of H100, and what always holds for the time of a step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.flops import article_flops, operations
from farthing.theory.time.roofline import (
    DATASHEET_ERROR,
    LEAST_SHARE,
    UNMEASURED_SHARE,
    WIDE_ERROR,
    arithmetic_intensity,
    bytes_moved,
    calibrated_rates,
    datasheet_rates,
    memory_needed_bytes,
    mfu,
    ridge_point,
    step_seconds,
    total_flops,
    weight_bytes,
)
from makers import QWEN3_8B, make_calibration, make_spec

SPEC = make_spec(sources={"achievable_flops_per_s.bf16": "someone"})


def test_check_values() -> None:
    assert ridge_point(989e12, 3.35e12) == pytest.approx(295, abs=0.5)
    assert article_flops(QWEN3_8B, 1024) / 750e12 == pytest.approx(21.86e-3, rel=1e-3)
    assert mfu(500.0, 2.0, 1000.0) == 0.25
    assert arithmetic_intensity(6.0, 2.0) == 3.0


@given(st.integers(1, 64), st.integers(1, 2048), st.floats(1e9, 1e15), st.floats(1e9, 1e13))
def test_a_step_is_no_shorter_than_its_compute_or_its_memory(
    batch: int, length: int, rate: float, bandwidth: float
) -> None:
    ops = operations(QWEN3_8B, batch, length, 2)
    step = step_seconds(ops, rate, bandwidth) * (1 + 1e-9)
    compute, memory = total_flops(ops) / rate, bytes_moved(ops) / bandwidth
    assert max(compute, memory) <= step <= (compute + memory) * (1 + 1e-6)


@given(st.integers(1, 64), st.integers(1, 2048), st.integers(1, 500))
def test_more_tokens_never_take_less_time(batch: int, length: int, more: int) -> None:
    times = [step_seconds(operations(QWEN3_8B, batch, n, 2), 1e14, 1e12) for n in (length, length + more)]
    assert times[0] <= times[1]


def test_memory_needed_holds_whole_tables() -> None:
    needed = memory_needed_bytes(QWEN3_8B, 1, 2)
    assert needed == pytest.approx(15.14e9, rel=1e-3)
    assert weight_bytes(operations(QWEN3_8B, 1, 1, 2)) < needed


def test_memory_needed_grows_with_the_tokens_of_the_pass() -> None:
    """At the widest moment each holds the residual, a block's input, and up and gate: 2·4096 + 2·12288 values."""
    more = memory_needed_bytes(QWEN3_8B, 1001, 2) - memory_needed_bytes(QWEN3_8B, 1, 2)
    assert more == 1000 * (2 * 4096 + 2 * 12288) * 2


def test_datasheet_rates() -> None:
    rates = datasheet_rates(SPEC, "bf16")
    assert (rates.peak_flops_per_s, rates.achievable_flops_per_s, rates.best_flops_per_s) == (
        1e15,
        8e14,
        8e14,
    )
    assert rates.achievable_source == "someone"
    assert not rates.calibrated


def test_a_dtype_without_a_published_share_takes_that_of_bf16_and_says_so() -> None:
    rates = datasheet_rates(SPEC, "fp8")
    assert rates.achievable_flops_per_s == pytest.approx(1.6e15)
    assert "bf16" in rates.achievable_source
    assert "someone" in rates.achievable_source


def test_more_than_the_datasheet_is_the_best_case_not_the_expected() -> None:
    spec = make_spec(peak_flops_per_s={"bf16": 165.2e12}, achievable_flops_per_s={"bf16": 178.8e12})
    rates = datasheet_rates(spec, "bf16")
    assert (rates.achievable_flops_per_s, rates.best_flops_per_s) == (165.2e12, 178.8e12)


def test_what_nobody_measured_is_not_taken_for_the_best() -> None:
    """It is expected to reach the median share, at worst the least, at best its datasheet."""
    spec = make_spec(peak_flops_per_s={"bf16": 1e14}, achievable_flops_per_s={})
    rates = datasheet_rates(spec, "bf16")
    assert rates.achievable_flops_per_s == UNMEASURED_SHARE * 1e14
    assert rates.best_flops_per_s == 1e14
    assert "none published" in rates.achievable_source
    assert not rates.share_published
    known = datasheet_rates(SPEC, "bf16")
    assert known.share_published
    assert 1 + rates.slow_error == pytest.approx((1 + known.slow_error) * UNMEASURED_SHARE / LEAST_SHARE)


@pytest.mark.parametrize(
    ("changed", "wide"),
    [
        ({}, False),
        ({"name": "AMD Instinct"}, True),
        ({"peak_flops_per_s": {"fp16": 1e14}, "achievable_flops_per_s": {"fp16": 8e13}}, True),
        ({"power_w": 72.0}, True),
    ],
)
def test_where_less_is_known_the_interval_is_wider(changed: dict[str, Any], wide: bool) -> None:
    spec = make_spec(**({"name": "NVIDIA X"} | changed))
    assert datasheet_rates(spec, next(iter(spec.peak_flops_per_s))).slow_error == (  # type: ignore[arg-type]
        WIDE_ERROR if wide else DATASHEET_ERROR
    )


def test_a_dtype_that_the_device_lacks() -> None:
    with pytest.raises(InputError, match=r"int8.*use one of bf16, fp8"):
        datasheet_rates(SPEC, "int8")


def test_calibrated_rates() -> None:
    rates = calibrated_rates(make_calibration())
    assert (rates.device, rates.dtype, rates.calibrated) == ("local", "fp32", True)
    assert (rates.peak_flops_per_s, rates.bandwidth_bytes_per_s) == (180e9, 20e9)
    assert "torch 2048³" in rates.peak_source
