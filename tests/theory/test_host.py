"""The host path: a lone request passes through all of it, a busy server shares it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from farthing.theory.host import DEFAULT_SERVER, SERVERS, HostPath, bulk_host_path, host_path
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
    """vLLM, arctic-m, 512 tokens: 212k tokens/s with one text a request, 516k with 16 (docs/facts.md, Servers)."""
    for together, tokens_per_s in ((1, 212e3), (16, 516e3)):
        host = host_path(server="vllm", texts_per_request=together)
        assert host.tokens_per_s(512) == pytest.approx(tokens_per_s, rel=0.02)


def test_a_measured_tokenizer_replaces_the_published_one() -> None:
    host = host_path(MEASURED)
    assert (host.tokenization_s_per_token, host.threads) == (3e-6, 4)
    assert host.request_s == SERVERS[DEFAULT_SERVER].request_s
    assert "measured 2026-11-21" in host.source


@pytest.mark.parametrize("server", SERVERS)
def test_without_a_measurement_that_of_the_server(server: str) -> None:
    """Who has no published figure says so."""
    host = host_path(server=server)
    assert host == SERVERS[server]
    assert ("assumed" in host.source.split(":")[0]) == host.assumed


def test_threads_and_texts_of_a_request_share_its_cost() -> None:
    host = host_path(server="vllm", threads=4, texts_per_request=16)
    assert host.busy_s(100) == pytest.approx((1.5e-3 / 16 + 175e-6) / 4)


def test_a_corpus_job_only_tokenizes() -> None:
    host = bulk_host_path(None)
    assert host.busy_s(1000) == pytest.approx(1e-3 / 4)
    assert bulk_host_path(None, threads=8).busy_s(1000) == pytest.approx(1e-3 / 8)
    assert bulk_host_path(MEASURED).busy_s(1000) == pytest.approx(3e-3 / 4)
    assert host.lone_s(0) == 0
