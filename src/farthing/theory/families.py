"""A Hugging Face config.json as a ModelShape, one small function per family.

Knows the keys and defaults of each family's configuration. Knows no file and no weights.

Source: the configuration classes of transformers 5.5 (`BertConfig`, `Qwen3Config`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.shapes import Activation, ModelShape

_MOST = 10**9
"""Larger than any width or count that a model has; more than this is a broken file."""

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",  # the erf form
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

_ABSENT = object()


def shape_from_config(config: Mapping[str, Any], source: str) -> ModelShape:
    """Return the shape that a model's configuration describes.

    Args:
        config: the parsed config.json.
        source: where it came from, to be named in errors.

    Raises:
        UnsupportedModelError: the architecture, or a setting of it, is not supported; it is named.
        ModelError: a number is missing or makes no sense; the key is named.
    """
    model_type = config.get("model_type")
    family = _FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise UnsupportedModelError(
            f"{source}: unsupported architecture {_architecture(config)}: "
            f"use a model of one of these types: {', '.join(sorted(_FAMILIES))}"
        )
    return family(config, source)


def _bert(config: Mapping[str, Any], source: str) -> ModelShape:
    if config.get("is_decoder"):
        raise UnsupportedModelError(f"{source}: is_decoder is set: only BERT as an encoder is supported")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise UnsupportedModelError(
            f"{source}: position_embedding_type {positions!r} is not supported: use a BERT with 'absolute'"
        )
    hidden = _count(config, "hidden_size", source)
    heads = _count(config, "num_attention_heads", source)
    return ModelShape(
        family="bert",
        layers=_count(config, "num_hidden_layers", source),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_size=_share(hidden, heads, source),
        intermediate=_count(config, "intermediate_size", source),
        gated_mlp=False,
        activation=_activation(config, "gelu", source),
        vocabulary=_count(config, "vocab_size", source),
        max_positions=_count(config, "max_position_embeddings", source),
        token_types=_count(config, "type_vocab_size", source, default=2),
        positions="learned",
        rotary_theta=None,
        causal=False,
        norm="layer_norm",
        norm_place="post",
        norm_epsilon=_number(config, "layer_norm_eps", source, default=1e-12),
        qk_norm=False,
        attention_bias=True,
        mlp_bias=True,
    )


def _qwen3(config: Mapping[str, Any], source: str) -> ModelShape:
    kinds = config.get("layer_types")
    sliding = isinstance(kinds, list) and any(kind != "full_attention" for kind in kinds)
    if config.get("use_sliding_window") or sliding:
        raise UnsupportedModelError(
            f"{source}: sliding-window attention (use_sliding_window, layer_types) is not supported yet: "
            "use a Qwen3 whose layers all attend in full"
        )
    hidden = _count(config, "hidden_size", source)
    heads = _count(config, "num_attention_heads", source)
    kv_heads = _count(config, "num_key_value_heads", source, default=heads)
    if heads % kv_heads:
        raise ModelError(
            f"{source}: num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
        )
    head_size = (
        _share(hidden, heads, source)
        if config.get("head_dim") is None
        else _count(config, "head_dim", source)
    )
    if head_size % 2:
        raise ModelError(f"{source}: head_dim is {head_size}: rotary positions need an even number")
    return ModelShape(
        family="qwen3",
        layers=_count(config, "num_hidden_layers", source),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        intermediate=_count(config, "intermediate_size", source),
        gated_mlp=True,
        activation=_activation(config, "silu", source),
        vocabulary=_count(config, "vocab_size", source),
        max_positions=_count(config, "max_position_embeddings", source),
        token_types=0,
        positions="rotary",
        rotary_theta=_rotary_theta(config, source),
        causal=True,
        norm="rms_norm",
        norm_place="pre",
        norm_epsilon=_number(config, "rms_norm_eps", source, default=1e-6),
        qk_norm=True,
        attention_bias=_flag(config, "attention_bias", source),
        mlp_bias=False,
    )


_FAMILIES: Mapping[str, Callable[[Mapping[str, Any], str], ModelShape]] = {"bert": _bert, "qwen3": _qwen3}


def _rotary_theta(config: Mapping[str, Any], source: str) -> float:
    """Return the rotary base: `rope_theta` itself, or inside `rope_parameters` since transformers 5."""
    for key in ("rope_parameters", "rope_scaling"):
        nested = config.get(key)
        if nested is None:
            continue
        if not isinstance(nested, Mapping):
            raise ModelError(f"{source}: {key} is {nested!r}: expected an object")
        kind = nested.get("rope_type", nested.get("type", "default"))
        if kind != "default":
            raise UnsupportedModelError(
                f"{source}: {key} of type {kind!r} is not supported: use a model whose type is 'default'"
            )
        if "rope_theta" in nested:
            return _number(nested, "rope_theta", f"{source}: {key}")
    return _number(config, "rope_theta", source, default=10_000.0)


def _architecture(config: Mapping[str, Any]) -> str:
    """Return what the configuration calls its architecture, for an error."""
    names = config.get("architectures")
    classes = ", ".join(map(str, names)) if isinstance(names, list) and names else ""
    model_type = config.get("model_type")
    if model_type is None:
        return f"{classes} (no model_type)" if classes else "(neither model_type nor architectures given)"
    return f"{model_type!r} ({classes})" if classes else repr(model_type)


def _activation(config: Mapping[str, Any], default: str, source: str) -> Activation:
    name = config.get("hidden_act", default)
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{source}: hidden_act {name!r} is not supported: use one of {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _share(hidden: int, heads: int, source: str) -> int:
    if hidden % heads:
        raise ModelError(f"{source}: hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
    return hidden // heads


def _count(config: Mapping[str, Any], key: str, source: str, default: int | None = None) -> int:
    """Return a whole number of at least one; null counts as absent only where there is a default."""
    value = config.get(key, _ABSENT)
    if default is not None and (value is _ABSENT or value is None):
        return default
    if value is _ABSENT:
        raise ModelError(f"{source}: {key} is missing: expected a whole number")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise ModelError(f"{source}: {key} is {value!r}: expected a whole number of at least 1")
    return value


def _number(config: Mapping[str, Any], key: str, source: str, default: float | None = None) -> float:
    """Return a finite number above zero."""
    value = config.get(key, _ABSENT)
    if default is not None and (value is _ABSENT or value is None):
        return default
    if value is _ABSENT:
        raise ModelError(f"{source}: {key} is missing: expected a number")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ModelError(f"{source}: {key} is {value!r}: expected a number above 0")
    return float(value)


def _flag(config: Mapping[str, Any], key: str, source: str) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise ModelError(f"{source}: {key} is {value!r}: expected true or false")
    return value
