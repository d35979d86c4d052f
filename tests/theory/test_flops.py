"""FLOPs: golden values, properties, and torch's own counter over transformers' own modules."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.errors import InputError
from farthing.theory.families import shape_from_config
from farthing.theory.flops import (
    Flops,
    article_flops,
    attention_flops,
    forward_flops,
    linear_flops_per_token,
    operations,
)
from farthing.theory.shapes import ModelShape

MINILM = shape_from_config(
    {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
    },
    "MiniLM",
)
QWEN3_8B = shape_from_config(
    {
        "model_type": "qwen3",
        "vocab_size": 151665,
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 12288,
        "max_position_embeddings": 40960,
        "rope_theta": 1e6,
    },
    "Qwen3",
)
shapes = st.sampled_from([MINILM, QWEN3_8B, replace(QWEN3_8B, causal=False), replace(MINILM, gated_mlp=True)])
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
    assert article_flops(QWEN3_8B, 1024) == pytest.approx(16.4e12, rel=1e-3)


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
    assert shape.linear_parameters * size <= others <= shape.linear_parameters * size * 1.005


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


def _counted(module: Any, batch: int, length: int) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.randint(0, 50, (batch, length))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(ids)
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("batch", "length"), [(1, 7), (3, 33), (2, 61)])
def test_bert_against_the_torch_counter(batch: int, length: int) -> None:
    transformers: Any = importlib.import_module("transformers")

    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=72,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=200,
        max_position_embeddings=64,
    )
    config._attn_implementation = "eager"
    module = transformers.BertModel(config, add_pooling_layer=False).eval()
    shape = shape_from_config(config.to_dict(), "transformers")
    expected = _counted(module, batch, length)
    assert forward_flops(shape, [length] * batch).total == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(("batch", "length"), [(1, 7), (3, 33), (2, 61)])
def test_qwen3_against_the_torch_counter(batch: int, length: int) -> None:
    """Eager attention computes the full matrix, so the shape is compared as if it were not causal."""
    transformers: Any = importlib.import_module("transformers")

    config = transformers.Qwen3Config(
        vocab_size=50,
        hidden_size=72,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=22,
        intermediate_size=200,
        max_position_embeddings=64,
    )
    config._attn_implementation = "eager"
    module = transformers.Qwen3Model(config).eval()
    shape = replace(shape_from_config(config.to_dict(), "transformers"), causal=False)
    expected = _counted(module, batch, length)
    assert forward_flops(shape, [length] * batch).total == pytest.approx(expected, rel=0.005)
