"""Encoders that are priced and not run: text towers of CLIP and Qwen-VL, DeBERTa, DPR and MosaicBERT.

Source: the configuration and model classes of transformers 5.23; of MosaicBERT, `bert_layers.py` of
huggingface.co/mosaicml/mosaic-bert-base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.families import decoders
from farthing.theory.families.encoders import bert_shape
from farthing.theory.families.values import Config, activation, count, flag
from farthing.theory.shapes import ModelShape

_CLIP: Config = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
}
"""What `CLIPTextConfig` takes where nothing is said, as files of CLIP often do not."""


def clip(config: Config, source: str) -> ModelShape:
    """Return the shape of CLIP's text tower: a BERT's layers, causal, with norms before the blocks.

    The projection to the space of the pictures, once per text, is not counted.
    """
    text = _text(config, source) if config.get("model_type") == "clip" else config
    text = {**_CLIP, **text}
    quick = text.get("hidden_act", "quick_gelu") == "quick_gelu"
    shape = bert_shape(
        {**text, "hidden_act": "gelu"} if quick else text, source, _family(config, "clip"), token_types=0
    )
    return replace(
        shape,
        activation="quick_gelu" if quick else activation(text, "hidden_act", source, "gelu"),
        causal=True,
        norm_place="pre",
        embedding_norm=False,
    )


def qwen2_vl(config: Config, source: str) -> ModelShape:
    """Return the shape of the text tower of a Qwen2-VL or Qwen2.5-VL, whose keys older files have at the top."""
    return replace(
        decoders.qwen2({"rms_norm_eps": 1e-5, **_text(config, source, flat=True)}, source),
        family=_family(config, "qwen2_vl"),
    )


def qwen3_vl(config: Config, source: str) -> ModelShape:
    """Return the shape of the text tower of a Qwen3-VL."""
    return replace(
        decoders.qwen3(_text(config, source, flat=True), source), family=_family(config, "qwen3_vl")
    )


def qwen3_vl_moe(config: Config, source: str) -> ModelShape:
    """Return the shape of the text tower of a Qwen3-VL with experts."""
    return replace(
        decoders.qwen3_moe(_text(config, source, flat=True), source), family=_family(config, "qwen3_vl_moe")
    )


def dpr(config: Config, source: str) -> ModelShape:
    """Return the shape of one of DPR's two encoders, a BERT."""
    return bert_shape(config, source, "dpr")


def deberta_v2(config: Config, source: str) -> ModelShape:
    """Return the shape of a DeBERTa v2 or v3: scores are also those with vectors of relative positions.

    Raises:
        UnsupportedModelError: it projects those vectors with matrices of their own, or its convolution has groups.
    """
    shape = bert_shape(
        {"layer_norm_eps": 1e-7, **config},
        source,
        "deberta-v2",
        token_types=count(config, "type_vocab_size", source, default=0, least=0),
    )
    width = count(config, "embedding_size", source, default=shape.hidden)
    if width != shape.hidden:
        raise UnsupportedModelError(f"{source}: embedding_size {width} is not supported, only hidden_size")
    learned = flag(config, "position_biased_input", source, default=True)
    if config.get("conv_groups", 1) != 1:
        raise UnsupportedModelError(
            f"{source}: conv_groups {config['conv_groups']!r} is not supported, only 1"
        )
    shape = replace(
        shape,
        positions="learned" if learned else "none",
        convolution=count(config, "conv_kernel_size", source, default=0, least=0),
    )
    if not flag(config, "relative_attention", source):
        return shape
    kinds = config.get("pos_att_type") or ()
    kinds = kinds.lower().split("|") if isinstance(kinds, str) else [str(kind).lower() for kind in kinds]
    scores = len({"c2p", "p2c"} & set(kinds))
    if scores and not flag(config, "share_att_key", source):
        raise UnsupportedModelError(f"{source}: share_att_key false is not supported, only true")
    span = _span(config, "position_buckets") or _span(config, "max_relative_positions") or shape.max_positions
    norm = "layer_norm" in str(config.get("norm_rel_ebd", "none"))
    return replace(
        shape,
        relative_rows=2 * span,
        relative_scores=scores,
        relative_norm=norm,
    )


def mosaic_bert(config: Config, source: str) -> ModelShape:
    """Return the shape of a MosaicBERT: a BERT with ALiBi and a gated MLP whose projection back alone has a bias."""
    shape = bert_shape(config, source, "mosaic_bert")
    return replace(shape, positions="alibi", gated_mlp=True, mlp_up_bias=False)


def _family(config: Config, default: str) -> str:
    return str(config.get("model_type", default))


def _span(config: Config, key: str) -> int:
    """Return a count of relative positions; −1, absent and null are none."""
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _text(config: Config, source: str, *, flat: bool = False) -> Config:
    """Return the `text_config`; where there is none and `flat`, the configuration itself.

    Raises:
        ModelError: what is there is no object.
    """
    text = config.get("text_config")
    if text is None:
        return config if flat else {}
    if not isinstance(text, Mapping):
        raise ModelError(f"{source}: text_config is {text!r}: expected an object")
    return text
