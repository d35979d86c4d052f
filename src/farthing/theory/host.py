"""The host path: what a server's processor does for each text beside the device.

The latency of a lone request is host + device; the time per text of a busy server is max(host, device), since the two
overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farthing.theory.devices import ModelCalibration

HOST_ERROR = 0.20
"""How much longer or shorter than said the host's work may take: processors differ. An assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath:
    """What the host does for each text beside the device.

    Attributes:
        latency_s: a lone request's host time, tokenizing apart: HTTP, parsing, serialising.
        request_s: thread seconds that each request occupies, tokenizing apart.
        tokenization_s_per_token: thread seconds per token.
        threads: host threads that share the work.
        source: where the figures come from.
        assumed: whether no one has published or measured them.
        texts_per_request: texts that come together.
    """

    latency_s: float
    request_s: float
    tokenization_s_per_token: float
    threads: int
    source: str
    assumed: bool = False
    texts_per_request: int = 1

    def busy_s(self, tokens: float) -> float:
        """Return the seconds that one text of `tokens` occupies the host, spread over its threads."""
        return (
            self.request_s / self.texts_per_request + tokens * self.tokenization_s_per_token
        ) / self.threads

    def tokens_per_s(self, tokens: float) -> float:
        """Return the tokens per second that the host gets through at most, in texts of `tokens`; inf if free."""
        busy = self.busy_s(tokens)
        return tokens / busy if busy else math.inf

    def lone_s(self, tokens: float) -> float:
        """Return the host seconds of a lone request with `tokens` in all; one thread does all of it."""
        return self.latency_s + tokens * self.tokenization_s_per_token


SERVERS: Mapping[str, HostPath] = {
    "farthing": HostPath(
        latency_s=0.7e-3,
        request_s=0.3e-3,
        tokenization_s_per_token=1e-6,
        threads=1,
        source="assumed, one process of Farthing's server, which is not out yet: 0.3 ms per request, 1 µs per token "
        "to tokenize",
        assumed=True,
    ),
    "tei": HostPath(
        latency_s=0.5e-3,
        request_s=0.24e-3,
        tokenization_s_per_token=1e-6,
        threads=4,
        source="published for TEI: 16,648 messages/s of one server (e5-small-v2, A100; IgniteMS), so at most 60 µs "
        "each; 1 µs per token and 4 threads are assumed",
    ),
    "vllm": HostPath(
        latency_s=1.5e-3,
        request_s=1.5e-3,
        tokenization_s_per_token=1.75e-6,
        threads=1,
        source="published for one vLLM process: 1.5 ms per request and 1.75 µs per token (arctic-m on an H200, 512 "
        "tokens: 212k tokens/s with 1 text a request, 516k with 16)",
    ),
    "infinity": HostPath(
        latency_s=1.5e-3,
        request_s=1.5e-3,
        tokenization_s_per_token=1e-6,
        threads=1,
        source="assumed: 1.5 ms per request as vLLM's, also one Python process; 1 µs per token to tokenize",
        assumed=True,
    ),
}
"""What the processor beside the device does per request, by kind of server.

vLLM: of 512/212k and 512/516k seconds a text, with 1 and 16 texts a request, 1.5 ms go with the request and .9 ms with
the text. Source: github.com/vllm-project/vllm/pull/23000: 211,711 and 515,914 tokens/s on random texts of 512
tokens. TEI: the comparison that IgniteMS publishes. 1 µs per token is 1k tokens per ms and thread; it is calibrated
where it can be.
"""

DEFAULT_SERVER = "farthing"


def host_path(
    measured: ModelCalibration | None = None,
    server: str = DEFAULT_SERVER,
    threads: int | None = None,
    texts_per_request: int = 1,
) -> HostPath:
    """Return the host path of a server, with the tokenizer as measured where it was.

    Args:
        measured: a model's calibration on the machine; its tokenizer is shared by as many threads as streams.
        server: kind of server, of `SERVERS`.
        threads: threads that share the work; None for as many as the figures are of.
        texts_per_request: texts that come together.
    """
    path = SERVERS[server]
    if measured is not None:
        path = replace(
            path,
            tokenization_s_per_token=measured.tokenization_s_per_token,
            threads=measured.streams,
            source=f"tokenizer measured {measured.measured_at}; per request {path.source}",
        )
    return replace(path, threads=threads or path.threads, texts_per_request=texts_per_request)


BULK_THREADS = 4
"""Threads that tokenize a corpus where nothing was measured: an assumption, the processors of the smallest common
GPU instance (AWS g6.xlarge, one L4)."""


def bulk_host_path(measured: ModelCalibration | None, threads: int | None = None) -> HostPath:
    """Return the host path of a corpus job: it tokenizes, and no request is parsed or answered.

    Args:
        measured: as in `host_path`.
        threads: threads that tokenize; None for as many as were calibrated, else `BULK_THREADS`.
    """
    source = (
        f"tokenizing only, 1 µs per token and thread as published, {BULK_THREADS} threads (an assumption)"
    )
    if measured is not None:
        source = f"tokenizer measured {measured.measured_at}"
    return HostPath(
        latency_s=0.0,
        request_s=0.0,
        tokenization_s_per_token=1e-6 if measured is None else measured.tokenization_s_per_token,
        threads=threads or (BULK_THREADS if measured is None else measured.streams),
        source=source,
    )
