"""One engine in a process of its own. Asleep on stdin until told to run; knows no other engine.

Protocol, a JSON object a line: {"corpus": PATH, "batch": N} → {"seconds": …, "vectors": PATH}.
Run with the Python of the engine's own environment.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")

Encode = Callable[[list[str], int], Any]


def load(engine: str, model: str) -> Encode:
    """Return a call that embeds texts with a batch size (Farthing chooses its own)."""
    if engine.startswith("farthing"):
        from farthing import Embedder

        ours = Embedder(model, dtype="bf16" if engine.endswith("bf16") else "fp32", cache_texts=0)
        return lambda texts, _batch: ours.encode(texts)
    from sentence_transformers import SentenceTransformer

    settings: dict[str, Any] = {"device": "cpu"}
    if "openvino" in engine:
        settings["backend"] = "openvino"
        if engine.endswith("fp32"):
            settings["model_kwargs"] = {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    theirs = SentenceTransformer(model, **settings)
    return lambda texts, batch: theirs.encode(texts, batch_size=batch, show_progress_bar=False)


def main() -> None:
    """Load the engine, then answer requests until stdin closes."""
    engine, model, scratch = sys.argv[1:4]
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not look like an answer
    encode = load(engine, model)
    encode(["warm up"] * 64, 32)
    for line in sys.stdin:
        request = json.loads(line)
        texts = json.loads(Path(request["corpus"]).read_text(encoding="utf-8"))
        start = time.perf_counter()
        vectors = encode(texts, request["batch"])
        seconds = time.perf_counter() - start
        path = Path(scratch) / f"{engine}.npy"
        np.save(path, np.asarray(vectors, np.float32))
        answers.write(json.dumps({"seconds": seconds, "vectors": str(path)}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
