"""The wire of text-embeddings-inference: bare lists of vectors, flat errors. Source: its OpenAPI, docs/serving.md."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from farthing.serve.wire.asked import Answer, Asked, decoded, document, numbers, texts_in

_KINDS = {413: "validation", 422: "validation", 429: "overloaded", 503: "unhealthy"}


class _Body(msgspec.Struct):
    inputs: Any = None
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = None
    prompt_name: str | None = None
    normalize: bool | None = None
    dimensions: int | None = None


_DECODER = msgspec.json.Decoder(_Body)


class Tei:
    """`POST /embed`, and `/` for huggingface_hub's client, as `asked.Wire`."""

    def read(self, content: bytes) -> Asked:  # noqa: D102 - as the protocol says
        body = decoded(_DECODER, content)
        return Asked(
            texts=texts_in(body.inputs, "inputs"),
            truncate=bool(body.truncate),
            side=None if body.truncation_direction is None else body.truncation_direction.lower(),
            dimensions=body.dimensions,
            normalize=True if body.normalize is None else body.normalize,
            prompt_name=body.prompt_name,
        )

    def write(self, answer: Answer) -> bytes:  # noqa: D102
        return numbers(answer.vectors)

    def error(self, error: Exception, status: int) -> bytes:  # noqa: D102
        kind = _KINDS.get(status, "validation" if status < 500 else "backend")
        return document({"error": str(error), "error_type": kind})
