"""FLOPs: golden values, pairs by enumeration, and properties.

That they are what torch counts in transformers' own modules is in tests/parity/test_flops_counter.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.families.configs import shape_from_config
from farthing.theory.flops import (
    Flops,
    article_flops,
    attention_flops,
    attention_pairs,
    forward_flops,
    linear_flops_per_token,
    operations,
    touched_experts,
)
from farthing.theory.shapes import ModelShape
from makers import MINILM, QWEN3_8B

LOCAL = replace(MINILM, attention_reach=(None, 8, 8, None, 8, 8), mlp_up_bias=False)
EXPERTS = replace(
    QWEN3_8B,
    experts=16,
    experts_per_token=4,
    expert_intermediate=1024,
    expert_layers=tuple(range(1, 36, 2)),
)
LLAMA_70B = shape_from_config(
    {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 28672,
        "max_position_embeddings": 8192,
    },
    "Llama",
)
STATIC = shape_from_config({"model_type": "model2vec", "hidden_dim": 256, "vocab_size": 29528}, "potion")
shapes = st.sampled_from(
    [
        MINILM,
        LOCAL,
        replace(MINILM, gated_mlp=True),
        QWEN3_8B,
        replace(QWEN3_8B, causal=False),
        replace(QWEN3_8B, attention_reach=(100,) * 36),
        EXPERTS,
    ]
)
lengths = st.integers(1, 4096)


def test_golden_minilm() -> None:
    assert MINILM.linear_parameters == 10_616_832
    assert linear_flops_per_token(MINILM) == 21_233_664
    assert attention_flops(MINILM, 100) == 9_216 * 100 * 100


def test_golden_qwen3_embedding_8b() -> None:
    assert QWEN3_8B.linear_parameters == pytest.approx(6.946e9, rel=1e-4)
    assert linear_flops_per_token(QWEN3_8B) == pytest.approx(13.89e9, rel=1e-3)
    assert forward_flops(QWEN3_8B, [1024]).total == pytest.approx(14.53e12, rel=1e-3)
    full = forward_flops(replace(QWEN3_8B, causal=False), [1024])
    assert full.total == pytest.approx(14.84e12, rel=1e-3)
    assert full.total - forward_flops(QWEN3_8B, [1024]).total == 36 * 4 * 4096 * (1024 * 1023 // 2)
    assert article_flops(QWEN3_8B, 1024) == pytest.approx(16.4e12, rel=1e-3)


def test_golden_coefficients_of_the_article() -> None:
    """FLOPs of the linear layers per token, layer and h²: 25.5 is Llama-70B's, Qwen3-8B's is 23.0."""

    def coefficient(shape: ModelShape) -> float:
        return linear_flops_per_token(shape) / (shape.layers * shape.hidden**2)

    assert coefficient(LLAMA_70B) == 25.5
    assert coefficient(QWEN3_8B) == 23.0


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("reach", [None, 0, 1, 2, 5, 100])
def test_pairs_by_enumeration(causal: bool, reach: int | None) -> None:
    for length in range(12):
        pairs = sum(
            (j <= i or not causal) and (reach is None or abs(i - j) <= reach)
            for i in range(length)
            for j in range(length)
        )
        assert attention_pairs(length, causal=causal, reach=reach) == pairs


def test_a_window_as_wide_as_the_text_changes_nothing() -> None:
    wide = replace(QWEN3_8B, attention_reach=(99,) * 36)
    assert attention_flops(wide, 100) == attention_flops(QWEN3_8B, 100)
    assert attention_flops(wide, 101) == attention_flops(QWEN3_8B, 101) - 36 * 4 * 4096


def test_a_static_model_computes_nothing() -> None:
    """The counter-example: every parameter in the table, and no matrix product at all."""
    assert forward_flops(STATIC, [1024, 3]) == Flops(0, 0)
    assert STATIC.linear_parameters == 0
    assert [op.name for op in operations(STATIC, 1, 8, 4)] == [
        "embedding gather",
        "norms, residuals, pooling",
    ]
    assert sum(op.flops for op in operations(STATIC, 3, 8, 4)) == 0


def test_experts_by_hand() -> None:
    """Each token pays for four experts of sixteen and for the router; all sixteen are kept in memory."""
    attention = 4096 * (2 * 4096 + 2 * 1024)
    dense, expert, router = 3 * 4096 * 12288, 3 * 4096 * 1024, 4096 * 16
    assert EXPERTS.linear_parameters == 36 * attention + 18 * dense + 18 * (4 * expert + router)
    kept = EXPERTS.total_parameters - EXPERTS.linear_parameters
    assert kept - EXPERTS.embedding_parameters - EXPERTS.norm_parameters == 18 * 12 * expert


@given(st.integers(1, 500))
def test_touched_experts_lie_between_those_of_one_token_and_all(tokens: int) -> None:
    assert touched_experts(EXPERTS, 1) == pytest.approx(4)
    assert touched_experts(EXPERTS, tokens) >= 4 - 1e-9
    assert touched_experts(EXPERTS, tokens) <= touched_experts(EXPERTS, tokens + 1) <= 16
    assert touched_experts(EXPERTS, 10_000) == pytest.approx(16)
    assert touched_experts(MINILM, tokens) == 0.0


def test_causal_attention_has_exactly_half_the_pairs_and_the_diagonal() -> None:
    per_pair = QWEN3_8B.layers * 4 * QWEN3_8B.attention_width
    for length in (1, 2, 3, 1023, 1024):
        assert attention_flops(QWEN3_8B, length) == per_pair * sum(range(1, length + 1))


def test_flops_add_up() -> None:
    assert Flops(1, 2) + Flops(3, 4) == Flops(4, 6)
    assert forward_flops(MINILM, []) == Flops(0, 0)


@given(shapes, st.lists(lengths, max_size=5), st.lists(lengths, max_size=5))
def test_batches_add_up(shape: ModelShape, one: list[int], other: list[int]) -> None:
    assert forward_flops(shape, one + other) == forward_flops(shape, one) + forward_flops(shape, other)


@given(shapes, lengths, st.integers(1, 500))
def test_more_tokens_never_cost_less(shape: ModelShape, length: int, more: int) -> None:
    shorter, longer = forward_flops(shape, [length]), forward_flops(shape, [length + more])
    assert shorter.linear < longer.linear
    assert shorter.attention < longer.attention
    small, large = operations(shape, 1, length, 2), operations(shape, 1, length + more, 2)
    assert all(
        a.total_bytes <= b.total_bytes and a.flops <= b.flops for a, b in zip(small, large, strict=True)
    )


@given(shapes, st.integers(1, 64), lengths, st.sampled_from([1, 2, 4]))
def test_operations_sum_to_the_closed_form(shape: ModelShape, batch: int, length: int, size: int) -> None:
    ops = operations(shape, batch, length, size)
    assert sum(op.flops for op in ops) == forward_flops(shape, [length] * batch).total
    gathered = next(op for op in ops if op.name == "embedding gather")
    assert gathered.weight_bytes < (batch * length + length + 2) * shape.hidden * size
    others = sum(op.weight_bytes for op in ops) - gathered.weight_bytes
    more_experts = touched_experts(shape, batch * length) - shape.experts_per_token
    weights = shape.linear_parameters + len(shape.expert_layers) * more_experts * shape.expert_parameters
    assert weights * size * (1 - 1e-6) <= others <= weights * size * 1.005


def test_operations_read_the_weights_but_not_the_embedding_table() -> None:
    read = sum(op.weight_bytes for op in operations(QWEN3_8B, 1, 1024, 2))
    assert read == pytest.approx(13.9e9, rel=1e-3)


def test_operations_count_every_bias_and_norm_of_minilm() -> None:
    """22,713,216 parameters less 11,720,448 word embeddings, 147,840 pooler and the two other tables."""
    ops = operations(MINILM, 1, 1, 1)
    weights = sum(op.weight_bytes for op in ops if op.name != "embedding gather")
    assert weights == 22_713_216 - 147_840 - MINILM.embedding_parameters


@pytest.mark.parametrize(("batch", "length", "size"), [(0, 1, 2), (1, 0, 2), (1, 1, 0), (-1, 5, 2)])
def test_operations_refuse_what_is_not_positive(batch: int, length: int, size: int) -> None:
    with pytest.raises(InputError):
        operations(MINILM, batch, length, size)
