"""One engine in a process of its own. Asleep on stdin until told to run; knows no other engine.

Protocol, a JSON object a line. First, unasked: {"versions": {…}}. Then
{"requests": PATH, "batch": N, "prompt": "…", "sort": true, "single": false} → {"seconds": [one of each request],
"vectors": PATH}. The file holds a list of requests, each a list of texts; the engine sees one request at a time.
Run with the Python of the engine's own environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from peer_loaders import load, versions


def main() -> None:
    """Load the engine, then answer until stdin closes."""
    warnings.filterwarnings("ignore")
    engine, model, scratch = sys.argv[1:4]
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints, in Python or in C, must not look like an answer
    # OpenVINO's telemetry forks, and the child hangs on closing an input that this thread waits for.
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    loaded = load(engine, model)
    _answer(answers, {"versions": versions()})
    for line in requests:
        request = json.loads(line)
        loaded.prepare(request["batch"])
        parts: list[Any] = []
        seconds: list[float] = []
        for texts in json.loads(Path(request["requests"]).read_text(encoding="utf-8")):
            start = time.perf_counter()
            if request["single"]:
                parts += [[loaded.encode_one(text)] for text in texts]
            else:
                parts.append(loaded.encode(texts, request["batch"], request["prompt"], request["sort"]))
            seconds.append(time.perf_counter() - start)
        path = Path(scratch) / f"{engine}.npy"
        np.save(path, np.concatenate([np.asarray(part, np.float32) for part in parts]))
        _answer(answers, {"seconds": seconds, "vectors": str(path)})


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
