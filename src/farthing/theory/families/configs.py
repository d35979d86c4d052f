"""A Hugging Face config.json as a ModelShape: which family's function reads it.

Knows the names of the families (`model_type`), and static models. Knows no file and no weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from farthing.errors import UnsupportedModelError
from farthing.theory.families import decoders, encoders, rotary_encoders, t5, towers
from farthing.theory.families.stored_bits import stored_bits, unquantized_share
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
    model_type = model_type_of(config)
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UnsupportedModelError(
            f"{source}: unsupported architecture {architecture(config)}: "
            f"use a model of one of these types: {', '.join(sorted(_FAMILIES))}"
        )
    if model_type == "bert" and config.get("alibi_starting_size") is not None:
        family = towers.mosaic_bert
    shape = family(config, source)
    linear, table = stored_bits(config, source)
    if linear is not None:
        wide = unquantized_share(config, source, shape)
        linear += wide * max(0, 16 - linear)
    return replace(shape, linear_bits=linear, table_bits=table)


def model_type_of(config: Config) -> object:
    """Return the `model_type`; where there is none, that of the family whose class `architectures` names."""
    if is_static(config):
        return STATIC
    if config.get("model_type") is not None:
        return config["model_type"]
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    prefix = re.sub(r"(Encoder)?(Model|For[A-Z]\w*)$", "", name).lower()
    return next((known for known in _FAMILIES if re.sub(r"[-_]", "", known) == prefix), None)


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
    "clip": towers.clip,
    "clip_text_model": towers.clip,
    "deberta-v2": towers.deberta_v2,
    "distilbert": encoders.distilbert,
    "dpr": towers.dpr,
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
    "qwen2_5_vl": towers.qwen2_vl,
    "qwen2_5_vl_text": towers.qwen2_vl,
    "qwen2_vl": towers.qwen2_vl,
    "qwen2_vl_text": towers.qwen2_vl,
    "qwen3": decoders.qwen3,
    "qwen3_moe": decoders.qwen3_moe,
    "qwen3_vl": towers.qwen3_vl,
    "qwen3_vl_moe": towers.qwen3_vl_moe,
    "qwen3_vl_moe_text": towers.qwen3_vl_moe,
    "qwen3_vl_text": towers.qwen3_vl,
    "roberta": encoders.roberta,
    "t5": t5.t5,
    "xlm-roberta": encoders.xlm_roberta,
}
