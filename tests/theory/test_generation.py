"""Generation: the golden values of the contrast, and what holds at any batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.catalog.load import load_devices
from farthing.catalog.lookups import find_device
from farthing.theory.families.configs import shape_from_config
from farthing.theory.generation import (
    Generation,
    decode_intensity_limit,
    decode_operations,
    generation,
    kv_cache_bytes,
    lm_head,
)
from farthing.theory.shapes import ModelShape
from farthing.theory.time.roofline import bytes_moved, datasheet_rates, total_flops
from farthing.theory.time.steps import StepModel
from makers import QWEN3_8B

H100 = datasheet_rates(find_device(load_devices(), "h100-sxm").spec, "bf16")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def contrast(shape: ModelShape = QWEN3_8B, context: int = 1024) -> Generation:
    found = generation(StepModel(shape, H100), context, BATCHES, 2.0)
    assert found is not None
    return found


@pytest.mark.parametrize(("context", "limit"), [(1024, 104), (8192, 16)])
def test_the_cache_caps_the_intensity(context: int, limit: float) -> None:
    """Source: docs/theory.md: about 104 FLOP/byte at S = 1024, about 16 at 8192, against a ridge point of 295."""
    found = contrast(context=context)
    assert found.intensity_limit == pytest.approx(limit, abs=0.6)
    assert found.ridge_point == pytest.approx(295, abs=0.5)
    assert all(step.arithmetic_intensity < found.intensity_limit for step in found.decode)
    assert {step.bound for step in found.decode} == {"memory"}


@pytest.mark.parametrize("context", [1024, 8192])
def test_endless_batches_reach_the_limit(context: int) -> None:
    ops = decode_operations(QWEN3_8B, 10**7, context, 2)
    # Activations and norms are bytes too, which the formula leaves out.
    reached = total_flops(ops) / bytes_moved(ops)
    limit = decode_intensity_limit(QWEN3_8B, context, 2)
    assert 0.9 * limit < reached < limit


def test_decode_flops_by_the_formula() -> None:
    """2·P·B + 4·L·a·S·B, the LM head in P. Source: docs/theory.md."""
    parameters = QWEN3_8B.linear_parameters + 4096 * 151665
    flops = total_flops(decode_operations(QWEN3_8B, 8, 1024, 2))
    assert flops == 2 * parameters * 8 + 4 * 36 * 4096 * 1024 * 8


def test_the_cache_by_hand() -> None:
    """Keys and values of 8 heads × 128 in 36 layers, 2 bytes each."""
    assert kv_cache_bytes(QWEN3_8B, 1000, 2) == 2 * 36 * 8 * 128 * 2 * 1000


def test_a_layer_with_a_limited_reach_keeps_only_that() -> None:
    windowed = replace(QWEN3_8B, attention_reach=(99, None) * 18)
    assert kv_cache_bytes(windowed, 1000, 2) == 2 * 2 * 1024 * (18 * 100 + 18 * 1000)


def test_batching_multiplies_decoding_and_hardly_helps_embedding() -> None:
    found, steps = contrast(), StepModel(QWEN3_8B, H100)
    at = {step.batch: step for step in found.decode}
    embedding = 64 * steps.seconds(1, 1024).mid / steps.seconds(64, 1024).mid
    assert at[64].gain > 30
    assert at[64].slowdown < 2
    assert embedding < 1.25
    assert at[1].gain == at[1].slowdown == 1


def test_prefill_is_an_embedding_and_the_head() -> None:
    found, steps = contrast(), StepModel(QWEN3_8B, H100)
    alone = steps.seconds(1, 1024).mid
    assert alone < found.prefill[0].seconds < 1.05 * alone
    assert found.prefill[0].tokens_per_s == pytest.approx(1024 / found.prefill[0].seconds)
    assert {step.bound for step in found.prefill} == {"compute"}
    assert [step.batch for step in found.prefill] == list(BATCHES)
    head = lm_head(QWEN3_8B, 1, 2)
    assert (head.flops, head.weight_bytes) == (2 * 4096 * 151665, 2 * 4096 * 151665)


def test_prices_follow_the_tokens() -> None:
    for step in (*contrast().prefill, *contrast().decode):
        assert step.usd_per_million_tokens == pytest.approx(2 / 3600 / step.tokens_per_s * 1e6)
    unpriced = generation(StepModel(QWEN3_8B, H100), 1024, (1,))
    assert unpriced is not None
    assert unpriced.decode[0].usd_per_million_tokens is None


def test_what_fits() -> None:
    found = contrast()
    assert found.largest_batch is not None
    weights = (QWEN3_8B.total_parameters + 4096 * 151665) * 2
    assert weights + found.largest_batch * found.kv_bytes_per_sequence <= 0.9 * 80e9
    assert weights + (found.largest_batch + 1) * found.kv_bytes_per_sequence > 0.9 * 80e9
    per_sequence = 36 * 2 * 1024 * 2 * 8192  # layers × (K and V) × kv width × bytes × tokens
    assert [step.fits for step in contrast(context=8192).decode] == [
        weights + b * per_sequence <= 72e9 for b in BATCHES
    ]


@given(st.integers(1, 40000), st.integers(1, 512))
def test_a_larger_batch_writes_more_and_takes_longer(context: int, batch: int) -> None:
    found = generation(StepModel(QWEN3_8B, H100), context, (batch, batch + 1))
    assert found is not None
    for fewer, more in (found.decode, found.prefill):
        assert fewer.seconds < more.seconds
        assert fewer.tokens_per_s <= more.tokens_per_s * (1 + 1e-9)


def test_a_model_that_reads_both_ways_is_said_to() -> None:
    assert "cannot write" in contrast(replace(QWEN3_8B, causal=False)).note


def test_a_model_without_layers_has_no_contrast() -> None:
    static = shape_from_config({"model_type": "model2vec", "vocab_size": 1000, "hidden_dim": 64}, "static")
    assert generation(StepModel(static, H100), 128, (1,)) is None
