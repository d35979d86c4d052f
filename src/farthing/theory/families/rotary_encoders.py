"""Encoders with rotary positions: NomicBERT, ModernBERT, GTE and jina-embeddings-v3, one function per family.

Knows the keys and defaults of each family's configuration. Knows no file and no weights.

Source: the configuration and model classes of transformers 5.23; for models as they are on the hub, their own
classes (huggingface.co/nomic-ai/nomic-bert-2048, `NomicBertBlock` and `NomicMoELayer`;
huggingface.co/Alibaba-NLP/new-impl, `NewModel`).
"""

from __future__ import annotations

from dataclasses import replace

from farthing.errors import UnsupportedModelError
from farthing.theory.families.encoders import rotary_bert_shape
from farthing.theory.families.values import (
    Config,
    activation,
    count,
    flag,
    head_size,
    layer_count,
    number,
    rotary_scaling,
    rotary_theta,
    sliding_layers,
)
from farthing.theory.shapes import ModelShape

_NOMIC_ONLY = {
    "prenorm": False,
    "parallel_block": False,
    "causal": False,
    "use_rms_norm": False,
    "rotary_emb_interleaved": False,
    "rotary_emb_fraction": 1.0,
    "expert_choice_router": False,
    "num_shared_experts": 0,
    "ffn_div": 1,
}
"""Settings of NomicBERT's own code that change the shape, and the only value that is supported."""

_GTE_ONLY = {"position_embedding_type": "rope", "layer_norm_type": "layer_norm"}
"""Likewise of the hub's code for GTE."""

_GATES = {"swiglu": "silu", "geglu": "gelu"}
"""What NomicBERT's own code calls gated MLPs, and the activation of the gate."""


def nomic_bert(config: Config, source: str) -> ModelShape:
    """Return the shape of a NomicBERT, with or without experts: as on the hub, or as in transformers.

    On the hub its keys are GPT-2's; a gated MLP is called `swiglu` or `geglu`. Experts stand in every
    `moe_every_n_layers`-th layer, the first in layer 1; they are never gated.
    """
    if "n_embd" not in config:
        return _transformers_nomic_bert(config, source)
    _only(config, source, _NOMIC_ONLY)
    hidden, heads = count(config, "n_embd", source), count(config, "n_head", source)
    layers = layer_count(config, "n_layer", source)
    inner = count(config, "n_inner", source, default=4 * hidden)
    name = config.get("activation_function", "gelu")
    gated = isinstance(name, str) and name in _GATES
    plain = {"activation_function": _GATES[name]} if gated else config
    bias = flag(config, "qkv_proj_bias", source, default=True)
    every = count(config, "moe_every_n_layers", source, default=0, least=0)
    experts = count(config, "num_experts", source) if every else 0
    chosen = count(config, "moe_top_k", source, most=experts) if every else 0
    return ModelShape(
        family="nomic_bert",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_size=head_size(config, hidden, heads, source, "n_head"),
        intermediate=inner,
        gated_mlp=gated,
        activation=activation(plain, "activation_function", source, "gelu"),
        vocabulary=count(config, "vocab_size", source),
        max_positions=count(config, "n_positions", source),
        token_types=count(config, "type_vocab_size", source, default=2, least=0),
        positions="rotary",
        rotary_theta=number(config, "rotary_emb_base", source, default=10_000.0),
        rotary_scaling=None if config.get("rotary_scaling_factor") is None else "dynamic",
        causal=False,
        norm="layer_norm",
        norm_place="post",
        norm_epsilon=number(config, "layer_norm_epsilon", source, default=1e-5),
        qk_norm=False,
        attention_bias=bias,
        output_bias=bias,
        mlp_up_bias=flag(config, "mlp_fc1_bias", source, default=True),
        mlp_down_bias=flag(config, "mlp_fc2_bias", source, default=True),
        embedding_norm=True,
        experts=experts,
        experts_per_token=chosen,
        expert_intermediate=inner if every else 0,
        expert_layers=tuple(layer for layer in range(layers) if layer % every == 1) if every else (),
    )


