"""An Embedder as llama-index's `BaseEmbedding`, in this process."""

from __future__ import annotations

import asyncio
from typing import Any

from farthing.embedding.embedder import Embedder
from farthing.embedding.encode_options import require_texts
from farthing.errors import missing_extra

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
except ModuleNotFoundError as error:
    raise missing_extra(error, __name__) or error from None

LARGEST_BATCH = 2048
"""Most texts that llama-index hands over at once; the engine makes batches of its own from them."""


class FarthingEmbedding(BaseEmbedding):
    """Vectors for llama-index; the asynchronous methods run in a thread, so the event loop goes on.

    Example:
        >>> Settings.embed_model = FarthingEmbedding(Embedder())  # doctest: +SKIP
    """

    _embedder: Embedder = PrivateAttr()
    _truncate_dim: int | None = PrivateAttr()

    def __init__(self, embedder: Embedder, *, truncate_dim: int | None = None, **fields: Any) -> None:
        """Wrap an embedder.

        Args:
            embedder: the loaded model.
            truncate_dim: keep only the first dimensions of each vector.
            fields: what `BaseEmbedding` takes, a callback manager for example.
        """
        super().__init__(
            **{"model_name": embedder.model.checkpoint.name, "embed_batch_size": LARGEST_BATCH, **fields}
        )
        self._embedder = embedder
        self._truncate_dim = truncate_dim

    @classmethod
    def class_name(cls) -> str:
        """Return the name that llama-index stores with an index."""
        return "FarthingEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        [query] = require_texts([query], "the question")
        vector: list[float] = self._embedder.encode_query(query, truncate_dim=self._truncate_dim).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.encode_document(
            require_texts(texts), truncate_dim=self._truncate_dim
        ).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
