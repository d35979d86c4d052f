"""Attention without padding: torch's variable-length kernel on a card, for fp16 and bf16."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from farthing.engine.network.ops import Sight
from farthing.theory.shapes import ModelShape

_HEADS = range(8, 257, 8)
"""Sizes of a head that the kernel takes. Source: FlashAttention 2, which needs Ampere or later as well."""

_AMPERE, _HOPPER = (8, 0), (9, 0)


class Kernel:
    """Attention of texts that lie one after another; queries and keys of a text end together."""

    def __init__(self, varlen: Callable[..., Any]) -> None:
        """Take torch's function, or what stands for it where there is no card."""
        self._varlen = varlen
        self._groups = "enable_gqa" in inspect.signature(varlen).parameters  # since torch 2.12

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, sight: Sight, *bounds: Tensor | int) -> Tensor:
        """Return the mixed values, (T, heads, size).

        Args:
            query: (T, heads, size).
            key: (K, KV heads, size).
            value: (K, KV heads, size).
            sight: who sees whom.
            *bounds: int32 (B + 1,) of each text's queries, and of its keys; the most queries of a text, and keys.
        """
        times, options = query.shape[1] // key.shape[1], {}
        if times > 1 and self._groups:
            options["enable_gqa"] = True
        elif times > 1:
            key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
        left = -1 if sight.reach is None else sight.reach
        window = left, 0 if sight.causal else left
        found: Tensor = self._varlen(
            query, key, value, *bounds, scale=sight.scale, window_size=window, **options
        )
        return found


def kernel_for(shape: ModelShape, dtype: torch.dtype, device: torch.device) -> Kernel | None:
    """Return the kernel where it can run all of a model's attention on a device; None elsewhere."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability < _AMPERE or shape.head_size not in _HEADS or not has_plain_scores(shape):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch before 2.10
        return None
    if "window_size" not in inspect.signature(varlen_attn).parameters:  # before 2.11
        return None
    if capability == _HOPPER and find_spec("flash_attn_interface") is not None:
        _prefer_flash_attention_3()
    return Kernel(varlen_attn)


def has_plain_scores(shape: ModelShape) -> bool:
    """Return whether nothing but a factor stands between a model's products of queries and keys and its softmax."""
    return not shape.relative_buckets and shape.positions != "alibi" and shape.score_cap is None


def _prefer_flash_attention_3() -> None:
    """Let torch's function run FlashAttention 3, in this whole process; where that fails it stays FlashAttention 2."""
    with suppress(ImportError, RuntimeError):  # no such switch in this torch, or a package of another build
        from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

        if current_flash_attention_impl() is None:
            activate_flash_attention_impl("FA3")
