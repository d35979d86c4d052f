"""Encoders of T5: GTR, sentence-T5 and INSTRUCTOR.

Source: `T5Config` and `T5EncoderModel` of transformers 5.23.
"""

from __future__ import annotations

from farthing.errors import UnsupportedModelError
from farthing.theory.families.values import Config, activation, count, layer_count, number
from farthing.theory.shapes import ModelShape

_POSITIONS = 512
"""Tokens that T5 was trained with; its positions are relative and have no end of their own."""


def t5(config: Config, source: str) -> ModelShape:
    """Return the shape of a T5's encoder: scores without a scale, one table of biases on them for all layers."""
    gate, _, kind = str(config.get("feed_forward_proj", "relu")).rpartition("-")
    if gate not in ("", "gated"):
        raise UnsupportedModelError(
            f"{source}: feed_forward_proj {config['feed_forward_proj']!r} is not supported: use relu or gated-gelu"
        )
    kind = "gelu_new" if gate and kind == "gelu" else kind
    heads = count(config, "num_heads", source)
    return ModelShape(
        family="t5",
        layers=layer_count(config, "num_layers", source),
        hidden=count(config, "d_model", source),
        heads=heads,
        kv_heads=heads,
        head_size=count(config, "d_kv", source, default=64),
        intermediate=count(config, "d_ff", source),
        gated_mlp=bool(gate),
        activation=activation({"feed_forward_proj": kind}, "feed_forward_proj", source, "relu"),
        vocabulary=count(config, "vocab_size", source),
        max_positions=count(config, "n_positions", source, default=_POSITIONS),
        token_types=0,
        positions="none",
        causal=False,
        norm="rms_norm",
        norm_place="pre",
        norm_epsilon=number(config, "layer_norm_epsilon", source, default=1e-6),
        qk_norm=False,
        attention_bias=False,
        output_bias=False,
        mlp_up_bias=False,
        mlp_down_bias=False,
        attention_scale=1.0,
        relative_buckets=count(config, "relative_attention_num_buckets", source, default=32),
        relative_distance=count(config, "relative_attention_max_distance", source, default=128),
    )
