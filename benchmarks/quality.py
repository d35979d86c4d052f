"""Are the vectors the model's? SciFact nDCG@10, and every vector's cosine to sentence-transformers' own.

Reference: all-MiniLM-L6-v2 on SciFact is 0.64508. Source: embeddings-benchmark/results@f4cc6c8.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from sentence_transformers import SentenceTransformer

from corpora import SHARED_SCIFACT, scifact
from farthing import Embedder
from results_file import save
from scifact_ndcg import ndcg_at_10


def main() -> None:
    """Embed SciFact with both engines and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=None, help="compare vectors of a seeded sample only")
    arguments = parser.parse_args()
    embedder = Embedder(cache_texts=0)
    ours = ndcg_at_10(SHARED_SCIFACT, embedder.encode)
    print(f"nDCG@10 {ours:.5f}, reference 0.64508")
    texts = scifact(arguments.limit)
    queries = [
        json.loads(line)["text"]
        for line in (SHARED_SCIFACT / "queries.jsonl").read_text("utf-8").splitlines()
    ]
    theirs = SentenceTransformer(str(embedder.model.checkpoint.folder), device="cpu")
    both = [*texts, *queries]
    vectors, reference = embedder.encode(both), theirs.encode(both, batch_size=16)
    cosines = (vectors * reference).sum(axis=1)
    sample = np.random.default_rng(0).choice(len(both), 200, replace=False)
    alone = np.stack([embedder.encode(both[row]) for row in sample])
    alone_cosines = (alone * vectors[sample]).sum(axis=1)
    print(f"{len(both)} vectors: least cosine to sentence-transformers {cosines.min():.8f}")
    print(f"{len(sample)} texts alone against in a batch: least cosine {alone_cosines.min():.8f}")
    figures = {
        "ndcg_at_10": ours,
        "reference": 0.64508,
        "vectors": len(both),
        "least_cosine": float(cosines.min()),
        "least_cosine_alone": float(alone_cosines.min()),
    }
    print(save("quality", figures))


if __name__ == "__main__":
    main()
