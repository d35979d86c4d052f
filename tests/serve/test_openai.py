"""The server and OpenAI's own client, over a real connection."""

from __future__ import annotations

import asyncio
import base64
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest

from farthing.embedding.embedder import Embedder
from farthing.serve.metrics import ROUTES
from serve_process import MODEL, Server, sent

TEXTS = ["what does a million tokens cost?", "it depends", "on the hardware " * 20, "ß 漢字 🙂"]


@pytest.fixture(scope="module")
def embedder(minilm: Path) -> Embedder:
    return Embedder(str(minilm))


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_vectors_and_tokens_are_the_embedders(
    client: openai.OpenAI, embedder: Embedder, encoding: str | None
) -> None:
    given: dict[str, Any] = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(input=TEXTS, model=MODEL, **given)
    got: list[Any] = [one.embedding for one in answer.data]
    if encoding == "base64":
        got = [np.frombuffer(base64.b64decode(one), "<f4") for one in got]
    own = embedder.encode(TEXTS)
    assert min(np.einsum("ij,ij->i", np.array(got, np.float32), own)) > 0.99999
    tokens = sum(embedder.model.tokenizer.encode(TEXTS).lengths)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)
    assert [one.index for one in answer.data] == [0, 1, 2, 3]
    assert answer.model == MODEL


def test_many_at_once_are_each_answered_with_their_own(server: Server, embedder: Embedder) -> None:
    texts = [f"text {n} " + "word " * (n % 40) for n in range(120)]

    async def all_of_them() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=server.url, api_key="unused") as client:
            answers = await asyncio.gather(
                *(client.embeddings.create(input=text, model="small") for text in texts)
            )
        return [answer.data[0].embedding for answer in answers]

    got = np.array(asyncio.run(all_of_them()), np.float32)
    assert min(np.einsum("ij,ij->i", got, embedder.encode(texts))) > 0.99999


def test_dimensions_are_cut_and_have_length_one_again(client: openai.OpenAI, embedder: Embedder) -> None:
    got = client.embeddings.create(input=TEXTS[0], model=MODEL, dimensions=64).data[0].embedding
    assert np.linalg.norm(got) == pytest.approx(1, abs=1e-5)
    assert got == pytest.approx(embedder.encode(TEXTS[0], truncate_dim=64).tolist(), abs=1e-5)


def test_models_are_listed_and_unknown_ones_refused(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {MODEL, "small"}
    assert client.models.retrieve("small").id == "small"
    with pytest.raises(openai.NotFoundError, match="use all-MiniLM-L6-v2, small"):
        client.embeddings.create(input="a", model="text-embedding-3-small")


def test_a_long_text_is_refused_or_cut_as_asked_and_counted(client: openai.OpenAI) -> None:
    long = "word " * 400
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(input=["short", long], model=MODEL)
    assert refused.value.code == "context_length_exceeded"
    assert "input[1] has more than the 256 tokens" in refused.value.message
    raw = client.embeddings.with_raw_response.create(input=long, model=MODEL, extra_body={"truncate": True})
    assert raw.headers["x-farthing-truncated"] == "1"
    assert raw.parse().usage.prompt_tokens == 256


def test_an_answer_says_what_it_took(server: Server) -> None:
    reply = sent(server, {"input": TEXTS, "user": "me", "dimensions": None}, **{"x-request-id": "mine-1"})
    assert reply.status == 200
    assert reply.headers["x-request-id"] == "mine-1"
    assert int(reply.headers["x-farthing-tokens"]) == reply["usage"]["total_tokens"]
    for stage in ("queue", "tokenization", "inference"):
        assert float(reply.headers[f"x-farthing-{stage}-ms"]) >= 0
    most = float(reply.headers["x-farthing-inference-ms"]) / 1000 * 0.1 / 3600
    assert 0 < float(reply.headers["x-farthing-cost-usd"]) <= most * 1.001


BAD: dict[str, tuple[Any, int, str | None, str]] = {
    "no JSON": (b"{", 400, None, "not JSON"),
    "not UTF-8": (b'{"input": "\xff"}', 400, None, ""),
    "a list": ([], 400, None, "object"),
    "no input": ({"model": MODEL}, 400, "input", "input is missing"),
    "nothing": ({"input": []}, 400, "input", "input is missing"),
    "an empty text": ({"input": ["a", ""]}, 400, "input", "input[1] is an empty text"),
    "a number": ({"input": [1.5]}, 400, "input", "input[0] is float"),
    "token ids": ({"input": [1, 2]}, 400, "input", "check_embedding_ctx_length=False"),
    "lists of token ids": ({"input": [[1], [2]]}, 400, "input", "token ids"),
    "too many": ({"input": ["a"] * 2049}, 400, "input", "2049 texts"),
    "a format": ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format", "hex"),
    "dimensions": ({"input": "a", "dimensions": 500}, 400, "dimensions", "1 to 384"),
    "no dimensions": ({"input": "a", "dimensions": 0}, 400, "dimensions", "1 to 384"),
    "a huge number": (b'{"input": "a", "dimensions": 1e400}', 400, "dimensions", ""),
    "what is not understood": ({"input": "a", "task": "retrieval.query"}, 400, "task", "not understood"),
    "a kind of input": ({"input": "a", "input_type": "poem"}, 400, "input_type", "query or document"),
    "a prompt": ({"input": "a", "prompt_name": "poem"}, 400, None, "no such prompt"),
    "another model": ({"input": "a", "model": "x"}, 404, "model", "not served"),
    "deep": (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, None, ""),
    "too large": (b'{"input": "' + b"a" * 8_000_000 + b'"}', 413, None, "8,000,000"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_get_one_error_that_names_the_culprit(server: Server, case: str) -> None:
    body, status, param, said = BAD[case]
    reply = sent(server, body)
    assert reply.status == status, reply
    assert reply["error"].keys() == {"message", "type", "param", "code"}
    assert reply["error"]["type"] == "invalid_request_error"
    assert reply["error"]["param"] == param
    assert said in reply["error"]["message"]
    assert sent(server, {"input": "a"}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/embeddings", 405),
        ("POST", "/v1/models", 404),
        ("GET", "/nowhere", 404),
        ("PUT", "/x", 404),
    ],
)
def test_every_error_is_json(server: Server, method: str, path: str, status: int) -> None:
    reply = sent(server, b"", path, method)
    assert (reply.status, reply["error"]["type"]) == (status, "invalid_request_error")


def test_compressed_bodies_are_refused(server: Server) -> None:
    assert sent(server, b"x", **{"content-encoding": "gzip"}).status == 415


def test_it_is_alive_and_ready(server: Server) -> None:
    assert sent(server, b"", "/health", "GET") == {"status": "alive"}
    assert sent(server, b"", "/ready", "GET") == {"status": "ready"}


def test_metrics_have_bounded_labels_and_lane_seconds_that_add_up(server: Server) -> None:
    for n in range(20):
        sent(server, b"", f"/none/{n}", "GET")
    at = urlsplit(server.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    routes = {line.split('"')[1] for line in values if line.startswith("farthing_requests_total")}
    assert routes <= {*ROUTES, "other"}
    assert float(values['farthing_requests_total{route="other",status="404"}']) >= 20
    assert float(values['farthing_tokens_total{kind="useful"}']) > 0
    assert float(values['farthing_usd_per_million_tokens{kind="loaded"}']) > float(
        values['farthing_usd_per_million_tokens{kind="marginal"}']
    )
