"""Which attention a model gets on which card, with what is known of a card replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from farthing.engine.torch import varlen
from farthing.engine.torch.varlen import kernel_for
from makers import MINILM, QWEN3_8B

CARD, BF16 = torch.device("cuda", 0), torch.bfloat16
AMPERE, HOPPER = (8, 6), (9, 0)


@pytest.fixture
def as_card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return what stands for a card of a capability; it gives the names of what is activated."""

    def card(capability: tuple[int, int], *, installed: bool = False, active: str | None = None) -> list[str]:
        activated: list[str] = []
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(varlen, "find_spec", lambda _: object() if installed else None)
        attention: Any = torch.nn.attention
        monkeypatch.setattr(attention, "current_flash_attention_impl", lambda: active)
        monkeypatch.setattr(attention, "activate_flash_attention_impl", activated.append)
        return activated

    return card


def test_without_padding_where_the_kernel_can(as_card: Callable[..., list[str]]) -> None:
    as_card(AMPERE)
    assert kernel_for(QWEN3_8B, BF16, CARD) is not None
    assert kernel_for(MINILM, torch.float16, CARD) is not None
    assert kernel_for(MINILM, torch.float32, CARD) is None
    assert kernel_for(MINILM, BF16, torch.device("cpu")) is None
    assert kernel_for(replace(MINILM, head_size=30), BF16, CARD) is None
    assert kernel_for(replace(MINILM, relative_buckets=32), BF16, CARD) is None
    as_card((7, 5))
    assert kernel_for(MINILM, BF16, CARD) is None


def test_not_with_a_torch_whose_kernel_has_no_windows(
    as_card: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_card(AMPERE)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda query, is_causal=False: query)
    assert kernel_for(MINILM, BF16, CARD) is None


def test_flash_attention_3_where_it_is_installed(as_card: Callable[..., list[str]]) -> None:
    for given, expected in (
        ({"capability": HOPPER, "installed": True}, ["FA3"]),
        ({"capability": HOPPER, "installed": True, "active": "FA4"}, []),
        ({"capability": HOPPER}, []),
        ({"capability": AMPERE, "installed": True}, []),
    ):
        activated = as_card(**given)
        assert kernel_for(MINILM, BF16, CARD) is not None
        assert activated == expected


def test_a_broken_package_is_done_without(
    as_card: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_card(HOPPER, installed=True)

    def broken(_: str) -> None:
        raise RuntimeError("Module 'flash_attn_interface' does not expose FA3 kernels")

    monkeypatch.setattr(torch.nn.attention, "activate_flash_attention_impl", broken)
    assert kernel_for(MINILM, BF16, CARD) is not None
