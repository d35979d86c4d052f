"""OpenAI's embeddings. Source: platform.openai.com/docs/api-reference/embeddings; docs/serving.md."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from farthing.serve.wire.asked import Answer, Asked, WireError, decoded, document, numbers, texts_in

REFUSED = (
    "task",
    "late_chunking",
    "embedding_type",
    "truncation",
    "output_dimension",
    "output_dtype",
    "priority",
)
"""Keys of other wires that change the vector or its place in the queue."""


class _Body(msgspec.Struct):
    input: Any = None
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    prompt_name: str | None = None
    input_type: str | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    task: Any = None
    late_chunking: Any = None
    embedding_type: Any = None
    truncation: Any = None
    output_dimension: Any = None
    output_dtype: Any = None
    priority: Any = None


_DECODER = msgspec.json.Decoder(_Body)


class OpenAI:
    """`POST /v1/embeddings`, as `asked.Wire`."""

    def read(self, content: bytes) -> Asked:  # noqa: D102 - as the protocol says
        body = decoded(_DECODER, content, REFUSED)
        return Asked(
            texts=texts_in(body.input, "input"),
            model=body.model,
            truncate=bool(body.truncate),
            dimensions=body.dimensions,
            normalize=body.normalize,
            prompt_name=body.prompt_name,
            input_type=body.input_type,
            formats=(body.encoding_format or "float",),
        )

    def write(self, answer: Answer) -> bytes:  # noqa: D102
        rows: Sequence[bytes]
        if answer.asked.formats == ("base64",):
            plain = np.ascontiguousarray(answer.vectors, "<f4")
            rows = [b'"' + b2a_base64(row, newline=False) + b'"' for row in plain]
        else:
            rows = [numbers(row) for row in answer.vectors]
        data = b",".join(
            b'{"object":"embedding","index":%d,"embedding":%b}' % (row, vector)
            for row, vector in enumerate(rows)
        )
        usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
        return b'{"object":"list","data":[%b],' % data + document({"model": answer.model, "usage": usage})[1:]

    def error(self, error: Exception, status: int) -> bytes:  # noqa: D102
        kind = (
            "rate_limit_error"
            if status == 429
            else "server_error"
            if status >= 500
            else "invalid_request_error"
        )
        param, code = (error.param, error.code) if isinstance(error, WireError) else (None, None)
        if status == 429:
            code = "queue_full"
        return document({"error": {"message": str(error), "type": kind, "param": param, "code": code}})
