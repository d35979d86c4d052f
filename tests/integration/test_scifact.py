"""Real retrieval with the default model: the published score, through our engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from farthing import Embedder
from scifact_ndcg import ndcg_at_10

PUBLISHED = 0.64508
"""all-MiniLM-L6-v2 on SciFact. Source: embeddings-benchmark/results@f4cc6c8 (shared/data/scifact/SOURCE.md)."""


def test_ndcg_is_the_published_one(scifact: Path, minilm: Path) -> None:
    assert ndcg_at_10(scifact, Embedder(str(minilm)).encode) == pytest.approx(PUBLISHED, abs=0.002)
