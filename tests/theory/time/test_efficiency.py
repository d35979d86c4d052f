"""What kernels are taken to reach: published points exactly, and sane between and beyond them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.theory.flops import Operation
from farthing.theory.time.efficiency import (
    CPU_SHARES,
    FLASH_ATTENTION_3,
    Efficiency,
    attention_rate,
    best_efficiency,
    expected_efficiency,
    is_attention,
    operation_s,
)
from farthing.theory.time.roofline import calibrated_rates, datasheet_rates
from makers import make_calibration, make_spec

H100 = datasheet_rates(
    make_spec(
        peak_flops_per_s={"bf16": 989e12},
        achievable_flops_per_s={"bf16": 794.5e12},
        bandwidth_bytes_per_s=3.35e12,
    ),
    "bf16",
)
POINTS = expected_efficiency(H100).attention_flops_per_s


def operation(name: str, flops: int, weights: int, activations: int) -> Operation:
    return Operation(name=name, flops=flops, weight_bytes=weights, activation_bytes=activations)


@pytest.mark.parametrize(("length", "tflops"), FLASH_ATTENTION_3)
def test_attention_at_the_published_points(length: int, tflops: float) -> None:
    assert attention_rate(POINTS, length) == pytest.approx(tflops * 1e12)


def test_attention_scales_with_the_peak_but_never_beats_the_products() -> None:
    twice = datasheet_rates(
        make_spec(peak_flops_per_s={"bf16": 2 * 989e12}, achievable_flops_per_s={"bf16": 1000e12}),
        "bf16",
    )
    rates = expected_efficiency(twice).attention_flops_per_s
    assert attention_rate(rates, 512) == pytest.approx(2 * 430.3e12)
    assert attention_rate(rates, 8192) == pytest.approx(1000e12)


@given(st.integers(1, 100_000), st.integers(1, 1000))
def test_longer_sequences_reach_more_but_take_no_less_time(length: int, more: int) -> None:
    first, second = attention_rate(POINTS, length), attention_rate(POINTS, length + more)
    assert 0 < first <= second * (1 + 1e-12)
    # Even where a token attends to a fixed number of others, so that FLOPs grow only as the length.
    assert length / first <= (length + more) / second * (1 + 1e-12)


def test_a_tile_of_queries_is_computed_whole() -> None:
    assert attention_rate(POINTS, 32) == pytest.approx(attention_rate(POINTS, 128) / 4)


def test_an_operation_by_hand() -> None:
    reached = Efficiency(
        gemm_flops_per_s=1e12,
        attention_flops_per_s=((1, 1e11),),
        bandwidth_bytes_per_s=1e9,
        exposed_weight_s_per_byte=1e-9,
        kernel_s=1e-6,
    )
    # 2e9 FLOPs at 1e12, and half a millisecond of weights that nothing hides.
    product = operation("mlp up", 2 * 10**9, 500_000, 100_000)
    assert operation_s(product, 3, 10, reached) == pytest.approx((2.5e-3, 0.6e-3, 2.503e-3))
    attention = operation("attention", 10**9, 0, 1000)
    assert operation_s(attention, 1, 10, reached) == pytest.approx((1e-2, 1e-6, 1e-2 + 1e-6))
    gather = operation("embedding gather", 0, 1000, 1000)
    assert operation_s(gather, 1, 10, reached) == pytest.approx((0, 2e-6, 3e-6))


def test_what_counts_as_attention() -> None:
    assert is_attention(operation("attention over the cache", 1, 0, 0))
    assert not is_attention(operation("output projection", 1, 0, 0))


def test_expected_is_no_better_than_best() -> None:
    best, expected = best_efficiency(H100), expected_efficiency(H100)
    assert expected.gemm_flops_per_s < best.gemm_flops_per_s == 794.5e12
    assert expected.bandwidth_bytes_per_s < best.bandwidth_bytes_per_s
    assert max(rate for _, rate in expected.attention_flops_per_s) < best.gemm_flops_per_s


def test_of_a_measured_processor_the_share_that_whole_models_reach() -> None:
    expected = expected_efficiency(calibrated_rates(make_calibration()))
    assert expected.gemm_flops_per_s == pytest.approx(180e9 * CPU_SHARES[0])
    assert (expected.kernel_s, expected.launch_s) == (0, 0)
