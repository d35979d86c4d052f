"""Cohere's embeddings, version 2. Source: docs.cohere.com/v2/reference/embed; docs/serving.md."""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any, Literal

import msgspec
import numpy as np

from farthing.embedding.formats import VectorFormat, require_precision
from farthing.serve.wire.asked import Answer, Asked, WireError, decoded, document, numbers, texts_in

MOST_TEXTS = 96

_FORMATS = ("float", "base64", "binary", "ubinary")
_SIDES = {"START": "left", "END": "right"}


class _Body(msgspec.Struct):
    texts: Any = None
    model: str | None = None
    input_type: Literal["search_query", "search_document", "classification", "clustering"] | None = None
    embedding_types: list[str] | None = None
    output_dimension: int | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
    images: Any = None
    inputs: Any = None
    max_tokens: Any = None


_DECODER = msgspec.json.Decoder(_Body)


class Cohere:
    """`POST /v2/embed`, as `asked.Wire`."""

    def read(self, content: bytes) -> Asked:  # noqa: D102 - as the protocol says
        body = decoded(_DECODER, content, ("images", "inputs", "max_tokens"))
        if body.input_type is None:
            raise WireError(
                "input_type is missing: use search_query, search_document, classification or clustering",
                param="input_type",
            )
        formats = tuple(body.embedding_types or ["float"])
        for one in formats:
            if one not in _FORMATS:
                raise WireError(
                    f"embedding_types: {one[:100]!r} is not to be had here: use {', '.join(_FORMATS)}",
                    param="embedding_types",
                )
        kind = body.input_type.removeprefix("search_")
        truncate = body.truncate or "END"
        return Asked(
            texts=texts_in(body.texts, "texts", MOST_TEXTS),
            model=body.model,
            truncate=truncate != "NONE",
            side=_SIDES.get(truncate),
            dimensions=body.output_dimension,
            input_type=kind if kind in ("query", "document") else None,
            formats=formats,
        )

    def write(self, answer: Answer) -> bytes:  # noqa: D102
        embeddings = b",".join(
            b'"%b":%b' % (one.encode(), self._written(answer, one))
            for one in dict.fromkeys(answer.asked.formats)
        )
        meta: dict[str, Any] = {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": float(answer.tokens)},
        }
        if answer.truncated:
            meta["warnings"] = [f"{answer.truncated} of the texts were cut at the model's limit"]
        rest = {
            "id": answer.identity,
            "texts": answer.asked.texts,
            "meta": meta,
            "response_type": "embeddings_by_type",
        }
        return b'{"embeddings":{%b},' % embeddings + document(rest)[1:]

    def _written(self, answer: Answer, one: str) -> bytes:
        if one == "float":
            return numbers(answer.vectors)
        if one == "base64":
            rows = [
                b'"' + b2a_base64(row, newline=False) + b'"'
                for row in np.ascontiguousarray(answer.vectors, "<f4")
            ]
            return b"[" + b",".join(rows) + b"]"
        return numbers(
            VectorFormat(require_precision(one), answer.vectors.shape[1]).quantized(answer.vectors)
        )

    def error(self, error: Exception, status: int) -> bytes:  # noqa: D102
        return document({"message": str(error)})
