"""llama-index's own classes, over an Embedder."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farthing.embedding.embedder import Embedder
from farthing.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' own
    from llama_index.core import VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.ingestion import IngestionCache, IngestionPipeline
    from llama_index.core.ingestion.pipeline import get_transformation_hash
    from llama_index.core.schema import TextNode

    from farthing.llama_index import FarthingEmbedding

TEXTS = ["how to bake bread", "parse a date from a string", "the capital of France"]


def test_vectors_are_the_embedders(default: Embedder, prompted: Embedder) -> None:
    for embedder in (default, prompted):
        embedding = FarthingEmbedding(embedder)
        assert isinstance(embedding, BaseEmbedding)
        assert embedding.model_name == embedder.model.checkpoint.name
        documents = embedder.encode_document(TEXTS)
        np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), documents, atol=1e-6)
        np.testing.assert_allclose(embedding.get_text_embedding(TEXTS[0]), documents[0], atol=1e-5)
        query = embedding.get_query_embedding(TEXTS[0])
        np.testing.assert_allclose(query, embedder.encode_query(TEXTS[0]), atol=1e-6)
        assert type(query[0]) is float
    assert len(FarthingEmbedding(default, truncate_dim=64).get_query_embedding("a")) == 64
    assert FarthingEmbedding(default, embed_batch_size=7).embed_batch_size == 7


def test_an_index_finds_the_text(default: Embedder) -> None:
    nodes = [TextNode(text=text) for text in TEXTS]
    index = VectorStoreIndex(nodes, embed_model=FarthingEmbedding(default))
    found = index.as_retriever(similarity_top_k=1).retrieve("reading dates")
    assert [one.node.get_content() for one in found] == [TEXTS[1]]


def test_many_at_once(default: Embedder) -> None:
    embedding = FarthingEmbedding(default)

    async def ask() -> list[list[float]]:
        return [
            *await embedding.aget_text_embedding_batch(TEXTS),
            *await asyncio.gather(
                *(embedding.aget_query_embedding(text) for text in TEXTS),
                *(embedding.aget_text_embedding(text) for text in TEXTS),
            ),
        ]

    np.testing.assert_allclose(asyncio.run(ask()), np.tile(default.encode(TEXTS), (3, 1)), atol=1e-5)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_pickles_and_copies_are_made_by_settings(tiny_bert: Path, again: Any) -> None:
    with Embedder(str(tiny_bert), max_length=20) as embedder:
        embedding = FarthingEmbedding(embedder, truncate_dim=10, embed_batch_size=7)
        texts = ["a b", "the end " * 20]
        vectors = embedding.get_text_embedding_batch(texts)
        other = again(embedding)
        with other._embedder as loaded:
            assert loaded is not embedder
            assert loaded.max_length == 20
            np.testing.assert_array_equal(other.get_text_embedding_batch(texts), vectors)
            np.testing.assert_array_equal(
                other.get_query_embedding("a b"), embedding.get_query_embedding("a b")
            )
            assert (len(vectors[0]), other.embed_batch_size) == (10, 7)
            assert other.model_name == embedding.model_name


@pytest.mark.parametrize("texts", [["a", 5], ["a", None], ["a", ["b"]], ["a", b"b"]])
def test_what_is_no_list_of_texts_is_refused(tiny: Embedder, texts: Any) -> None:
    with pytest.raises(InputError, match="text"):
        FarthingEmbedding(tiny).get_text_embedding_batch(texts)


@pytest.mark.parametrize("question", [5, None, b"a", ["a", "b"], {"a": "b"}, "\ud800"])
def test_what_is_no_question_is_refused(tiny: Embedder, question: Any) -> None:
    with pytest.raises(InputError, match="the question"):
        FarthingEmbedding(tiny).get_query_embedding(question)


SETTINGS: dict[str, list[Any]] = {
    "max_length": [None, 8, np.int64(9)],
    "truncation_side": [None, "left"],
    "truncate": [True, False],
    "dtype": ["fp32", "auto"],
    "truncate_dim": [None, 10, 4],
}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SETTINGS.items()}),
    changed=st.sampled_from(sorted(SETTINGS)),
)
def test_what_changes_a_vector_is_in_the_serialized_form(
    tiny_bert: Path, given: dict[str, Any], changed: str
) -> None:
    def made(truncate_dim: int | None, **arguments: Any) -> FarthingEmbedding:
        return FarthingEmbedding(Embedder(str(tiny_bert), **arguments), truncate_dim=truncate_dim)

    texts = ["the end", "a b c d e f g h i j"] if given["truncate"] is True else ["the end"]
    embedding = made(**given)
    again = FarthingEmbedding.from_json(embedding.to_json())
    assert again.to_dict() == embedding.to_dict()
    np.testing.assert_array_equal(
        again.get_text_embedding_batch(texts), embedding.get_text_embedding_batch(texts)
    )
    other = next(value for value in SETTINGS[changed] if value != given[changed])
    differs = made(**{**given, changed: other})
    hashes = [get_transformation_hash([], one) for one in (embedding, differs)]
    assert hashes[0] != hashes[1] or changed == "dtype"  # auto may be fp32
    for one in (embedding, again, differs):
        one._embedder.close()


def test_an_ingestion_cache_keeps_settings_apart(default: Embedder) -> None:
    cache = IngestionCache()
    widths = []
    for truncate_dim in (None, 64, None):
        embedding = FarthingEmbedding(default, truncate_dim=truncate_dim)
        pipeline = IngestionPipeline(transformations=[embedding], cache=cache)
        (node,) = pipeline.run(nodes=[TextNode(text=TEXTS[0], id_="1")])
        widths.append(len(node.embedding or []))
    assert widths == [384, 64, 384]


@pytest.mark.parametrize("file", ["tokenizer.json", "config_sentence_transformers.json", "modules.json"])
def test_a_folder_that_has_changed_since_is_refused(tiny_bert: Path, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    with Embedder(str(folder)) as embedder:
        kept = FarthingEmbedding(embedder).to_dict()
    if file == "tokenizer.json":
        (folder / file).write_text((folder / file).read_text() + "\n")
    elif file == "modules.json":
        modules = json.loads((folder / file).read_text())
        kinds = [one for one in modules if not one["type"].endswith("Normalize")]
        assert len(kinds) < len(modules)
        (folder / file).write_text(json.dumps(kinds))
    else:
        (folder / file).write_text(json.dumps({"prompts": {"query": "other: ", "document": ""}}))
    with pytest.raises(InputError, match="has changed since it was serialized"):
        FarthingEmbedding.from_dict(kept)


def test_dimensions_that_there_are_not(tiny: Embedder) -> None:
    for wrong in (0, 10_000, True, "64"):
        with pytest.raises(InputError, match=r"dimension|truncate_dim"):
            FarthingEmbedding(tiny, truncate_dim=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no embedder"):
        FarthingEmbedding()
