"""The host path: a lone request passes through all of it, a busy server shares it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from farthing.theory.host import PUBLISHED_HOST, HostPath, host_path
from makers import make_model_calibration

MEASURED = make_model_calibration(streams=4, tokenization_s_per_token=3e-6)


def test_by_hand() -> None:
    host = HostPath(latency_s=5e-3, request_s=2e-3, tokenization_s_per_token=1e-5, threads=4, source="here")
    assert host.lone_s(100) == pytest.approx(6e-3)
    assert host.busy_s(100) == pytest.approx(0.75e-3)
    assert host.tokens_per_s(100) == pytest.approx(100 / 0.75e-3)
    free = replace(host, request_s=0.0, tokenization_s_per_token=0.0)
    assert free.tokens_per_s(100) == math.inf


def test_the_published_server_is_reproduced() -> None:
    """vLLM, arctic-m, 512 tokens: 212k tokens/s with one text a request, 516k with 16. Source: facts/peers.md."""
    per_text_s = 512 / 212e3 - 512 / 516e3
    assert PUBLISHED_HOST.request_s == pytest.approx(per_text_s * 16 / 15, rel=0.02)


def test_a_measured_tokenizer_replaces_the_published_one() -> None:
    host = host_path(MEASURED)
    assert (host.tokenization_s_per_token, host.threads) == (3e-6, 4)
    assert host.request_s == PUBLISHED_HOST.request_s
    assert "measured 2026-11-21" in host.source


def test_without_a_measurement_the_published_one() -> None:
    assert host_path(None) is PUBLISHED_HOST
    assert "published" in PUBLISHED_HOST.source
