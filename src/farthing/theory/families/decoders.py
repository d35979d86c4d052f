"""Decoders that embed: Qwen, Llama, Mistral and Gemma, one small function per family.

They are causal unless the configuration says otherwise: `is_causal` false, which transformers' masks follow for
every decoder, `use_bidirectional_attention`, which transformers reads in Gemma 3 and code on the hub in others,
or a model type of its own. Knows no file and no weights.

A window of W tokens means: causal, the token itself and the W − 1 before it; with `is_causal` false, W to each
side; in Gemma 3 with `use_bidirectional_attention`, W // 2 to each side.

Source: the configuration and model classes of transformers 5.23 and its `masking_utils`
(`sliding_window_overlay`, `sliding_window_bidirectional_overlay`), `Gemma3TextConfig.__post_init__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from farthing.errors import ModelError, UnsupportedModelError
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

_WINDOW = 4096
"""Tokens of a window where nothing is said: the default of all these configuration classes."""


def llama(config: Config, source: str) -> ModelShape:
    """Return the shape of a Llama."""
    return _llama(config, source, "llama")


def llama_bidirectional(config: Config, source: str) -> ModelShape:
    """Return the shape of a Llama that attends both ways, as NVIDIA's embedding models do.

    Source: huggingface.co/nvidia/llama-embed-nemotron-8b, `LlamaBidirectionalModel`: its mask only hides padding.
    """
    return replace(_llama(config, source, "llama_bidirec"), causal=False)


def eurobert(config: Config, source: str) -> ModelShape:
    """Return the shape of a EuroBERT: an encoder in a Llama's clothes."""
    return replace(_llama({"rms_norm_eps": 1e-5, **config}, source, "eurobert"), causal=False)


def mistral(config: Config, source: str) -> ModelShape:
    """Return the shape of a Mistral: with a `sliding_window`, every layer has it."""
    return _windowed(_decoder(config, source, "mistral"), config, source)


def nvembed(config: Config, source: str) -> ModelShape:
    """Return the shape of NV-Embed: the Mistral of its `text_config`, attending both ways without a window.

    Not counted: the latent attention that pools its tokens (512 latents of 4096, 8 heads of 4096 in NV-Embed-v2),
    about 0.74e9 weights in memory and 0.47e9 that each token is multiplied with, 7 % on top of the Mistral's.

    Source: huggingface.co/nvidia/NV-Embed-v2, `BidirectionalMistralModel` (the mask only hides padding) and
    `LatentAttentionModel`.
    """
    text = config.get("text_config")
    if not isinstance(text, Mapping):
        raise ModelError(f"{source}: text_config is {text!r}: expected an object")
    return replace(_decoder(text, f"{source}: text_config", "nvembed"), causal=False)


def qwen2(config: Config, source: str) -> ModelShape:
    """Return the shape of a Qwen2: biases on queries, keys and values, always."""
    shape = replace(_decoder(config, source, "qwen2"), attention_bias=True)
    return _qwen_windowed(shape, config, source)


def qwen3(config: Config, source: str) -> ModelShape:
    """Return the shape of a Qwen3: queries and keys are normalised, heads are 128 wide if nothing is said."""
    return _qwen_windowed(_qwen3(config, source, "qwen3"), config, source)


