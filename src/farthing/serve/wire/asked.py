"""What a request asks for, whatever wire it came over, and how a wire answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from farthing.errors import InputError

MOST_ITEMS = 2048
"""Texts of a request. Source: platform.openai.com/docs/api-reference/embeddings/create; TEI's own limit is lower."""

Body = TypeVar("Body")


class WireError(InputError):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP.
        param: which key is wrong; None for none.
        code: a word for it; None for none.
    """

    def __init__(
        self, message: str, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        """Keep what the client is told."""
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Texts, and what their vectors are to be.

    Attributes:
        texts: at least one.
        model: its name; None for the default.
        truncate: whether a text over the limit is cut, and counted; else it is refused.
        side: where it must be cut, `left` or `right`; None for the model's own side.
        dimensions: of the vectors, the first so many; None for all.
        normalize: whether they must have length one; None for what the model does.
        prompt_name: which of the model's prompts comes before each text; None for the default's.
        input_type: `query` or `document`, whose prompt comes before each text; None where the client says nothing.
        formats: how the wire is to write the vectors, in its own words.
    """

    texts: list[str]
    model: str | None = None
    truncate: bool = False
    side: str | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    prompt_name: str | None = None
    input_type: str | None = None
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a wire writes.

    Attributes:
        asked: what was asked for.
        vectors: float32 (n, dimensions).
        model: as the client named it.
        tokens: the tokenizer's count over all texts.
        truncated: texts that were cut.
        identity: of the request.
    """

    asked: Asked
    vectors: npt.NDArray[np.float32]
    model: str
    tokens: int
    truncated: int
    identity: str


class Wire(Protocol):
    """One way of asking for embeddings over HTTP."""

    def read(self, content: bytes) -> Asked:
        """Return what a body asks for.

        Raises:
            WireError: it says what is wrong with which key.
        """

    def write(self, answer: Answer) -> bytes:
        """Return the body of an answer."""

    def error(self, error: Exception, status: int) -> bytes:
        """Return the body of an error."""


def decoded(decoder: msgspec.json.Decoder[Body], content: bytes, refused: Sequence[str] = ()) -> Body:
    """Return a body.

    Args:
        decoder: of the wire's bodies; `null` is the same as absent in them.
        content: JSON.
        refused: keys that would change the vectors and are not understood.

    Raises:
        WireError: it is not JSON, not an object, or a key is of another type or not understood.
    """
    try:
        body = decoder.decode(content)
    except msgspec.ValidationError as error:
        said = str(error)
        param = said.rpartition("`$.")[2].rstrip("`").split("[")[0] if "`$." in said else None
        raise WireError(said, param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"the body is not JSON: {error}") from error
    for key in refused:
        if getattr(body, key) is not None:
            raise WireError(
                f"{key} is not understood here, and would change the vectors: leave it out", param=key
            )
    return body


def texts_in(given: Any, key: str, most: int = MOST_ITEMS) -> list[str]:
    """Return the texts of a request.

    Raises:
        WireError: there are none or too many, one is empty, or they are token ids.
    """
    items = [given] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise WireError(f"{key} is missing: give a text, or a list of them", param=key)
    if any(isinstance(item, int | list) for item in items):
        _refuse_ids(key)
    if len(items) > most:
        raise WireError(f"{key} has {len(items)} texts: give at most {most}", param=key)
    for place, item in enumerate(items):
        if not isinstance(item, str):
            raise WireError(f"{key}[{place}] is {type(item).__name__}: give text", param=key)
        if not item:
            raise WireError(
                f"{key}[{place}] is an empty text: leave it out (LangChain sends one for each empty document)",
                param=key,
            )
    return items


def _refuse_ids(key: str) -> NoReturn:
    raise WireError(
        f"{key} holds token ids, most likely of another model's tokenizer, whose vectors would be garbage: send texts "
        "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))",
        param=key,
        code="token_ids_not_supported",
    )


def numbers(values: npt.NDArray[Any]) -> bytes:
    """Return an array as JSON, written straight from its memory."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)


def document(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object."""
    return orjson.dumps(value)
