"""Overload, clients that go away, and a stop in mid-load: nobody who was let in is lost, and the next one is served."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import aiohttp
import pytest

from serve_process import EXECUTABLE, MODEL, Server, sent, serving


async def statuses(server: Server, texts: list[str]) -> list[tuple[int, dict[str, str]]]:
    """Return what each of many requests at once is answered with."""
    url = f"{server.url}/embeddings"

    async def one(session: aiohttp.ClientSession, text: str) -> tuple[int, dict[str, str]]:
        async with session.post(url, json={"input": text, "model": MODEL}) as answer:
            body = await answer.json()
            assert ("data" in body) == (answer.status == 200)
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await asyncio.gather(*(one(session, text) for text in texts))


def test_overload_is_refused_with_when_to_come_again_and_passes(small_server: Server) -> None:
    answers = asyncio.run(statuses(small_server, [f"{n} " + "word " * 100 for n in range(300)]))
    counts = {
        status: sum(one == status for one, _ in answers) for status in {status for status, _ in answers}
    }
    assert counts.keys() == {200, 429}
    for status, headers in answers:
        if status == 429:
            assert 1 <= int(headers["retry-after"]) <= 60
            assert int(headers["retry-after-ms"]) >= 1
    assert sent(small_server, b"", "/ready", "GET").status == 200
    calm = asyncio.run(statuses(small_server, ["a", "b", "c"]))
    assert [status for status, _ in calm] == [200] * 3


def connected(server: Server) -> socket.socket:
    at = urlsplit(server.url)
    return socket.create_connection((at.hostname or "", at.port or 0), timeout=20)


def test_clients_that_go_away_hold_up_nobody(small_server: Server) -> None:
    body = json.dumps({"input": ["word " * 200] * 4, "truncate": True}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    for n in range(60):
        with connected(small_server) as client:
            client.sendall(head + (body if n % 2 else body[:100]))  # gone in mid-body, or while it waits
    answers = asyncio.run(statuses(small_server, ["a", "b"]))
    assert [status for status, _ in answers] == [200, 200]


def begun(server: Server) -> bool:
    """Return whether a lane has run a step."""
    with urlopen(f"{server.url.removesuffix('/v1')}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("farthing_steps_total ")).split()[1]) > 0


def test_what_is_in_flight_when_it_stops_is_finished(minilm: Path) -> None:
    with serving(minilm) as server:
        body = json.dumps({"input": [f"{n} " + "word " * 200 for n in range(40)]}).encode()
        head = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        with connected(server) as client:
            client.sendall(head + body)
            deadline = time.monotonic() + 20
            while not begun(server) and time.monotonic() < deadline:
                time.sleep(0.005)
            server.process.send_signal(signal.SIGTERM)
            answer = b""
            while part := client.recv(1 << 20):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b'"index"') == 40


def test_options_may_stand_in_the_environment(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARTHING_SERVE_ALIAS", f"other={MODEL}")
    with serving(minilm) as server:
        named = {row["id"] for row in sent(server, b"", "/v1/models", "GET")["data"]}
    assert named == {MODEL, "other"}


def test_an_address_that_cannot_be_had_is_said(small_server: Server, minilm: Path) -> None:
    taken = str(urlsplit(small_server.url).port)
    done = subprocess.run(
        [EXECUTABLE, "serve", str(minilm), "--port", taken], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"farthing: cannot listen on 127.0.0.1:{taken}: Address already in use")
    public = subprocess.run(
        [EXECUTABLE, "serve", str(minilm), "--host", "0.0.0.0"], capture_output=True, text=True, check=False
    )
    assert (public.returncode, public.stderr.count("\n")) == (2, 1)
    assert "there are no keys yet" in public.stderr
