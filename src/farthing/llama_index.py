"""An Embedder as llama-index's `BaseEmbedding`, in this process."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from farthing.embedding.embedder import Embedder
from farthing.embedding.encode_options import require_texts
from farthing.embedding.formatting import Formatter
from farthing.errors import InputError, missing_extra

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
except ModuleNotFoundError as error:
    raise missing_extra(error, __name__) or error from None

LARGEST_BATCH = 2048
"""Most texts that llama-index hands over at once; the engine makes batches of its own from them."""


class FarthingEmbedding(BaseEmbedding):
    """Vectors for llama-index; the asynchronous methods run in a thread, so the event loop goes on.

    Its serialized form holds everything that its vectors depend on, so that llama-index's ingestion cache never gives
    vectors of other settings, and loads the model again.

    Example:
        >>> Settings.embed_model = FarthingEmbedding(Embedder())  # doctest: +SKIP
    """

    embedder_settings: dict[str, Any] = Field(description="Arguments that make the Embedder again.")
    provenance: dict[str, str] = Field(description="What the vectors come from.")
    truncate_dim: int | None = Field(description="Dimensions that are kept; None for all.")
    _embedder: Embedder = PrivateAttr()

    def __init__(
        self,
        embedder: Embedder | None = None,
        *,
        truncate_dim: int | None = None,
        embedder_settings: Mapping[str, Any] | None = None,
        provenance: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Wrap an embedder, or load the one of a serialized form.

        Args:
            embedder: the loaded model.
            truncate_dim: keep only the first dimensions of each vector.
            embedder_settings: of a serialized form, where there is no embedder.
            provenance: of a serialized form.
            fields: what `BaseEmbedding` takes, a callback manager for example.

        Raises:
            InputError: there is neither an embedder nor a serialized one, the model has changed since, or it has not
                so many dimensions.
        """
        if embedder is None:
            if embedder_settings is None:
                raise InputError("no embedder; give an Embedder")
            embedder = Embedder(**embedder_settings)
        Formatter(embedder.model.checkpoint, truncate_dim=truncate_dim)  # refuses what cannot be
        found = _provenance(embedder)
        if provenance is not None and provenance != found:
            changed = ", ".join(sorted(key for key in found if provenance.get(key) != found[key]))
            raise InputError(
                f"{found['model']}: has changed since it was serialized ({changed}), and its vectors with it; embed "
                "again with FarthingEmbedding(Embedder(…))"
            )
        super().__init__(
            **{"model_name": embedder.model.checkpoint.name, "embed_batch_size": LARGEST_BATCH, **fields},
            embedder_settings=embedder.settings,
            provenance=found,
            truncate_dim=truncate_dim,
        )
        self._embedder = embedder

    def __getstate__(self) -> dict[str, Any]:
        """Leave the embedder out: it is loaded from the settings."""
        return {**super().__getstate__(), "__pydantic_private__": {}}

    @classmethod
    def class_name(cls) -> str:
        """Return the name that llama-index stores with an index."""
        return "FarthingEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        [query] = require_texts([query], "the question")
        vector: list[float] = self._embedder.encode_query(query, truncate_dim=self.truncate_dim).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.encode_document(
            require_texts(texts), truncate_dim=self.truncate_dim
        ).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _provenance(embedder: Embedder) -> dict[str, str]:
    """Return what the vectors come from: the embedder's, its prompts, and the folder's tokenizer."""
    tokenizer = (embedder.model.checkpoint.folder / "tokenizer.json").read_bytes()
    return {
        **embedder.provenance(),
        "query_prompt": embedder.query_prompt,
        "document_prompt": embedder.document_prompt,
        "tokenizer": f"sha256:{hashlib.sha256(tokenizer).hexdigest()}",
    }
