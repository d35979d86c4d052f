"""The server as a plain ASGI callable: routes, limits, bodies, clients that go away, answers with what they cost."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from math import ceil
from typing import Any

import numpy as np

from farthing.embedding.embedder import Embedder
from farthing.embedding.formatting import Formatter
from farthing.embedding.steps import EmbeddedTexts
from farthing.engine.contract import Ids
from farthing.errors import EngineError, FarthingError, InputError, QueueFullError
from farthing.serve.dispatch import Dispatcher, Request
from farthing.serve.metrics import Metrics
from farthing.serve.wire.asked import MOST_ITEMS, Answer, Asked, Wire, WireError, document
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
MOST_INPUT_TOKENS = 300_000
"""Of a request. Source: platform.openai.com/docs/api-reference/embeddings/create."""

_AT_ONCE_CHARACTERS = 20_000
"""Characters that are tokenized on the event loop, in a few milliseconds; more go to a thread and leave it free."""

_PROBE_S = 5.0
"""Seconds within which a forward pass must come back for the server to call itself ready."""

_ID = re.compile(r"[\w.-]{1,64}\Z", re.ASCII)


@dataclass(slots=True)
class Served:
    """What an answer was made of.

    Attributes:
        request: the texts that ran.
        tokens: the tokenizer's count over all texts.
        truncated: texts that were cut.
        tokenization_s: wall seconds of tokenizing.
    """

    request: Request
    tokens: int
    truncated: int
    tokenization_s: float


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
        self._models, self._dispatcher = models, dispatcher
        self._names = {**{name: name for name in models}, **(aliases or {})}
        self._default = next(iter(models))
        self._usd_per_s = None if usd_per_hour is None else usd_per_hour / 3600 / dispatcher.lanes
        self._started = int(time.time())
        self.metrics = Metrics(dispatcher, usd_per_hour)
        self._prompts: dict[tuple[str, str], Ids] = {}

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
        except _GoneError:
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
            return await self._embeddings(wire, await _body(scope, receive), receive, identity)
        if method not in ("GET", "HEAD"):
            raise WireError(f"no route {method} {path[:200]}", 404)
        if path == "/health":
            return 200, b'{"status":"alive"}', []
        if path == "/ready":
            return await self._ready()
        if path == "/metrics":
            return 200, self.metrics.text(), []
        if path == "/v1/models":
            return 200, document({"object": "list", "data": list(map(self._model, self._names))}), []
        if path == "/info":
            return 200, document(self._info()), []
        name = path.removeprefix("/v1/models/")
        if name != path:
            return 200, document(self._model(self._named(name))), []
        raise WireError(f"no route {method} {path[:200]}", 404)

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "farthing"}

    def _info(self) -> dict[str, Any]:
        """Return TEI's description of the default model."""
        model = self._models[self._default].model
        return {
            "model_id": self._default,
            "model_sha": model.checkpoint.revision,
            "model_dtype": model.engine.dtype,
            "model_type": {"embedding": {"pooling": model.checkpoint.pooling}},
            "max_input_length": model.tokenizer.max_length,
            "max_batch_tokens": model.engine.step_tokens,
            "max_client_batch_size": MOST_ITEMS,
            "auto_truncate": False,
            "version": version("farthing"),
        }

    def _named(self, name: str | None) -> str:
        if name is not None and name not in self._names:
            known = ", ".join(self._names)
            raise WireError(
                f"model {name[:200]!r} is not served here: use {known}", 404, "model", "model_not_found"
            )
        return name or self._default

    async def _ready(self) -> tuple[int, bytes, Headers]:
        """Say whether a real forward pass comes back in time."""
        ids = self._models[self._default].model.tokenizer.encode(["ready"]).ids
        try:
            request = self._dispatcher.submit(self._default, ids)
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

    async def _embeddings(
        self, wire: Wire, content: bytes, receive: Receive, identity: str
    ) -> tuple[int, bytes, Headers]:
        asked = wire.read(content)
        named = self._named(asked.model)
        model = self._names[named]
        formatter = self._formatter(model, asked)
        served = await self._embedded(model, asked, receive)
        part = EmbeddedTexts(served.request.vectors, np.zeros(len(asked.texts), np.int32))
        answer = Answer(
            asked, formatter.joined([part]).vectors, named, served.tokens, served.truncated, identity
        )
        return 200, wire.write(answer), self._headers(served)

    def _formatter(self, model: str, asked: Asked) -> Formatter:
        embedder = self._models[model]
        if asked.normalize is False and embedder.model.checkpoint.normalize:
            raise WireError(f"{model} scales its vectors itself: leave normalize out", param="normalize")
        own = embedder.model.tokenizer.truncation_side
        if asked.side not in (None, own):
            raise WireError(
                f"{model} is served with texts cut on the {own}, not on the {asked.side}", param="truncate"
            )
        try:
            return Formatter(
                embedder.model.checkpoint, truncate_dim=asked.dimensions, normalize=bool(asked.normalize)
            )
        except InputError as error:
            raise WireError(str(error), param="dimensions") from error

    async def _embedded(self, model: str, asked: Asked, receive: Receive) -> Served:
        """Tokenize texts, run them and wait, unless the client goes away."""
        embedder = self._models[model]
        prefix = self._prefix(embedder, asked)
        texts = [prefix + text for text in asked.texts] if prefix else asked.texts
        tokenizer = embedder.model.tokenizer
        if sum(map(len, texts)) > _AT_ONCE_CHARACTERS:
            tokenized = await asyncio.to_thread(tokenizer.encode, texts)
        else:
            tokenized = tokenizer.encode(texts)
        for row, error in tokenized.failed.items():
            raise WireError(f"input[{row}]: {error}", param="input")
        for row, cut in enumerate(tokenized.truncated):
            if cut and not asked.truncate:
                raise WireError(
                    f"input[{row}] has more than the {tokenizer.max_length} tokens that {model} takes: shorten it, or "
                    "ask for it to be truncated",
                    param="input",
                    code="context_length_exceeded",
                )
        tokens = sum(tokenized.lengths)
        if tokens > MOST_INPUT_TOKENS:
            raise WireError(f"input has {tokens:,} tokens: give at most {MOST_INPUT_TOKENS:,}", param="input")
        if prefix and (model, prefix) not in self._prompts:
            self._prompts[model, prefix] = tokenizer.prompt(prefix)
        request = self._dispatcher.submit(model, tokenized.ids, self._prompts.get((model, prefix)))
        await self._until_done(request, receive)
        for row, failure in request.failed.items():
            raise EngineError(f"input[{row}] got no vector: {failure}")
        norms = np.einsum("ij,ij->i", request.vectors, request.vectors)
        if not norms.all():
            raise EngineError(f"input[{int(np.argmin(norms))}] got a vector of zeros")
        return Served(request, tokens, sum(tokenized.truncated), tokenized.seconds)

    async def _until_done(self, request: Request, receive: Receive) -> None:
        """Wait for a request; what has not started of it is forgotten when its client goes away."""
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((request.answered, gone), return_when=asyncio.FIRST_COMPLETED)
            if not request.answered.done():
                raise _GoneError
        finally:
            gone.cancel()
            if not request.answered.done():
                self._dispatcher.cancel(request)

    def _prefix(self, embedder: Embedder, asked: Asked) -> str:
        """Return what is put before each text: the prompt that is named, that of the kind of input, or the default."""
        if asked.prompt_name is not None:
            return embedder.prefix(asked.prompt_name)
        kinds = {"query": embedder.query_prompt, "document": embedder.document_prompt}
        if asked.input_type is not None:
            kind = asked.input_type.removeprefix("search_")
            if kind not in kinds:
                raise WireError(
                    f"input_type {asked.input_type[:100]!r}: use query or document", param="input_type"
                )
            return kinds[kind]
        return embedder.prefix()

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


class _GoneError(Exception):
    """The client is no longer there."""


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
            raise _GoneError
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
