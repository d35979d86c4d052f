"""The server as a plain ASGI callable: routes, bodies and their limits, errors, what an answer cost."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from math import ceil
from typing import Any

from farthing.embedding.embedder import Embedder
from farthing.errors import FarthingError, InputError, QueueFullError
from farthing.serve.dispatch import Dispatcher
from farthing.serve.metrics import Metrics
from farthing.serve.service import GoneError, Served, Service
from farthing.serve.wire.asked import MOST_ITEMS, Answer, Wire, WireError, document
from farthing.serve.wire.cohere import Cohere
from farthing.serve.wire.openai import OpenAI
from farthing.serve.wire.tei import Tei

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WIRES: Mapping[str, Wire] = {
    "/v1/embeddings": OpenAI(),
    "/v2/embed": Cohere(),
    "/embed": Tei(),
    "/": Tei(),
}
"""Route → how embeddings are asked for there; the last is where huggingface_hub's client posts to."""

MOST_BODY_BYTES = 8_000_000

_PROBE_S = 5.0
"""Seconds within which a forward pass must come back for the server to call itself ready."""

_ID = re.compile(r"[\w.-]{1,64}\Z", re.ASCII)


class App:
    """Answers HTTP for some models on one device."""

    def __init__(
        self,
        models: Mapping[str, Embedder],
        dispatcher: Dispatcher,
        *,
        aliases: Mapping[str, str] | None = None,
        usd_per_hour: float | None = None,
    ) -> None:
        """Take what answers.

        Args:
            models: name → embedder, of which tokenizer, prompts and engine are used; the first is the default.
            dispatcher: runs texts on the engines of those.
            aliases: other names of them.
            usd_per_hour: price of the device; None leaves cost out of answers and metrics.
        """
        self._service, self._dispatcher = Service(models, dispatcher, aliases or {}), dispatcher
        self._usd_per_s = None if usd_per_hour is None else usd_per_hour / 3600 / dispatcher.lanes
        self._started = int(time.time())
        self.metrics = Metrics(dispatcher, usd_per_hour)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        identity = given if _ID.match(given) else secrets.token_hex(16)
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"x-request-id", identity.encode()),
        ]
        wire = WIRES.get(scope["path"], _OTHERWISE)
        started = time.perf_counter()
        try:
            status, body, more = await self._route(scope, receive, identity)
        except GoneError:
            return
        except FarthingError as error:
            status, more = _status(error)
            body = wire.error(error, status)
        except Exception:  # a fault of ours: the client gets its form, whoever runs the server the traceback
            logging.getLogger("farthing.serve").exception("request %s", identity)
            status, more = 500, []
            body = wire.error(WireError("a fault of the server; it has been logged", 500), status)
        self.metrics.answered(scope["path"], status, time.perf_counter() - started)
        headers += [*more, (b"content-length", b"%d" % len(body))]
        with suppress(OSError):  # gone meanwhile
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    async def _route(self, scope: Scope, receive: Receive, identity: str) -> tuple[int, bytes, Headers]:
        path, method = scope["path"], scope["method"]
        wire = WIRES.get(path)
        if wire is not None:
            if method != "POST":
                raise WireError(f"{method} is not for {path}: use POST", 405)
            asked = wire.read(await _body(scope, receive))
            served = await self._service.answer(asked, partial(_disconnected, receive))
            answer = Answer(asked, served.vectors, served.model, served.tokens, served.truncated, identity)
            return 200, wire.write(answer), self._headers(served)
        if method not in ("GET", "HEAD"):
            raise WireError(f"no route {method} {path[:200]}", 404)
        if path == "/health":
            return 200, b'{"status":"alive"}', []
        if path == "/ready":
            return await self._ready()
        if path == "/metrics":
            return 200, self.metrics.text(), []
        if path == "/v1/models":
            return 200, document({"object": "list", "data": list(map(self._model, self._service.names))}), []
        if path == "/info":
            return 200, document(self._info()), []
        name = path.removeprefix("/v1/models/")
        if name != path:
            return 200, document(self._model(self._service.named(name))), []
        raise WireError(f"no route {method} {path[:200]}", 404)

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "farthing"}

    def _info(self) -> dict[str, Any]:
        """Return TEI's description of the default model."""
        model = self._service.models[self._service.default].model
        return {
            "model_id": self._service.default,
            "model_sha": model.checkpoint.revision,
            "model_dtype": model.engine.dtype,
            "model_type": {"embedding": {"pooling": model.checkpoint.pooling}},
            "max_input_length": model.tokenizer.max_length,
            "max_batch_tokens": model.engine.step_tokens,
            "max_client_batch_size": MOST_ITEMS,
            "auto_truncate": False,
            "version": version("farthing"),
        }

    async def _ready(self) -> tuple[int, bytes, Headers]:
        """Say whether a real forward pass comes back in time."""
        ids = self._service.models[self._service.default].model.tokenizer.encode(["ready"]).ids
        try:
            request = self._dispatcher.submit(self._service.default, ids)
        except QueueFullError:  # others are being answered
            return 200, b'{"status":"ready","queue":"full"}', []
        try:
            await asyncio.wait_for(asyncio.shield(request.answered), _PROBE_S)
        except TimeoutError:
            self._dispatcher.cancel(request)
            raise WireError(f"no forward pass came back within {_PROBE_S:g} s", 503) from None
        if request.failed:
            raise request.failed[0]
        return 200, b'{"status":"ready"}', []

    def _headers(self, served: Served) -> Headers:
        request = served.request
        taken_s = request.arrived_s if request.taken_s is None else request.taken_s
        headers = [
            (b"x-farthing-tokens", b"%d" % served.tokens),
            (b"x-farthing-truncated", b"%d" % served.truncated),
            (b"x-farthing-queue-ms", _ms(taken_s - request.arrived_s)),
            (b"x-farthing-tokenization-ms", _ms(served.tokenization_s)),
            (b"x-farthing-inference-ms", _ms(request.done_s - taken_s)),
        ]
        if self._usd_per_s is not None:
            headers.append((b"x-farthing-cost-usd", f"{request.device_s * self._usd_per_s:.3e}".encode()))
        return headers


_OTHERWISE = WIRES["/v1/embeddings"]
"""Whose errors are those of all other routes."""


def _status(error: FarthingError) -> tuple[int, Headers]:
    """Return the status of an error, and headers that say when to come again."""
    if isinstance(error, WireError):
        return error.status, []
    if isinstance(error, QueueFullError):
        after_s = error.retry_after_s or 1.0
        return 429, [
            (b"retry-after", b"%d" % min(max(1, ceil(after_s)), 60)),
            (b"retry-after-ms", b"%d" % max(1, round(1000 * after_s))),
        ]
    if isinstance(error, InputError):
        return 400, []
    return 503, [(b"retry-after", b"1")]


def _ms(seconds: float) -> bytes:
    return f"{1000 * seconds:.3f}".encode()


async def _body(scope: Scope, receive: Receive) -> bytes:
    """Return a request's body.

    Raises:
        WireError: it is compressed, or too large.
    """
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise WireError("compressed bodies are not read: send it plain", 415)
        if name == b"content-length" and value.isdigit() and int(value) > MOST_BODY_BYTES:
            raise WireError(f"the body has {int(value):,} bytes: send at most {MOST_BODY_BYTES:,}", 413)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY_BYTES:
            raise WireError(f"the body has over {MOST_BODY_BYTES:,} bytes: send less at a time", 413)
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
