"""Thousands of bodies that no honest client sends: each gets one error in the form of its wire."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from farthing.embedding.embedder import Embedder
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.serve.app import WIRES, App
from farthing.serve.dispatch import Dispatcher
from staged_engine import staged_model

BODIES = 2_000
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 10**30, -(10**30), 1e308, "", "a", "\x00", "\u202e", "😀", "a" * 5000, [], {},
    [[]],
    [None], [1, 2], ["a", ""], ["a", 1], [["a"]], {"input": "a"}, [{}], "float", "base64", "left", "search_query",
]  # fmt: skip
KEYS = [
    "input", "inputs", "texts", "model", "encoding_format", "dimensions", "truncate", "normalize", "prompt_name",
    "task", "input_type", "embedding_types", "output_dimension", "truncation_direction", "user", "priority", "",
    "__proto__",
]  # fmt: skip
RAW = [
    b"", b" ", b"null", b"[]", b"{", b"}", b'"', b"\xff\xfe", b'{"input": "\xff"}', b'{"input": NaN}',
    b'{"input": Infinity}',
    b'{"input": 1e999}', b'{"dimensions": 9' + b"9" * 5000 + b"}", b"[" * 50_000, b'{"input":' * 20_000,
    b"\x00" * 100,
    b'{"input": "\\ud800"}', b'{"inputs": "\\udfff"}', b'{"input": "a", "input": 3}', "{'input': 'a'}".encode("utf-16"),
]  # fmt: skip


def bodies(rng: random.Random) -> Iterator[bytes]:
    """Yield bodies: some written down here, others drawn."""
    yield from RAW
    for _ in range(BODIES - len(RAW)):
        body = {rng.choice(KEYS): rng.choice(ODD) for _ in range(rng.randrange(6))}
        text = json.dumps(body).encode()
        if rng.random() < 0.3:
            place = rng.randrange(len(text) + 1)
            text = (
                text[:place] + bytes(rng.randrange(256) for _ in range(rng.randrange(4))) + text[place + 1 :]
            )
        yield text


async def answered(app: App, path: str, content: bytes) -> tuple[int, Any]:
    """Return status and body of an answer; the body comes in two parts."""
    parts = [content[: len(content) // 2], content[len(content) // 2 :]]
    messages = [
        {"type": "http.request", "body": part, "more_body": more}
        for part, more in zip(parts, (True, False), strict=True)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return await asyncio.Future()  # the client stays

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "path": path, "method": "POST", "headers": []}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("path", sorted(WIRES))
def test_each_gets_one_error_in_the_form_of_its_wire(tiny_bert: Path, path: str) -> None:
    model, engine = staged_model(tiny_bert)
    embedder = cast(Embedder, SimpleNamespace(
        model=model, prefix=lambda name=None: "", query_prompt="", document_prompt="",
    ))  # fmt: skip
    assert read_checkpoint(locate_model(str(tiny_bert))).dimension == engine.dimension
    forms = {"/v1/embeddings": {"error"}, "/v2/embed": {"message"}}

    async def main() -> None:
        dispatcher = Dispatcher({"m": engine})
        dispatcher.start()
        app = App({"m": embedder}, dispatcher)
        counts: dict[int, int] = {}
        try:
            for content in bodies(random.Random(5)):
                status, body = await answered(app, path, content)
                counts[status] = counts.get(status, 0) + 1
                assert status == 200 or 400 <= status < 500, (status, body, content[:200])
                if status != 200:
                    assert body.keys() == forms.get(path, {"error", "error_type"}), content[:200]
            status, _ = await answered(app, path, json.dumps(GOOD[path]).encode())
            assert status == 200
        finally:
            dispatcher.close()
        assert counts[400] > BODIES / 2

    asyncio.run(main())


GOOD = {
    "/v1/embeddings": {"input": "a b"},
    "/v2/embed": {"texts": ["a b"], "input_type": "search_query"},
    "/embed": {"inputs": "a b"},
    "/": {"inputs": ["a b"]},
}
