"""A fresh process of `before_after.py`: seconds of each question through the public API, as lines of JSON."""

import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from farthing import Embedder
from farthing.theory.dtypes import Dtype


def main(path: str, dtype: Dtype) -> None:
    """Run the questions of a file, each once warm."""
    asked = json.loads(Path(path).read_text(encoding="utf-8"))
    embedder = Embedder(dtype=dtype, cache_texts=0)
    found = {}
    for question in ("docstrings", "scifact"):
        texts = asked[question]
        embedder.encode(texts[: len(texts) // 5])
        start = time.perf_counter()
        embedder.encode(texts)
        found[question] = time.perf_counter() - start
    long = Embedder(dtype=dtype, cache_texts=0, max_length=512)
    for part in (asked["mix"][: len(asked["mix"]) // 5 + 1], asked["mix"]):
        start = time.perf_counter()
        for request in part:
            long.encode(request)
        found["mix"] = time.perf_counter() - start
    print(json.dumps(found))


def one_by_one(path: str, dtype: Dtype) -> None:
    """Embed short texts, as many as each line of stdin says, and answer with the seconds of each."""
    texts = json.loads(Path(path).read_text(encoding="utf-8"))["one short text"]
    embedder = Embedder(dtype=dtype, cache_texts=0)
    for text in texts:
        embedder.encode(text)
    turn = cycle(texts)
    for line in sys.stdin:
        times = []
        for text in islice(turn, int(line)):
            start = time.perf_counter()
            embedder.encode(text)
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    (one_by_one if "one-by-one" in sys.argv else main)(
        sys.argv[1], "bf16" if sys.argv[2] == "bf16" else "fp32"
    )
