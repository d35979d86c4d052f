"""Bits that a weight takes in a quantized checkpoint, as its config.json tells it.

Source: the quantization configurations of transformers 5.23 (`utils/quantization_config.py`), of mlx-lm 0.28
(`quantize_model`: the embeddings, too), of compressed-tensors 0.12 (`QuantizationArgs`) and of modelopt 0.37.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from farthing.errors import ModelError
from farthing.theory.families.values import Config
from farthing.theory.shapes import ModelShape

_SCALE = 16
"""Bits of a scale, or of a zero point where it is no integer: they are fp16 or bf16."""

_FORMATS: Mapping[str, float] = {
    "nvfp4": 4 + 8 / 16,
    "mxfp4": 4 + 8 / 32,
    "mxfp8": 8 + 8 / 32,
    "mxfp6": 6 + 8 / 32,
}
"""Bits of formats whose scales are of 8 bits, one for 16 or 32 weights."""

_BITS = ("bits", "w_bit", "num_bits", "nbits", "weight_bits", "wbits")
_LEFT_OUT = (
    "ignore",
    "modules_to_not_convert",
    "llm_int8_skip_modules",
    "exclude_modules",
    "modules_to_not_quantize",
)
_GROUP = ("group_size", "q_group_size")


def stored_bits(config: Config, source: str) -> tuple[float | None, float | None]:
    """Return the bits of one weight of a layer's matrices and of the embedding tables; None where nothing is said.

    Raises:
        ModelError: what is there is no object, or the bits make no sense.
    """
    settings = _settings(config, source)
    if settings is None:
        return None, None
    bits = _of(settings)
    if bits is None:
        return None, None
    if not 1 <= bits <= 32:
        raise ModelError(f"{source}: quantization_config: {bits:g} bits of a weight: expected from 1 to 32")
    return bits, bits if _method(settings) == "mlx" else None


def quantization_method(config: Config, source: str) -> str | None:
    """Return what a checkpoint's quantization is called, or None where it is not quantized.

    Raises:
        ModelError: what is there is no object.
    """
    settings = _settings(config, source)
    return None if settings is None else _method(settings) or "unnamed"


def unquantized_share(config: Config, source: str, shape: ModelShape) -> float:
    """Return the share of the layers' weights whose matrices the quantization leaves out by name; they are of 16 bits.

    Names are those of decoders in transformers; of other models none is known, and the share is 0.

    Raises:
        ModelError: what is there is no object.
    """
    settings = _settings(config, source) or {}
    listed = [name for key in _LEFT_OUT for name in _list(settings.get(key))]
    listed += [name for name, value in settings.items() if value is False and ".layers." in name]  # MLX
    listed = [name for name in listed if name not in ("lm_head", "model.embed_tokens")]
    if not listed or not shape.mlp_parameters or shape.experts:
        return 0.0
    h, a, kv = shape.hidden, shape.attention_width, shape.kv_width
    sizes = {f"self_attn.{name}_proj": h * width for name, width in zip("qkvo", (a, kv, kv, a), strict=True)}
    sizes |= {
        f"mlp.{name}_proj": h * shape.intermediate for name in ("gate", "up", "down")[-shape.mlp_matrices :]
    }
    left_out = sum(
        size
        for layer in range(shape.layers)
        for name, size in sizes.items()
        if any(_names(pattern, f"model.layers.{layer}.{name}") for pattern in listed)
    )
    return left_out / (shape.layers * sum(sizes.values()))


def _list(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _names(pattern: str, module: str) -> bool:
    """Return whether an entry names a module: a regular expression, a glob, or some of its parts in a row."""
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], module) is not None
        except re.error:
            return False
    return fnmatchcase(module, pattern) or f".{pattern}." in f".{module}."


def _settings(config: Config, source: str) -> Config | None:
    found: Any = None
    for key in ("quantization_config", "quantization", "compression_config"):
        found = config.get(key)
        if found:
            break
    if not found:
        text = config.get("text_config")
        return _settings(text, source) if isinstance(text, Mapping) else None
    if not isinstance(found, Mapping):
        raise ModelError(f"{source}: {key} is {found!r}: expected an object")
    return found


def _method(settings: Config) -> str:
    named = settings.get("quant_method")
    if named is not None:
        return str(named).lower().replace("_", "-")
    if any(settings.get(key) for key in ("load_in_4bit", "load_in_8bit")):
        return "bitsandbytes"
    if "config_groups" in settings:
        return "compressed-tensors"
    if "quant_algo" in settings:
        return "modelopt"
    return "mlx" if "bits" in settings and "group_size" in settings else ""


def _of(settings: Config) -> float | None:
    return _READERS.get(_method(settings), _grouped)(settings)


def _number(settings: Config, *keys: str) -> float | None:
    for key in keys:
        value = settings.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _with_groups(bits: float | None, group: float | None, extra: float) -> float | None:
    """Return the bits with `extra` ones for each group of weights; a group that is not above 0 is a whole row."""
    return bits + extra / group if bits is not None and group and group > 0 else bits


def _grouped(settings: Config) -> float | None:
    """GPTQ, AWQ and their like: a scale and a zero point, as narrow as the weights, for each group."""
    bits = _number(settings, *_BITS)
    return _with_groups(bits, _number(settings, *_GROUP), _SCALE + (bits or 0))


def _mlx(settings: Config) -> float | None:
    mode = str(settings.get("mode", "affine"))
    if mode in _FORMATS:
        return _FORMATS[mode]
    return _with_groups(_number(settings, "bits"), _number(settings, "group_size"), 2 * _SCALE)


def _bitsandbytes(settings: Config) -> float | None:
    """Blocks of 64 weights of 4 bits have a scale of fp32, or of 8 bits and an fp32 one for each 256 of those."""
    if settings.get("load_in_4bit") or settings.get("_load_in_4bit"):
        return 4 + ((8 + 32 / 256) / 64 if settings.get("bnb_4bit_use_double_quant") else 32 / 64)
    return 8.0


def _fp8(settings: Config) -> float:
    block = settings.get("weight_block_size")
    return 8 + (
        32 / (block[0] * block[1]) if isinstance(block, list) and len(block) == 2 and all(block) else 0
    )


def _compressed_tensors(settings: Config) -> float | None:
    """The widest of the groups' weights."""
    groups = settings.get("config_groups")
    weights = [group.get("weights") for group in groups.values()] if isinstance(groups, Mapping) else []
    bits = [_weights(given) for given in weights if isinstance(given, Mapping)]
    return max((each for each in bits if each is not None), default=None)


