"""config.json → ModelShape: the keys and defaults of each family, and what is refused by name.

That the shapes are those of transformers' own modules is in tests/parity/test_flops_counter.py.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families.configs import is_static, shape_from_config
from farthing.theory.shapes import ModelShape

Config = dict[str, Any]

ENCODER: Config = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
BERT: Config = ENCODER | {"model_type": "bert", "architectures": ["BertModel"]}
DECODER: Config = {
    "vocab_size": 151665,
    "hidden_size": 1024,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
}
QWEN2: Config = DECODER | {"model_type": "qwen2"}
QWEN3: Config = DECODER | {"model_type": "qwen3", "head_dim": 128, "rope_theta": 1000000}
MOE: Config = QWEN3 | {
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 768,
}
LLAMA: Config = DECODER | {"model_type": "llama"}
MISTRAL: Config = DECODER | {"model_type": "mistral"}
GEMMA: Config = DECODER | {"model_type": "gemma3_text", "head_dim": 256}
MODERNBERT: Config = ENCODER | {"model_type": "modernbert"}
GTE: Config = ENCODER | {"model_type": "gte"}
NOMIC: Config = {
    "model_type": "nomic_bert",
    "vocab_size": 30528,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": 3072,
    "n_positions": 8192,
    "activation_function": "swiglu",
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "rotary_emb_base": 1000,
    "layer_norm_epsilon": 1e-12,
}
STATIC: Config = {"model_type": "model2vec", "hidden_dim": 256, "vocab_size": 29528, "seq_length": 1000000}


def shape_of(config: Config, **changes: Any) -> ModelShape:
    return shape_from_config(config | changes, "here")


def without(config: Config, *keys: str) -> Config:
    return {name: value for name, value in config.items() if name not in keys}


def biases(shape: ModelShape) -> tuple[bool, bool, bool, bool]:
    return shape.attention_bias, shape.output_bias, shape.mlp_up_bias, shape.mlp_down_bias


def test_bert() -> None:
    shape = shape_of(BERT)
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.head_size) == (6, 384, 12, 12, 32)
    assert (shape.token_types, shape.positions, shape.rotary_theta) == (2, "learned", None)
    assert (shape.causal, shape.norm, shape.norm_place) == (False, "layer_norm", "post")
    assert (shape.gated_mlp, shape.qk_norm, shape.embedding_norm, shape.norm_epsilon) == (
        False,
        False,
        True,
        1e-12,
    )
    assert biases(shape) == (True, True, True, True)


def test_roberta_counts_positions_from_the_padding_id() -> None:
    for model_type in ("roberta", "xlm-roberta"):
        shape = shape_of(BERT, model_type=model_type, max_position_embeddings=514)
        assert (shape.max_positions, shape.position_offset) == (512, 2)
    assert shape_of(BERT, model_type="roberta", pad_token_id=0).max_positions == 511


def test_the_rotary_xlm_roberta_of_jina_is_what_transformers_calls_by_name() -> None:
    hub = shape_of(
        BERT,
        model_type="xlm-roberta",
        position_embedding_type="rotary",
        rotary_emb_base=20000.0,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    assert (hub.positions, hub.rotary_theta, hub.max_positions, hub.token_types) == ("rotary", 2e4, 512, 1)
    assert replace(hub, family="jina_embeddings_v3") == shape_of(BERT, model_type="jina_embeddings_v3")


def test_mpnet_and_distilbert_have_no_token_types() -> None:
    mpnet = shape_of(BERT, model_type="mpnet", max_position_embeddings=514, pad_token_id=7)
    assert (mpnet.token_types, mpnet.relative_buckets, mpnet.max_positions) == (0, 32, 512)
    names = {"dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 1536}
    distilbert = shape_from_config(
        {"model_type": "distilbert", "vocab_size": 30522, "max_position_embeddings": 512, **names}, "here"
    )
    assert distilbert == replace(shape_of(BERT), family="distilbert", token_types=0)


def test_nomic_bert_in_the_keys_of_the_hub_and_of_transformers() -> None:
    hub = shape_of(NOMIC)
    assert (hub.gated_mlp, hub.activation, hub.rotary_theta, hub.norm_place) == (True, "silu", 1000.0, "post")
    native = {
        "model_type": "nomic_bert",
        "vocab_size": 30528,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 8192,
    }
    assert hub == shape_from_config(native, "here")


def test_nomic_bert_with_experts_in_every_second_layer() -> None:
    shape = shape_of(NOMIC, moe_every_n_layers=2, num_experts=8, moe_top_k=2, activation_function="gelu")
    assert shape.expert_layers == (1, 3, 5, 7, 9, 11)
    assert (shape.experts, shape.experts_per_token, shape.expert_intermediate) == (8, 2, 3072)
    assert not shape.gated_mlp
    assert shape_of(NOMIC, moe_every_n_layers=0, num_experts=8).experts == 0


def test_modernbert_alternates_between_global_and_local_attention() -> None:
    shape = shape_of(MODERNBERT, num_hidden_layers=7)
    assert shape.attention_reach == (None, 64, 64, None, 64, 64, None)
    assert shape_of(MODERNBERT, global_attn_every_n_layers=2, local_attention=10).attention_reach[:3] == (
        None,
        5,
        None,
    )
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    assert shape_of(MODERNBERT, layer_types=kinds).attention_reach == (64,) * 5 + (None,)
    assert (shape.gated_mlp, shape.norm_bias, shape.first_attention_norm) == (True, False, False)
    assert (shape.rotary_theta, shape.rotary_theta_local) == (160_000.0, 10_000.0)


def test_gte_under_both_its_names() -> None:
    shape = shape_of(GTE, position_embedding_type="rope", layer_norm_type="layer_norm")
    assert (shape.gated_mlp, shape.mlp_up_bias, shape.mlp_down_bias) == (True, False, True)
    assert (shape.token_types, shape.rotary_theta) == (1, 160_000.0)
    hub = shape_of(GTE, model_type="new", type_vocab_size=0, rope_scaling={"type": "ntk", "factor": 8.0})
    assert hub == replace(shape, token_types=0, rotary_scaling="ntk")


def test_qwen3() -> None:
    shape = shape_of(QWEN3)
    assert (shape.attention_width, shape.hidden, shape.kv_width) == (2048, 1024, 1024)
    assert (shape.positions, shape.rotary_theta, shape.causal, shape.qk_norm) == ("rotary", 1e6, True, True)
    assert (shape.norm, shape.norm_place, shape.norm_epsilon, shape.gated_mlp) == (
        "rms_norm",
        "pre",
        1e-6,
        True,
    )
    assert biases(shape) == (False, False, False, False)


def test_head_sizes_where_nothing_is_said() -> None:
    assert shape_from_config(without(QWEN3, "head_dim"), "x").head_size == 128
    assert shape_of(QWEN3, head_dim=None).head_size == 128
    assert shape_from_config(without(MOE, "head_dim"), "x").head_size == 64
    assert shape_of(QWEN2).head_size == shape_of(LLAMA).head_size == shape_of(MISTRAL).head_size == 64
    assert shape_from_config(without(GEMMA, "head_dim"), "x").head_size == 256
    assert shape_from_config(without(LLAMA, "num_key_value_heads"), "x").kv_heads == 16


def test_qwen2_has_biases_on_queries_keys_and_values_alone() -> None:
    shape = shape_of(QWEN2)
    assert (shape.attention_bias, shape.output_bias, shape.mlp_up_bias, shape.qk_norm) == (
        True,
        False,
        False,
        False,
    )


@pytest.mark.parametrize("config", [QWEN2, QWEN3])
def test_windows_of_qwen(config: Config) -> None:
    assert shape_of(config, sliding_window=100).attention_reach == (None,) * 28
    assert shape_of(config, sliding_window=100, use_sliding_window=True).attention_reach == (None,) * 28
    late = shape_of(config, sliding_window=100, use_sliding_window=True, max_window_layers=20)
    assert late.attention_reach == (None,) * 20 + (99,) * 8
    both = shape_of(config, sliding_window=100, use_sliding_window=True, max_window_layers=0, is_causal=False)
    assert (both.attention_reach, both.causal) == ((100,) * 28, False)
    assert shape_of(config, sliding_window=None, use_sliding_window=True, max_window_layers=0) == shape_of(
        config
    )
    kinds = ["full_attention", "sliding_attention"] * 14
    named = shape_of(config, layer_types=kinds, use_sliding_window=True, sliding_window=8)
    assert named.attention_reach == (None, 7) * 14


def test_experts_of_qwen3() -> None:
    shape = shape_of(MOE, decoder_sparse_step=2, mlp_only_layers=[3], num_hidden_layers=6)
    assert shape.expert_layers == (1, 5)
    assert shape_of(MOE).expert_layers == tuple(range(28))
    assert shape_of(without(MOE, "num_experts"), num_local_experts=8) == shape_of(MOE)
    assert shape_of(MOE, use_sliding_window=True, sliding_window=5).attention_reach == (4,) * 28


def test_llama_and_those_that_attend_both_ways() -> None:
    causal = shape_of(LLAMA, attention_bias=True, mlp_bias=True)
    assert causal.causal
    assert biases(causal) == (True, True, True, True)
    assert shape_of(LLAMA, model_type="llama_bidirec") == replace(
        shape_of(LLAMA), family="llama_bidirec", causal=False
    )
    assert shape_of(LLAMA, model_type="eurobert") == replace(
        shape_of(LLAMA), family="eurobert", causal=False, norm_epsilon=1e-5
    )
    assert not shape_of(LLAMA, is_causal=False).causal
    assert not shape_of(LLAMA, use_bidirectional_attention=True).causal


def test_mistral_slides_in_every_layer() -> None:
    assert shape_of(MISTRAL).attention_reach == (4095,) * 28
    assert shape_of(MISTRAL, sliding_window=None).attention_reach == (None,) * 28


def test_nvembed_is_a_mistral_without_window_or_mask() -> None:
    nvembed = shape_from_config({"model_type": "nvembed", "text_config": MISTRAL}, "x")
    mistral = shape_of(MISTRAL, sliding_window=None)
    assert nvembed == replace(mistral, family="nvembed", causal=False)


def test_gemma3() -> None:
    shape = shape_of(GEMMA, sliding_window=512)
    assert shape.attention_reach == ((511,) * 5 + (None,)) * 4 + (511,) * 4
    both = shape_of(GEMMA, sliding_window=512, use_bidirectional_attention=True)
    assert (both.causal, both.attention_reach[0], both.attention_reach[5]) == (False, 256, None)
    assert shape_of(GEMMA, sliding_window=512, sliding_window_pattern=2).attention_reach[:2] == (511, None)
    assert (shape.norm_place, shape.qk_norm, shape.norm_unit_offset) == ("sandwich", True, True)
    assert (shape.embedding_scale, shape.attention_scale) == (32.0, 1 / 16)
    assert (shape.rotary_theta, shape.rotary_theta_local) == (1e6, 1e4)


def test_a_static_model_is_all_table() -> None:
    shape = shape_of(STATIC)
    assert shape.total_parameters == shape.embedding_parameters == 256 * 29528
    assert (shape.linear_parameters, shape.layers, shape.max_positions) == (0, 0, 1_000_000)
    unnamed = without(STATIC, "model_type") | {"apply_pca": 256}
    assert is_static(unnamed)
    assert shape_from_config(unnamed, "x") == shape
    assert not is_static(BERT)


@pytest.mark.parametrize(
    ("change", "theta"),
    [
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5),
        ({"rope_parameters": {"full_attention": {"rope_theta": 7e5}}}, 7e5),
        ({"rope_theta": None, "rope_scaling": None}, 1e4),
        ({"rope_scaling": {"rope_type": "default"}}, 1e6),
    ],
)
def test_rotary_base_old_and_new_style(change: Config, theta: float) -> None:
    assert shape_of(QWEN3, **change).rotary_theta == theta


@pytest.mark.parametrize(
    ("change", "scaling"),
    [
        ({}, None),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "linear"),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "llama3"}}, "llama3"),
    ],
)
def test_scaled_rotary_positions_cost_the_same(change: Config, scaling: str | None) -> None:
    assert shape_of(QWEN3, **change) == replace(shape_of(QWEN3), rotary_scaling=scaling)


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
    assert shape_of(BERT, hidden_act=name).activation == kind


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "longt5", "architectures": ["T5Model"]}, ["'longt5'", "T5Model", "bert", "qwen3"]),
        ({"architectures": ["LongT5Model"]}, ["LongT5Model", "bert", "qwen3"]),
        ({}, ["bert", "qwen3"]),
        ({"model_type": ["bert"]}, ["bert", "qwen3"]),
        (BERT | {"is_decoder": True}, ["is_decoder"]),
        (BERT | {"position_embedding_type": "relative_key"}, ["relative_key"]),
        (BERT | {"model_type": "xlm-roberta", "position_embedding_type": "alibi"}, ["alibi", "rotary"]),
        (BERT | {"hidden_act": "mish"}, ["mish"]),
        (GTE | {"position_embedding_type": "absolute"}, ["position_embedding_type", "absolute", "rope"]),
        (GTE | {"layer_norm_type": "rms_norm"}, ["layer_norm_type", "rms_norm"]),
        (NOMIC | {"activation_function": "glu"}, ["activation_function", "glu"]),
        (NOMIC | {"prenorm": True}, ["prenorm"]),
        (NOMIC | {"num_shared_experts": 1}, ["num_shared_experts"]),
        (LLAMA | {"partial_rotary_factor": 0.5}, ["partial_rotary_factor", "0.5"]),
        (QWEN3 | {"layer_types": ["linear_attention"] * 28}, ["layer_types", "linear_attention"]),
    ],
)
def test_unsupported_is_named(config: Config, named: list[str]) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        shape_from_config(config, "folder/config.json")
    message = str(caught.value)
    assert "folder/config.json" in message
    assert all(word in message for word in named)


@pytest.mark.parametrize("value", [0, -3, 1.5, "384", True, [], 10**12])
@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size"])
def test_absurd_counts_are_named(key: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"here: {key}"):
        shape_of(BERT, **{key: value})


def test_a_number_of_layers_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(ModelError, match=r"num_hidden_layers is 100000000: .* 10000"):
        shape_of(QWEN3, num_hidden_layers=10**8)


@pytest.mark.parametrize("value", [0, -1e-6, math.nan, math.inf, "1e-6", True])
def test_absurd_epsilons_are_named(value: object) -> None:
    with pytest.raises(ModelError, match="here: rms_norm_eps"):
        shape_of(QWEN3, rms_norm_eps=value)


REQUIRED = {
    "bert": (BERT, ENCODER),
    "modernbert": (MODERNBERT, ENCODER),
    "gte": (GTE, ENCODER),
    "qwen3": (QWEN3, without(DECODER, "num_key_value_heads")),
    "qwen3_moe": (MOE, ["num_experts", "num_experts_per_tok", "moe_intermediate_size"]),
    "gemma3_text": (GEMMA, without(DECODER, "num_key_value_heads")),
    "nomic_bert": (NOMIC, ["n_layer", "n_head", "n_positions", "vocab_size"]),
    "model2vec": (STATIC, ["hidden_dim", "vocab_size"]),
}


@pytest.mark.parametrize("family", REQUIRED)
def test_missing_counts_are_named(family: str) -> None:
    config, keys = REQUIRED[family]
    for key in keys:
        with pytest.raises(ModelError, match=f"here: {key} is missing"):
            shape_from_config(without(config, key), "here")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (BERT | {"num_attention_heads": 7}, "multiple of num_attention_heads 7"),
        (BERT | {"model_type": "roberta", "max_position_embeddings": 2}, "max_position_embeddings is 2"),
        (BERT | {"model_type": "roberta", "pad_token_id": -1}, "pad_token_id is -1"),
        (QWEN3 | {"num_key_value_heads": 5}, "num_key_value_heads 5"),
        (QWEN3 | {"head_dim": 127}, "head_dim is 127"),
        (QWEN3 | {"attention_bias": "no"}, "attention_bias"),
        (QWEN3 | {"rope_parameters": 3}, "rope_parameters"),
        (QWEN3 | {"rope_scaling": {"type": 3}}, "rope_type is 3"),
        (QWEN3 | {"layer_types": ["full_attention"]}, "layer_types.*28"),
        (QWEN3 | {"layer_types": ["sliding_attention"] * 28}, "use_sliding_window"),
        (
            QWEN3
            | {"layer_types": ["sliding_attention"] * 28, "use_sliding_window": True, "sliding_window": None},
            "sliding_window is null",
        ),
        (QWEN3 | {"use_sliding_window": True, "max_window_layers": -1}, "max_window_layers is -1"),
        (MISTRAL | {"sliding_window": 0}, "sliding_window is 0"),
        (MOE | {"num_experts_per_tok": 9}, "num_experts_per_tok is 9.* 8"),
        (MOE | {"mlp_only_layers": "all"}, "mlp_only_layers"),
        (NOMIC | {"moe_every_n_layers": 2, "num_experts": 8, "moe_top_k": 9}, "moe_top_k is 9.* 8"),
        ({"model_type": "nvembed"}, "text_config is None"),
        ({"model_type": "nvembed", "text_config": without(MISTRAL, "vocab_size")}, "text_config: vocab_size"),
    ],
)
def test_inconsistent_numbers_are_named(config: Config, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        shape_from_config(config, "here")
