"""OpenAI's embeddings on the wire: bodies to requests, vectors to answers, errors as clients read them.

Source: platform.openai.com/docs/api-reference/embeddings; docs/facts.md, The wire.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from farthing.errors import InputError

MOST_ITEMS = 2048
MOST_INPUT_TOKENS = 300_000
"""Of a request. Source: platform.openai.com/docs/api-reference/embeddings/create."""

CHANGES_VECTORS = (
    "task",
    "late_chunking",
    "embedding_type",
    "truncation",
    "output_dimension",
    "output_dtype",
    "priority",
)
"""Keys of other wires that change the vector or its place in the queue: one that is not understood here is refused."""


class WireError(InputError):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP.
        param: which key is wrong; None for none.
        code: OpenAI's word for it; None for none.
    """

    def __init__(
        self, message: str, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        """Keep what the client is told."""
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class EmbeddingsBody(msgspec.Struct):
    """What a client asks for. `null` is the same as absent."""

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


_DECODER = msgspec.json.Decoder(EmbeddingsBody)


def read_body(content: bytes) -> EmbeddingsBody:
    """Return what a body asks for.

    Raises:
        WireError: it is not JSON, not an object, or a key is of another type or not understood.
    """
    try:
        body = _DECODER.decode(content)
    except msgspec.ValidationError as error:
        said = str(error)
        param = said.rpartition("`$.")[2].rstrip("`").split("[")[0] if "`$." in said else None
        raise WireError(said, param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"the body is not JSON: {error}") from error
    for key in CHANGES_VECTORS:
        if getattr(body, key) is not None:
            raise WireError(
                f"{key} is not understood here, and would change the vectors: leave it out", param=key
            )
    return body


def read_input(given: Any) -> list[str]:
    """Return the texts of a request.

    Raises:
        WireError: there are none or too many, one is empty, or they are token ids.
    """
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise WireError("input is missing: give a text, or a list of them", param="input")
    if any(isinstance(item, int | list) for item in items):
        _refuse_ids()
    if len(items) > MOST_ITEMS:
        raise WireError(f"input has {len(items)} texts: give at most {MOST_ITEMS}", param="input")
    for place, item in enumerate(items):
        if not isinstance(item, str):
            raise WireError(f"input[{place}] is {type(item).__name__}: give text", param="input")
        if not item:
            raise WireError(
                f"input[{place}] is an empty text: leave it out (LangChain sends one for each empty document)",
                param="input",
            )
    return items


def _refuse_ids() -> NoReturn:
    raise WireError(
        "input holds token ids, most likely of another model's tokenizer, whose vectors would be garbage: send texts "
        "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))",
        param="input",
        code="token_ids_not_supported",
    )


def answer(vectors: npt.NDArray[np.float32], model: str, tokens: int, encoding: str | None) -> bytes:
    """Return the body of an answer.

    Args:
        vectors: float32 (n, dimension).
        model: as the client named it.
        tokens: the tokenizer's count over all texts.
        encoding: `base64` of little-endian float32, else numbers.
    """
    rows: Sequence[bytes]
    if encoding == "base64":
        plain = np.ascontiguousarray(vectors, "<f4")
        rows = [b'"' + b2a_base64(row, newline=False) + b'"' for row in plain]
    else:
        rows = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in np.ascontiguousarray(vectors)]
    data = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (row, vector) for row, vector in enumerate(rows)
    )
    end = orjson.dumps({"model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    return b'{"object":"list","data":[' + data + b"]," + end[1:]


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """Return OpenAI's shape of an error."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
