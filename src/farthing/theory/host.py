"""The host path: what a server's processor does for each text beside the device.

The latency of a lone request is host + device; the time per text of a busy server is max(host, device), since the two
overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from farthing.theory.devices import ModelCalibration


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath:
    """What the host does for each text beside the device.

    Attributes:
        latency_s: a lone request's host time, tokenizing apart: HTTP, parsing, serialising.
        request_s: thread seconds that each text occupies, tokenizing apart.
        tokenization_s_per_token: thread seconds per token.
        threads: host threads that share the work.
        source: where the figures come from.
    """

    latency_s: float
    request_s: float
    tokenization_s_per_token: float
    threads: int
    source: str

    def busy_s(self, tokens: int) -> float:
        """Return the seconds that one text of `tokens` occupies the host, spread over its threads."""
        return (self.request_s + tokens * self.tokenization_s_per_token) / self.threads

    def tokens_per_s(self, tokens: int) -> float:
        """Return the tokens per second that the host gets through at most, in texts of `tokens`; inf if free."""
        busy = self.busy_s(tokens)
        return tokens / busy if busy else math.inf

    def lone_s(self, tokens: int) -> float:
        """Return the host seconds of a lone request of `tokens`; one thread does all of it."""
        return self.latency_s + tokens * self.tokenization_s_per_token


PUBLISHED_HOST = HostPath(
    latency_s=1.5e-3,
    request_s=1.5e-3,
    tokenization_s_per_token=1e-6,
    threads=1,
    source="published, one Python server process: 1.5 ms per request (vLLM, arctic-m, 512 tokens: 212k tokens/s "
    "with 1 text a request, 516k with 16), 1 µs per token to tokenize (1k tokens per ms and thread)",
)
"""What published servers take, when nothing was measured.

(512/212k − 512/516k)·16/15 = 1.5 ms. A lone request is taken to pass once through the same work.
Source: github.com/vllm-project/vllm/pull/23000: 211,711 and 515,914 tokens/s on random texts of 512 tokens. The seconds
per token are an assumption, and calibrated where they can be.
"""


def host_path(measured: ModelCalibration | None) -> HostPath:
    """Return the host path of a server: the published one, with the tokenizer as measured where it was.

    Args:
        measured: a model's calibration on the machine; its tokenizer is shared by as many threads as streams.
    """
    if measured is None:
        return PUBLISHED_HOST
    return replace(
        PUBLISHED_HOST,
        tokenization_s_per_token=measured.tokenization_s_per_token,
        threads=measured.streams,
        source=f"tokenizer measured {measured.measured_at}; per request 1.5 ms as published for one vLLM process",
    )


BULK_THREADS = 4
"""Threads that tokenize a corpus where nothing was measured: an assumption, the processors of the smallest common
GPU instance (AWS g6.xlarge, one L4)."""


def bulk_host_path(measured: ModelCalibration | None) -> HostPath:
    """Return the host path of a corpus job: it tokenizes, and no request is parsed or answered.

    Args:
        measured: as in `host_path`.
    """
    host = replace(host_path(measured), latency_s=0.0, request_s=0.0)
    if measured is not None:
        return replace(host, source=f"tokenizer measured {measured.measured_at}")
    return replace(
        host,
        threads=BULK_THREADS,
        source=f"tokenizing only, 1 µs per token and thread as published, {BULK_THREADS} threads (an assumption)",
    )
