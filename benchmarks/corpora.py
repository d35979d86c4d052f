"""The texts that benchmarks run on. Each loader returns different texts only, in a fixed order."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from farthing.cli.demo_texts import stdlib_docstrings

SHARED_SCIFACT = Path(__file__).resolve().parents[2] / "shared" / "data" / "scifact"


def docstrings() -> list[str]:
    """Docstrings of this Python's standard library: ragged, 2 to 256 tokens."""
    return _distinct(record.text for record in stdlib_docstrings())


def scifact(limit: int | None = None, seed: int = 0) -> list[str]:
    """SciFact's abstracts as title + " " + text: nearly uniform, most cut at 256 tokens."""
    path = SHARED_SCIFACT / "corpus.jsonl"
    if not path.is_file():
        raise SystemExit(f"SciFact is missing: {path}; lay the shared data beside the checkout")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    texts = _distinct(f"{row['title']} {row['text']}" for row in rows)
    return texts if limit is None else random.Random(seed).sample(texts, limit)


def drawn(words: list[str], texts: int = 12_000, seed: int = 0) -> list[str]:
    """Random words in texts of lognormal length, one in ten a repeat of an earlier one."""
    choose = random.Random(seed)
    made: list[str] = []
    for _ in range(texts):
        if made and choose.random() < 0.1:
            made.append(choose.choice(made))
        else:
            count = max(1, min(400, round(choose.lognormvariate(2.5, 0.9))))
            made.append(" ".join(choose.choices(words, k=count)))
    return made


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
