"""An Embedder as LangChain's `Embeddings`, in this process."""

from __future__ import annotations

from farthing.embedding.embedder import Embedder
from farthing.embedding.encode_options import require_texts
from farthing.errors import missing_extra

try:
    from langchain_core.embeddings import Embeddings
except ModuleNotFoundError as error:
    raise missing_extra(error, __name__) or error from None


class FarthingEmbeddings(Embeddings):
    """Vectors for LangChain; its asynchronous methods run these in a thread, so the event loop goes on.

    Example:
        >>> embeddings = FarthingEmbeddings(Embedder())  # doctest: +SKIP
        >>> InMemoryVectorStore.from_texts(["a text"], embeddings)  # doctest: +SKIP
    """

    def __init__(self, embedder: Embedder, *, truncate_dim: int | None = None) -> None:
        """Wrap an embedder.

        Args:
            embedder: the loaded model.
            truncate_dim: keep only the first dimensions of each vector.
        """
        self.embedder = embedder
        self.truncate_dim = truncate_dim

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text, with the model's prompt for documents if it has one."""
        vectors: list[list[float]] = self.embedder.encode_document(
            require_texts(texts), truncate_dim=self.truncate_dim
        ).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question, with the model's prompt for questions if it has one."""
        [text] = require_texts([text], "the question")
        vector: list[float] = self.embedder.encode_query(text, truncate_dim=self.truncate_dim).tolist()
        return vector