def qwen3_moe(config: Config, source: str) -> ModelShape:
    """Return the shape of a Qwen3 with experts in every `decoder_sparse_step`-th layer.

    Source: `Qwen3MoeDecoderLayer`; a window holds in every layer.
    """
    shape = _qwen3(config, source, "qwen3_moe")
    step = count(config, "decoder_sparse_step", source, default=1)
    dense = config.get("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(isinstance(layer, int) for layer in dense):
        raise ModelError(f"{source}: mlp_only_layers is {dense!r}: expected a list of layers")
    experts_key = "num_local_experts" if "num_local_experts" in config else "num_experts"
    experts = count(config, experts_key, source)
    shape = replace(
        shape,
        experts=experts,
        experts_per_token=count(config, "num_experts_per_tok", source, most=experts),
        expert_intermediate=count(config, "moe_intermediate_size", source),
        expert_layers=tuple(
            layer for layer in range(shape.layers) if (layer + 1) % step == 0 and layer not in dense
        ),
    )
    return _windowed(shape, config, source) if flag(config, "use_sliding_window", source) else shape


def gemma2(config: Config, source: str) -> ModelShape:
    """Return the shape of a Gemma 2: every second layer slides, and scores are capped softly."""
    shape = _decoder(config, source, "gemma2", act_key="hidden_activation", act="gelu_pytorch_tanh", size=256)
    sliding = sliding_layers(config, shape.layers, source)
    if sliding is None:
        sliding = tuple(layer % 2 == 0 for layer in range(shape.layers))
    bias, capped = flag(config, "attention_bias", source), config.get("attn_logit_softcapping", 50.0)
    return replace(
        _windowed(shape, config, source, sliding),
        attention_bias=bias,
        output_bias=bias,
        attention_scale=number(config, "query_pre_attn_scalar", source, default=256.0) ** -0.5,
        score_cap=None if capped is None else number(config, "attn_logit_softcapping", source, default=50.0),
        norm_place="sandwich",
        norm_unit_offset=True,
        embedding_scale=shape.hidden**0.5,
    )


def gemma3_text(config: Config, source: str) -> ModelShape:
    """Return the shape of a Gemma 3, causal or (EmbeddingGemma) attending both ways."""
    shape = _decoder(
        config, source, "gemma3_text", act_key="hidden_activation", act="gelu_pytorch_tanh", size=256
    )
    both_ways = flag(config, "use_bidirectional_attention", source)
    pattern = count(config, "sliding_window_pattern", source, default=6)
    sliding = sliding_layers(config, shape.layers, source)
    if sliding is None:
        sliding = tuple(bool((layer + 1) % pattern) for layer in range(shape.layers))
    window = count(config, "sliding_window", source, default=_WINDOW)
    reach = _reach(shape, window) if not both_ways else window // 2
    bias = flag(config, "attention_bias", source)
    return replace(
        shape,
        attention_bias=bias,
        output_bias=bias,
        attention_reach=tuple(reach if local else None for local in sliding),
        attention_scale=number(config, "query_pre_attn_scalar", source, default=256.0) ** -0.5,
        rotary_theta=rotary_theta(config, source, "full_attention", "rope_theta", 1_000_000.0),
        rotary_theta_local=rotary_theta(
            config, source, "sliding_attention", "rope_local_base_freq", 10_000.0
        ),
        qk_norm=True,
        norm_place="sandwich",
        norm_unit_offset=True,
        embedding_scale=shape.hidden**0.5,
    )


def _llama(config: Config, source: str, family: str) -> ModelShape:
    bias, mlp_bias = flag(config, "attention_bias", source), flag(config, "mlp_bias", source)
    return replace(
        _decoder(config, source, family),
        attention_bias=bias,
        output_bias=bias,
        mlp_up_bias=mlp_bias,
        mlp_down_bias=mlp_bias,
    )


def _qwen3(config: Config, source: str, family: str) -> ModelShape:
    bias = flag(config, "attention_bias", source)
    # Qwen3Config itself says 128; its sibling with experts shares the width out.
    shape = _decoder(config, source, family, size=128 if family == "qwen3" else None)
    return replace(shape, attention_bias=bias, output_bias=bias, qk_norm=True)


def _decoder(
    config: Config,
    source: str,
    family: str,
    *,
    act_key: str = "hidden_act",
    act: str = "silu",
    size: int | None = None,
) -> ModelShape:
    """Return what all of them share: RMS norms before the blocks, rotary positions, a gated MLP, no biases.

    Args:
        config: the configuration.
        source: where it came from.
        family: name of the family.
        act_key: key of the activation.
        act: the activation where nothing is said.
        size: the head size where nothing is said; None for an equal share of the width.
    """
    hidden = count(config, "hidden_size", source)
    heads = count(config, "num_attention_heads", source)
    kv_heads = count(config, "num_key_value_heads", source, default=heads)
    if heads % kv_heads:
        raise ModelError(
            f"{source}: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
        )
    if size is None or config.get("head_dim") is not None:
        size = head_size(config, hidden, heads, source, "num_attention_heads")
    if size % 2:
        raise ModelError(f"{source}: head_dim is {size}: rotary positions need an even number")
    share = config.get("partial_rotary_factor")
    if share not in (None, 1, 1.0):
        raise UnsupportedModelError(f"{source}: partial_rotary_factor {share!r} is not supported, only 1")
    one_way = flag(config, "is_causal", source, default=True)
    return ModelShape(
        family=family,
        layers=layer_count(config, "num_hidden_layers", source),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_size=size,
        intermediate=count(config, "intermediate_size", source),
        gated_mlp=True,
        activation=activation(config, act_key, source, act),
        vocabulary=count(config, "vocab_size", source),
        max_positions=count(config, "max_position_embeddings", source),
        token_types=0,
        positions="rotary",
        rotary_theta=rotary_theta(config, source, "full_attention", "rope_theta", 10_000.0),
        rotary_scaling=rotary_scaling(config, source, "full_attention"),
        causal=one_way and not flag(config, "use_bidirectional_attention", source),
        norm="rms_norm",
        norm_place="pre",
        norm_epsilon=number(config, "rms_norm_eps", source, default=1e-6),
        qk_norm=False,
        attention_bias=False,
        output_bias=False,
        mlp_up_bias=False,
        mlp_down_bias=False,
    )


def _qwen_windowed(shape: ModelShape, config: Config, source: str) -> ModelShape:
    """Give the layers from `max_window_layers` on, or those that `layer_types` names, their window."""
    slides = flag(config, "use_sliding_window", source)
    sliding = sliding_layers(config, shape.layers, source)
    if sliding is None:
        first = count(config, "max_window_layers", source, default=28, least=0)
        sliding = tuple(slides and layer >= first for layer in range(shape.layers))
    elif any(sliding) and not slides:
        raise ModelError(f"{source}: layer_types has sliding layers, but use_sliding_window is not set")
    elif any(sliding) and config.get("sliding_window", _WINDOW) is None:
        raise ModelError(f"{source}: sliding_window is null, but layer_types has sliding layers")
    return _windowed(shape, config, source, sliding)


def _windowed(
    shape: ModelShape, config: Config, source: str, sliding: tuple[bool, ...] | None = None
) -> ModelShape:
    """Give the layers that slide (all where nothing is said) their window: 4096 by default, null is none."""
    if config.get("sliding_window", _WINDOW) is None:
        return shape
    reach = _reach(shape, count(config, "sliding_window", source, default=_WINDOW))
    layers = (True,) * shape.layers if sliding is None else sliding
    return replace(shape, attention_reach=tuple(reach if local else None for local in layers))


def _reach(shape: ModelShape, window: int) -> int:
    """Return how far a token sees to a side, of a window in tokens."""
    return window - 1 if shape.causal else window
