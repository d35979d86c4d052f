"""Values of a config.json, checked: what is missing or makes no sense is an error that names the key.

Knows the kinds of values, and the spellings of activations, rotary positions and layer kinds that families
share. Knows no family.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from farthing.errors import ModelError, UnsupportedModelError
from farthing.theory.shapes import Activation

_MOST = 10**9
"""Larger than any width or count that a model has; more than this is a broken file."""

_MOST_LAYERS = 10_000
"""Likewise for layers, each of which a shape spells out."""

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",  # the erf form
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

_ABSENT = object()

Config = Mapping[str, Any]


def architecture(config: Config) -> str:
    """Return what the configuration calls its architecture, for an error."""
    names = config.get("architectures")
    classes = ", ".join(map(str, names)) if isinstance(names, list) and names else ""
    model_type = config.get("model_type")
    if model_type is None:
        return f"{classes} (no model_type)" if classes else "(neither model_type nor architectures given)"
    return f"{model_type!r} ({classes})" if classes else repr(model_type)


def count(
    config: Config,
    key: str,
    source: str,
    default: int | None = None,
    *,
    least: int = 1,
    most: int = _MOST,
) -> int:
    """Return a whole number from `least` to `most`; null counts as absent only where there is a default.

    Raises:
        ModelError: it is absent and there is no default, or it is no such number.
    """
    value = config.get(key, _ABSENT)
    if default is not None and (value is _ABSENT or value is None):
        return default
    if value is _ABSENT:
        raise ModelError(f"{source}: {key} is missing: expected a whole number")
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ModelError(f"{source}: {key} is {value!r}: expected a whole number from {least} to {most}")
    return value


def layer_count(config: Config, key: str, source: str) -> int:
    """Return the number of layers.

    Raises:
        ModelError: it is absent, or no such number.
    """
    return count(config, key, source, most=_MOST_LAYERS)


def number(config: Config, key: str, source: str, default: float | None = None) -> float:
    """Return a finite number above zero; null counts as absent only where there is a default.

    Raises:
        ModelError: it is absent and there is no default, or it is no such number.
    """
    value = config.get(key, _ABSENT)
    if default is not None and (value is _ABSENT or value is None):
        return default
    if value is _ABSENT:
        raise ModelError(f"{source}: {key} is missing: expected a number")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ModelError(f"{source}: {key} is {value!r}: expected a number above 0")
    return float(value)


def flag(config: Config, key: str, source: str, default: bool = False) -> bool:
    """Return true or false; absent or null is the default.

    Raises:
        ModelError: it is something else.
    """
    value = config.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ModelError(f"{source}: {key} is {value!r}: expected true or false")
    return value


def activation(config: Config, key: str, source: str, default: str) -> Activation:
    """Return the non-linearity that a key names.

    Raises:
        UnsupportedModelError: it is none that Farthing knows.
    """
    name = config.get(key, default)
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{source}: {key} {name!r} is not supported: use one of {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def head_size(config: Config, hidden: int, heads: int, source: str, heads_key: str) -> int:
    """Return `head_dim`, or each head's equal share of the width where it is not given.

    Raises:
        ModelError: it makes no sense, or the width is not a multiple of the heads.
    """
    if config.get("head_dim") is not None:
        return count(config, "head_dim", source)
    if hidden % heads:
        raise ModelError(f"{source}: width {hidden} is not a multiple of {heads_key} {heads}")
    return hidden // heads


def rotary_parameters(config: Config, source: str, layer_kind: str) -> Config:
    """Return the rotary parameters of one kind of layer: `rope_parameters`, else `rope_scaling`, else none.

    Since transformers 5 they are in `rope_parameters`, by kind of layer where those differ; before, the
    scaling was in `rope_scaling` and the base beside it.

    Raises:
        ModelError: what is there is no object.
    """
    for key in ("rope_parameters", "rope_scaling"):
        nested = config.get(key)
        if isinstance(nested, Mapping) and isinstance(nested.get(layer_kind), Mapping):
            nested = nested[layer_kind]
        if nested is None:
            continue
        if not isinstance(nested, Mapping):
            raise ModelError(f"{source}: {key} is {nested!r}: expected an object")
        return nested
    return {}


def rotary_theta(config: Config, source: str, layer_kind: str, key: str, default: float) -> float:
    """Return the base of the rotary frequencies: from the rotary parameters, else under `key`.

    Raises:
        ModelError: it makes no sense.
    """
    nested = rotary_parameters(config, source, layer_kind)
    if nested.get("rope_theta") is not None:
        return number(nested, "rope_theta", source)
    return number(config, key, source, default=default)


def rotary_scaling(config: Config, source: str, layer_kind: str) -> str | None:
    """Return the `rope_type` of scaled rotary frequencies, or None for plain ones.

    Raises:
        ModelError: it makes no sense.
    """
    nested = rotary_parameters(config, source, layer_kind)
    kind = nested.get("rope_type", nested.get("type", "default"))
    if not isinstance(kind, str):
        raise ModelError(f"{source}: rope_type is {kind!r}: expected a name")
    return None if kind == "default" else kind


def sliding_layers(config: Config, layers: int, source: str) -> tuple[bool, ...] | None:
    """Return for each layer whether `layer_types` makes it a sliding one, or None where it is not given.

    Raises:
        ModelError: it is no list of one kind per layer.
        UnsupportedModelError: a kind is neither full nor sliding attention.
    """
    kinds = config.get("layer_types")
    if kinds is None:
        return None
    if not isinstance(kinds, Sequence) or isinstance(kinds, str) or len(kinds) != layers:
        raise ModelError(f"{source}: layer_types is {kinds!r}: expected a list of {layers} kinds")
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise UnsupportedModelError(
                f"{source}: layer_types has {kind!r}: only full_attention and sliding_attention are supported"
            )
    return tuple(kind == "sliding_attention" for kind in kinds)
