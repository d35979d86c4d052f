"""Cohere's and TEI's wire, over a real connection; OpenAI's has a client of its own."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.embedding.embedder import Embedder
from serve_process import MODEL, Server, sent

TEXTS = ["what does a million tokens cost?", "it depends"]


@pytest.fixture(scope="module")
def embedder(minilm: Path) -> Embedder:
    return Embedder(str(minilm))


def cohere(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "input_type": "search_query", "texts": TEXTS, **more}


def test_cohere_answers_in_each_format(server: Server, embedder: Embedder) -> None:
    formats = ["float", "base64", "binary", "ubinary"]
    answer = sent(server, cohere(embedding_types=formats), "/v2/embed")
    assert (answer.status, answer["response_type"], answer["texts"]) == (200, "embeddings_by_type", TEXTS)
    own = embedder.encode(TEXTS)
    got = answer["embeddings"]
    assert list(got) == formats
    assert np.allclose(got["float"], own, atol=1e-5)
    assert np.allclose([np.frombuffer(b64decode(one), "<f4") for one in got["base64"]], own, atol=1e-5)
    assert got["ubinary"] == embedder.encode(TEXTS, precision="ubinary").tolist()
    assert got["binary"] == embedder.encode(TEXTS, precision="binary").tolist()
    tokens = sum(embedder.model.tokenizer.encode(TEXTS).lengths)
    assert answer["meta"]["billed_units"] == {"input_tokens": tokens}
    assert "warnings" not in answer["meta"]


def test_cohere_cuts_long_texts_unless_told_not_to(server: Server) -> None:
    long = cohere(texts=["word " * 400])
    assert "cut at the model's limit" in sent(server, long, "/v2/embed")["meta"]["warnings"][0]
    refused = sent(server, {**long, "truncate": "NONE"}, "/v2/embed")
    assert (refused.status, list(refused)) == (400, ["message"])
    start = sent(server, {**long, "truncate": "START"}, "/v2/embed")
    assert "cut on the right, not on the left" in start["message"]


def test_cohere_cuts_dimensions(server: Server, embedder: Embedder) -> None:
    got = sent(server, cohere(output_dimension=64), "/v2/embed")["embeddings"]["float"]
    assert np.allclose(got, embedder.encode(TEXTS, truncate_dim=64), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": MODEL, "texts": TEXTS}, "input_type is missing"),
        (cohere(embedding_types=["int8"]), "'int8' is not to be had here"),
        (cohere(texts=["a"] * 97), "texts has 97 texts: give at most 96"),
        (cohere(images=["data:"]), "images is not understood"),
        (cohere(truncate="MIDDLE"), "MIDDLE"),
    ],
)
def test_cohere_refuses_in_its_own_form(server: Server, body: dict[str, Any], said: str) -> None:
    answer = sent(server, body, "/v2/embed")
    assert (answer.status, list(answer)) == (400, ["message"])
    assert said in answer["message"]


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_tei_answers_with_bare_lists(server: Server, embedder: Embedder, path: str) -> None:
    got = sent(server, {"inputs": TEXTS, "normalize": True}, path)
    assert np.allclose(got[""], embedder.encode(TEXTS), atol=1e-5)
    one = sent(server, {"inputs": TEXTS[0], "dimensions": 64}, path)
    assert np.allclose(one[""], embedder.encode(TEXTS[:1], truncate_dim=64), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"inputs": ["word " * 400]}, "has more than the 256 tokens"),
        ({"inputs": TEXTS, "normalize": False}, "scales its vectors itself"),
        ({"inputs": TEXTS, "truncate": True, "truncation_direction": "Left"}, "cut on the right"),
        ({"inputs": []}, "inputs is missing"),
    ],
)
def test_tei_refuses_in_its_own_form(server: Server, body: dict[str, Any], said: str) -> None:
    answer = sent(server, body, "/embed")
    assert (answer.status, answer["error_type"]) == (400, "validation")
    assert said in answer["error"]


def test_tei_describes_the_model(server: Server) -> None:
    info = sent(server, b"", "/info", "GET")
    assert (info["model_id"], info["max_input_length"]) == (MODEL, 256)
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