def _weights(given: Config) -> float | None:
    group, bits = _number(given, "group_size"), _number(given, "num_bits")
    narrow_scale = given.get("type") == "float" and bits == 4
    zero = 0 if given.get("symmetric", True) else bits or 0
    return _with_groups(bits, group, 8 if narrow_scale else _SCALE + zero)


def _modelopt(settings: Config) -> float | None:
    if settings.get("config_groups"):
        return _compressed_tensors(settings)
    named = settings.get("quantization")
    inner = named if isinstance(named, Mapping) else settings
    algorithm = str(inner.get("quant_algo", "")).lower()
    for name, bits in _FORMATS.items():
        if name in algorithm:
            return bits
    found = re.search(r"w(\d)|(?:fp|int)(\d)", algorithm)
    width = float(found.group(1) or found.group(2)) if found else None
    return _with_groups(width, _number(inner, "group_size") if width == 4 else None, _SCALE)


def _hqq(settings: Config) -> float | None:
    inner = settings.get("quant_config", settings)
    given = inner.get("weight_quant_params", inner) if isinstance(inner, Mapping) else {}
    return _with_groups(_number(given, "nbits"), _number(given, "group_size"), 2 * _SCALE)


def _aqlm(settings: Config) -> float | None:
    bits, books = _number(settings, "nbits_per_codebook"), _number(settings, "num_codebooks")
    group = _number(settings, "in_group_size")
    return bits * books / group if bits and books and group else None


def _named(settings: Config) -> float | None:
    """Methods that name a type: quanto's `weights`, torchao's `quant_type`, FP-Quant's `forward_dtype`."""
    keys = ("weights", "quant_type", "quant_type_kwargs", "weights_dtype", "forward_dtype")
    given = json.dumps([settings.get(key) for key in keys], default=str).lower()
    for name, bits in _FORMATS.items():
        if name in given:
            return bits
    found = re.search(r"(?:int|float|fp|qint|qfloat|nf)(\d)", given)
    if found is None:
        return _grouped(settings)
    size = re.search(r'"(?:group_size|block_size)": (\d+)', given)
    bits = float(found.group(1))
    return _with_groups(bits, float(size.group(1)) if size else 128 if bits < 8 else None, 2 * _SCALE)


_READERS: Mapping[str, Callable[[Config], float | None]] = {
    "aqlm": _aqlm,
    "bitnet": lambda _: 2.0,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "eetq": lambda _: 8.0,
    "fbgemm-fp8": _fp8,
    "finegrained-fp8": _fp8,
    "fp-quant": _named,
    "fp8": _fp8,
    "hqq": _hqq,
    "mlx": _mlx,
    "modelopt": _modelopt,
    "modelopt-fp4": lambda _: _FORMATS["nvfp4"],
    "mxfp4": lambda _: _FORMATS["mxfp4"],
    "quanto": _named,
    "sparse-marlin": lambda _: 3.0,
    "torchao": _named,
}
