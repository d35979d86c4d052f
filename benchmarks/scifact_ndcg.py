"""nDCG@10 on SciFact by exact search, with our own few lines in place of an evaluation framework."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def ndcg_at_10(folder: Path, encode: Callable[[list[str]], Any]) -> float:
    """Return the mean nDCG@10 over the 300 test queries.

    Args:
        folder: SciFact in BEIR layout.
        encode: texts to vectors of length one.
    """
    documents, queries = (
        [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    relevant: dict[str, dict[str, int]] = defaultdict(dict)
    with (folder / "qrels_test.tsv").open(encoding="utf-8") as file:
        for row in csv.reader(file, delimiter="\t"):
            if row[-1].isdigit():
                relevant[row[0]][row[-2]] = int(row[-1])
    texts = [f"{row['title']} {row['text']}" for row in documents]
    scores = np.asarray(encode([row["text"] for row in queries])) @ np.asarray(encode(texts)).T
    names = [str(row["_id"]) for row in documents]
    values = []
    for query, row in zip(queries, scores, strict=True):
        wanted = relevant[str(query["_id"])]
        if wanted:
            found = [wanted.get(names[index], 0) for index in np.argsort(-row, kind="stable")[:10]]
            values.append(_dcg(found) / _dcg(sorted(wanted.values(), reverse=True)[:10]))
    return float(np.mean(values))


def _dcg(gains: list[int]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))
