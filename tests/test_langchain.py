"""LangChain's own classes, over an Embedder."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from farthing.embedding.embedder import Embedder
from farthing.errors import InputError
from farthing.langchain import FarthingEmbeddings

TEXTS = ["how to bake bread", "parse a date from a string", "the capital of France"]


def test_vectors_are_the_embedders(default: Embedder, prompted: Embedder) -> None:
    for embedder in (default, prompted):
        embeddings = FarthingEmbeddings(embedder)
        assert isinstance(embeddings, Embeddings)
        documents = embeddings.embed_documents(TEXTS)
        np.testing.assert_allclose(documents, embedder.encode_document(TEXTS), atol=1e-6)
        query = embeddings.embed_query(TEXTS[0])
        np.testing.assert_allclose(query, embedder.encode_query(TEXTS[0]), atol=1e-6)
        assert type(documents[0][0]) is type(query[0]) is float
    assert embeddings.embed_documents([]) == []
    cut = FarthingEmbeddings(default, truncate_dim=64)
    assert (len(cut.embed_query("a")), len(cut.embed_documents(["a"])[0])) == (64, 64)


def test_a_vector_store_finds_the_text(default: Embedder) -> None:
    store = InMemoryVectorStore.from_texts(TEXTS, FarthingEmbeddings(default))
    assert [found.page_content for found in store.similarity_search("reading dates", k=1)] == [TEXTS[1]]


def test_many_at_once(default: Embedder) -> None:
    embeddings = FarthingEmbeddings(default)

    async def ask() -> None:
        queries = [embeddings.aembed_query(text) for text in TEXTS]
        documents, *vectors = await asyncio.gather(embeddings.aembed_documents(TEXTS), *queries)
        np.testing.assert_allclose(vectors, default.encode(TEXTS), atol=1e-5)
        np.testing.assert_allclose(documents, vectors, atol=1e-5)

    asyncio.run(ask())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_pickles_and_copies_are_made_by_settings(tiny_bert: Path, again: Any) -> None:
    with Embedder(str(tiny_bert)) as embedder:
        embeddings = FarthingEmbeddings(embedder, truncate_dim=10)
        vectors = embeddings.embed_documents(["a b", "c"])
        other = again(embeddings)
        with other.embedder as loaded:
            assert loaded is not embedder
            np.testing.assert_array_equal(other.embed_documents(["a b", "c"]), vectors)


def test_without_the_package_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules[{0!r}] = None\n"
        "try:\n    import farthing.{1}\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    for package, name, extra in (
        ("langchain_core", "langchain", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
    ):
        command = [sys.executable, "-c", code.format(package, name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("MissingExtraError"), done.stdout
        assert f"pip install 'farthing[{extra}]'" in done.stdout


@pytest.mark.parametrize("texts", ["one string", b"ab", {"a": "b"}, ["a", 5], ["a", None], ["a", ["b"]]])
def test_what_is_no_list_of_texts_is_refused(tiny: Embedder, texts: Any) -> None:
    with pytest.raises(InputError, match="text"):
        FarthingEmbeddings(tiny).embed_documents(texts)


@pytest.mark.parametrize("question", [5, None, b"a", ["a", "b"], {"a": "b"}, "\ud800"])
def test_what_is_no_question_is_refused(tiny: Embedder, question: Any) -> None:
    with pytest.raises(InputError, match="the question"):
        FarthingEmbeddings(tiny).embed_query(question)
