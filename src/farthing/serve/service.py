"""Answers what is asked: which model, which prompt, texts to ids, ids to vectors in the form that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import numpy as np

from farthing.embedding.embedder import Embedder
from farthing.embedding.formatting import Formatter
from farthing.embedding.steps import EmbeddedTexts
from farthing.engine.contract import Ids, Vectors
from farthing.errors import EngineError, InputError
from farthing.serve.dispatch import Dispatcher, Request
from farthing.serve.wire.asked import Asked, WireError

MOST_INPUT_TOKENS = 300_000
"""Of a request. Source: platform.openai.com/docs/api-reference/embeddings/create."""

_AT_ONCE_CHARACTERS = 20_000
"""Characters that are tokenized on the event loop, in a few milliseconds; more go to a thread and leave it free."""


class GoneError(Exception):
    """The client is no longer there."""


@dataclass(slots=True)
class Served:
    """What an answer is made of.

    Attributes:
        model: as the client named it.
        vectors: float32 (n, dimensions).
        request: the texts that ran.
        tokens: the tokenizer's count over all texts.
        truncated: texts that were cut.
        tokenization_s: wall seconds of tokenizing.
    """

    model: str
    vectors: Vectors
    request: Request
    tokens: int
    truncated: int
    tokenization_s: float


class Service:
    """Some models on one device, under their names and other ones.

    Attributes:
        models: name → embedder, of which tokenizer, prompts and engine are used.
        names: what a request may name → the model's own name.
        default: the model of a request that names none.
    """

    def __init__(
        self, models: Mapping[str, Embedder], dispatcher: Dispatcher, aliases: Mapping[str, str]
    ) -> None:
        """Take what answers.

        Args:
            models: name → embedder; the first is the default.
            dispatcher: runs texts on their engines.
            aliases: other names → names.
        """
        self.models, self._dispatcher = models, dispatcher
        self.names = {**{name: name for name in models}, **aliases}
        self.default = next(iter(models))
        self._prompts: dict[tuple[str, str], Ids] = {}

    def named(self, name: str | None) -> str:
        """Return the name that a request's model is shown under.

        Raises:
            WireError: none is served under this name.
        """
        if name is not None and name not in self.names:
            known = ", ".join(self.names)
            raise WireError(
                f"model {name[:200]!r} is not served here: use {known}", 404, "model", "model_not_found"
            )
        return name or self.default

    async def answer(self, asked: Asked, gone: Callable[[], Awaitable[None]]) -> Served:
        """Return what was asked for.

        Args:
            asked: texts, and what their vectors are to be.
            gone: returns when the client has gone: what has not started then never runs.

        Raises:
            WireError: it cannot be answered.
            QueueFullError: too much waits already.
            EngineError: a text got no vector.
            GoneError: the client has gone.
        """
        named = self.named(asked.model)
        model = self.names[named]
        formatter = self._formatter(model, asked)
        embedder = self.models[model]
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
        await self._until_done(request, gone)
        for row, failure in request.failed.items():
            raise EngineError(f"input[{row}] got no vector: {failure}")
        norms = np.einsum("ij,ij->i", request.vectors, request.vectors)
        if not norms.all():
            raise EngineError(f"input[{int(np.argmin(norms))}] got a vector of zeros")
        part = EmbeddedTexts(request.vectors, np.zeros(len(texts), np.int32))
        vectors = formatter.joined([part]).vectors
        return Served(named, vectors, request, tokens, sum(tokenized.truncated), tokenized.seconds)

    def _formatter(self, model: str, asked: Asked) -> Formatter:
        embedder = self.models[model]
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

    async def _until_done(self, request: Request, gone: Callable[[], Awaitable[None]]) -> None:
        """Wait for a request; what has not started of it is forgotten when its client goes away."""
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((request.answered, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not request.answered.done():
                raise GoneError
        finally:
            leaving.cancel()
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