def modernbert(config: Config, source: str) -> ModelShape:
    """Return the shape of a ModernBERT: most layers see `local_attention` // 2 tokens to each side.

    Source: `ModernBertConfig.sliding_window` and `sliding_window_bidirectional_overlay` (|i − j| ≤ window).
    """
    hidden = count(config, "hidden_size", source)
    heads = count(config, "num_attention_heads", source)
    layers = layer_count(config, "num_hidden_layers", source)
    every = count(config, "global_attn_every_n_layers", source, default=3)
    sliding = sliding_layers(config, layers, source) or [bool(layer % every) for layer in range(layers)]
    reach = count(config, "local_attention", source, default=128) // 2
    bias, mlp_bias = flag(config, "attention_bias", source), flag(config, "mlp_bias", source)
    return ModelShape(
        family="modernbert",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_size=head_size({}, hidden, heads, source, "num_attention_heads"),
        intermediate=count(config, "intermediate_size", source),
        gated_mlp=True,
        activation=activation(config, "hidden_activation", source, "gelu"),
        vocabulary=count(config, "vocab_size", source),
        max_positions=count(config, "max_position_embeddings", source),
        token_types=0,
        positions="rotary",
        rotary_theta=rotary_theta(config, source, "full_attention", "global_rope_theta", 160_000.0),
        rotary_theta_local=rotary_theta(config, source, "sliding_attention", "local_rope_theta", 10_000.0),
        rotary_scaling=rotary_scaling(config, source, "full_attention"),
        causal=False,
        norm="layer_norm",
        norm_place="pre",
        norm_epsilon=number(config, "norm_eps", source, default=1e-5),
        norm_bias=flag(config, "norm_bias", source),
        qk_norm=False,
        attention_bias=bias,
        output_bias=bias,
        mlp_up_bias=mlp_bias,
        mlp_down_bias=mlp_bias,
        attention_reach=tuple(reach if local else None for local in sliding),
        embedding_norm=True,
        first_attention_norm=False,
    )


def gte(config: Config, source: str) -> ModelShape:
    """Return the shape of a GTE encoder: a gated MLP whose projection back alone has a bias.

    On the hub its `model_type` is `new` (gte-multilingual-base) or `gte` (snowflake-arctic-embed-m-v2.0).
    """
    _only(config, source, _GTE_ONLY)
    shape = rotary_bert_shape(
        config,
        source,
        "gte",
        theta_key="rope_theta",
        theta=160_000.0,
        token_types=count(config, "type_vocab_size", source, default=1, least=0),
    )
    return replace(shape, gated_mlp=True, mlp_up_bias=False)


def jina_v3(config: Config, source: str) -> ModelShape:
    """Return the shape of jina-embeddings-v3 as transformers itself has it."""
    return rotary_bert_shape(
        {"layer_norm_eps": 1e-5, **config},
        source,
        "jina_embeddings_v3",
        theta_key="rope_theta",
        theta=20_000.0,
        token_types=count(config, "type_vocab_size", source, default=1),
    )


def _transformers_nomic_bert(config: Config, source: str) -> ModelShape:
    """Return the shape of a NomicBERT in transformers' own keys: always gated, never with biases."""
    shape = rotary_bert_shape(
        {"hidden_act": "silu", **config}, source, "nomic_bert", theta_key="rope_theta", theta=1000.0
    )
    return replace(
        shape,
        head_size=head_size(config, shape.hidden, shape.heads, source, "num_attention_heads"),
        gated_mlp=True,
        attention_bias=False,
        output_bias=False,
        mlp_up_bias=False,
        mlp_down_bias=False,
    )


def _only(config: Config, source: str, supported: Config) -> None:
    """Refuse a setting with another value than the one that is supported; absent or null is that one.

    Raises:
        UnsupportedModelError: there is one; it is named.
    """
    for key, only in supported.items():
        if config.get(key) not in (None, only):
            raise UnsupportedModelError(f"{source}: {key} {config[key]!r} is not supported, only {only!r}")
