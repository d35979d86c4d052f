"""A server as people start it: a process of its own, on a port that was free."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
MODEL = "all-MiniLM-L6-v2"


class Server(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def serving(model: Path, *options: str) -> Iterator[Server]:
    """Serve a model; it must end by itself, and with nothing to say, when told to."""
    command = [EXECUTABLE, "serve", str(model), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as said:
        first = said.readline()
        found = re.search(r"http://\S+", first)
        assert found is not None, first
        yield Server(found[0], process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert said.read() == ""


class Reply(dict[str, Any]):
    """A JSON answer, with its status and headers; what is no object is under an empty key."""

    status: int
    headers: dict[str, str]


def sent(
    server: Server, body: Any, path: str = "/v1/embeddings", method: str = "POST", **headers: str
) -> Reply:
    """Return the answer to a request."""
    at = urlsplit(server.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    reply = Reply(said if isinstance(said, dict) else {"": said})
    reply.status, reply.headers = answer.status, {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return reply
