"""A Hugging Face config.json as a ModelShape: which family's function reads it.

Knows the names of the families (`model_type`), and static models. Knows no file and no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from farthing.errors import UnsupportedModelError
from farthing.theory.families import decoders, encoders, rotary_encoders, t5
from farthing.theory.families.values import Config, architecture, count
from farthing.theory.shapes import ModelShape

STATIC = "model2vec"
"""The `model_type` of a static model, which its configuration says without the rows of its table."""

_UNLIMITED = 1_000_000
"""Tokens of a text to a static model, which has no positions. Source: model2vec writes it as `seq_length`."""


def shape_from_config(config: Config, source: str) -> ModelShape:
    """Return the shape that a model's configuration describes.

    Args:
        config: the parsed config.json. Of a static model, `vocab_size` must be there: rows of its table.
        source: where it came from, to be named in errors.

    Raises:
        UnsupportedModelError: the architecture, or a setting of it, is not supported; it is named.
        ModelError: a number is missing or makes no sense; the key is named.
    """
    model_type = STATIC if is_static(config) else config.get("model_type")
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UnsupportedModelError(
            f"{source}: unsupported architecture {architecture(config)}: "
            f"use a model of one of these types: {', '.join(sorted(_FAMILIES))}"
        )
    return family(config, source)


def is_static(config: Config) -> bool:
    """Return whether a configuration is a static model's; earlier ones have no `model_type`.

    Source: config.json of huggingface.co/minishlab/potion-base-32M at 2d31858, and the package model2vec 0.10.
    """
    return config.get("model_type") == STATIC or ("model_type" not in config and "apply_pca" in config)


def _static(config: Config, source: str) -> ModelShape:
    """Return the shape of a static model: a table of token vectors, averaged. All its parameters are rows.

    Source: the package model2vec, `StaticModel`.
    """
    return ModelShape(
        family="static",
        layers=0,
        hidden=count(config, "hidden_dim", source),
        heads=0,
        kv_heads=0,
        head_size=0,
        intermediate=0,
        gated_mlp=False,
        activation="gelu",
        vocabulary=count(config, "vocab_size", source),
        max_positions=count(config, "seq_length", source, default=_UNLIMITED),
        token_types=0,
        positions="none",
        causal=False,
        norm="layer_norm",
        norm_place="post",
        norm_epsilon=1e-12,
        qk_norm=False,
        attention_bias=False,
        output_bias=False,
        mlp_up_bias=False,
        mlp_down_bias=False,
    )


_FAMILIES: Mapping[str, Callable[[Config, str], ModelShape]] = {
    "albert": encoders.albert,
    "bert": encoders.bert,
    "camembert": encoders.camembert,
    "distilbert": encoders.distilbert,
    "eurobert": decoders.eurobert,
    "gemma2": decoders.gemma2,
    "gemma3_text": decoders.gemma3_text,
    "gte": rotary_encoders.gte,
    "jina_embeddings_v3": rotary_encoders.jina_v3,
    "llama": decoders.llama,
    "llama_bidirec": decoders.llama_bidirectional,
    "mistral": decoders.mistral,
    STATIC: _static,
    "modernbert": rotary_encoders.modernbert,
    "mpnet": encoders.mpnet,
    "new": rotary_encoders.gte,
    "nomic_bert": rotary_encoders.nomic_bert,
    "nvembed": decoders.nvembed,
    "qwen2": decoders.qwen2,
    "qwen3": decoders.qwen3,
    "qwen3_moe": decoders.qwen3_moe,
    "roberta": encoders.roberta,
    "t5": t5.t5,
    "xlm-roberta": encoders.xlm_roberta,
}
