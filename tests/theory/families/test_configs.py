"""config.json → ModelShape: the two families, their defaults, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families import shape_from_config

BERT: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
QWEN3: dict[str, Any] = {
    "model_type": "qwen3",
    "vocab_size": 151665,
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "rope_theta": 1000000,
    "rms_norm_eps": 1e-6,
}


def without(config: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}


def test_bert() -> None:
    shape = shape_from_config(BERT, "x")
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_size) == (6, 384, 12, 12, 32)
    assert (shape.token_types, shape.positions, shape.rotary_theta) == (2, "learned", None)
    assert (shape.causal, shape.norm, shape.norm_place, shape.norm_epsilon) == (
        False,
        "layer_norm",
        "post",
        1e-12,
    )
    assert (shape.gated_mlp, shape.attention_bias, shape.mlp_bias, shape.qk_norm) == (
        False,
        True,
        True,
        False,
    )


def test_qwen3() -> None:
    shape = shape_from_config(QWEN3, "x")
    assert (shape.attention_width, shape.hidden, shape.kv_width) == (2048, 1024, 1024)
    assert (shape.positions, shape.rotary_theta, shape.causal, shape.qk_norm) == ("rotary", 1e6, True, True)
    assert (shape.norm, shape.norm_place, shape.norm_epsilon) == ("rms_norm", "pre", 1e-6)
    assert (shape.gated_mlp, shape.attention_bias, shape.mlp_bias) == (True, False, False)


def test_qwen3_head_size_defaults_to_a_share_of_the_width() -> None:
    assert shape_from_config(without(QWEN3, "head_dim"), "x").head_size == 64
    assert shape_from_config(QWEN3 | {"head_dim": None}, "x").head_size == 64


@pytest.mark.parametrize(
    ("change", "theta"),
    [
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5),
        ({"rope_theta": None, "rope_scaling": None}, 1e4),
        ({"rope_scaling": {"rope_type": "default"}}, 1e6),
    ],
)
def test_rotary_base_old_and_new_style(change: dict[str, Any], theta: float) -> None:
    assert shape_from_config(QWEN3 | change, "x").rotary_theta == theta


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gelu", "gelu"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("relu", "relu"),
        ("silu", "silu"),
        ("swish", "silu"),
    ],
)
def test_activations(name: str, kind: str) -> None:
    assert shape_from_config(BERT | {"hidden_act": name}, "x").activation == kind


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "llama", "architectures": ["LlamaModel"]}, ["llama", "LlamaModel", "bert", "qwen3"]),
        ({"architectures": ["T5Model"]}, ["T5Model", "bert", "qwen3"]),
        ({}, ["bert", "qwen3"]),
        ({"model_type": ["bert"]}, ["bert", "qwen3"]),
        (BERT | {"is_decoder": True}, ["is_decoder"]),
        (BERT | {"position_embedding_type": "relative_key"}, ["relative_key"]),
        (BERT | {"hidden_act": "mish"}, ["mish"]),
        (QWEN3 | {"use_sliding_window": True}, ["use_sliding_window"]),
        (QWEN3 | {"layer_types": ["full_attention", "sliding_attention"]}, ["layer_types"]),
        (QWEN3 | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ["yarn"]),
        (QWEN3 | {"rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn"}}, ["yarn"]),
    ],
)
def test_unsupported_is_named(config: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        shape_from_config(config, "folder/config.json")
    message = str(caught.value)
    assert "folder/config.json" in message
    assert all(word in message for word in named)


@pytest.mark.parametrize("value", [0, -3, 1.5, "384", True, [], 10**12])
@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size"])
def test_absurd_counts_are_named(key: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"here: {key}"):
        shape_from_config(BERT | {key: value}, "here")


@pytest.mark.parametrize("value", [0, -1e-6, math.nan, math.inf, "1e-6", True])
def test_absurd_epsilons_are_named(value: object) -> None:
    with pytest.raises(ModelError, match="here: rms_norm_eps"):
        shape_from_config(QWEN3 | {"rms_norm_eps": value}, "here")


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"])
def test_missing_counts_are_named(key: str) -> None:
    for config in (BERT, QWEN3):
        with pytest.raises(ModelError, match=f"here: {key} is missing"):
            shape_from_config(without(config, key), "here")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (BERT | {"num_attention_heads": 7}, "multiple of num_attention_heads 7"),
        (QWEN3 | {"num_key_value_heads": 5}, "num_key_value_heads 5"),
        (QWEN3 | {"head_dim": 127}, "head_dim is 127"),
        (QWEN3 | {"attention_bias": "no"}, "attention_bias"),
        (QWEN3 | {"rope_parameters": 3}, "rope_parameters"),
    ],
)
def test_inconsistent_numbers_are_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        shape_from_config(config, "here")
