"""The device's step beside the same through HTTP: is the article's batching gain the host's time?

The server is minimal: token ids in an OpenAI-like body, one worker that takes all that wait, floats in JSON. As in
the article, N requests of one text each are sent at once, and the time ends with the last answer.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from farthing.engine.contract import Ids
from farthing.engine.torch.engine import TorchEngine
from gpu_parts.bench import Bench
from gpu_parts.matmuls import Peaks
from gpu_parts.models import Subject, forward_work
from gpu_parts.saturation import GAIN
from gpu_parts.tables import markdown, ms

ARTICLE = {"tokens": 1040, "one": 25.35, "eight": 32.78}
"""Embeddings per second of the article's H100 at 1 and 8 requests. Source: docs/concepts/article.md."""

_WARMUPS, _TURNS = 2, 7

Waiting = SimpleQueue[tuple[list[Ids], Future[npt.NDArray[np.float32]]] | None]


def _work_off(waiting: Waiting, engine: TorchEngine) -> None:
    """Run all that waits as one step, again and again, until None comes."""
    lane = engine.lane()
    while (first := waiting.get()) is not None:
        taken = [first]
        while True:
            try:
                more = waiting.get_nowait()
            except Empty:
                break
            if more is None:
                waiting.put(None)
                break
            taken.append(more)
        try:
            vectors = lane.run([text for texts, _ in taken for text in texts]).vectors
        except Exception as error:
            for _, answer in taken:
                answer.set_exception(error)
            continue
        start = 0
        for texts, answer in taken:
            answer.set_result(vectors[start : start + len(texts)])
            start += len(texts)


@contextmanager
def served(engine: TorchEngine) -> Iterator[int]:
    """Serve an engine on this host and yield the port."""
    waiting: Waiting = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            texts = [np.array(text, np.int32) for text in body["input"]]
            answer: Future[npt.NDArray[np.float32]] = Future()
            waiting.put((texts, answer))
            rows = answer.result().tolist()
            data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
            tokens = sum(map(len, texts))
            answered = {
                "object": "list",
                "data": data,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
            payload = json.dumps(answered).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threads = [
        threading.Thread(target=server.serve_forever),
        threading.Thread(target=_work_off, args=(waiting, engine)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        waiting.put(None)
        for thread in threads:
            thread.join()
        server.server_close()


def at_once_s(port: int, bodies: Sequence[bytes]) -> list[float]:
    """Send all bodies at once, each on a connection of its own that is open already; repeat.

    Returns:
        For each turn, the seconds until the last answer was read. The clients read bytes and parse nothing.
    """
    connections = [http.client.HTTPConnection("127.0.0.1", port) for _ in bodies]

    def ask(place: int) -> None:
        connections[place].request(
            "POST", "/v1/embeddings", bodies[place], {"Content-Type": "application/json"}
        )
        with connections[place].getresponse() as answer:
            read = answer.read()
            if answer.status != 200 or not read:
                raise RuntimeError(f"the server answered with status {answer.status}")

    seconds = []
    with ThreadPoolExecutor(len(bodies)) as pool:
        for _ in range(_WARMUPS + _TURNS):
            start = time.perf_counter()
            list(pool.map(ask, range(len(bodies))))
            seconds.append(time.perf_counter() - start)
    for connection in connections:
        connection.close()
    return seconds[_WARMUPS:]


def measure(bench: Bench, subject: Subject, _peaks: Peaks) -> dict[str, Any]:
    """Return the seconds of N texts on the device, from ids to vectors, in one request, and in N of them."""
    engine = subject.engine()
    found: dict[str, Any] = {}
    for count in bench.budget.within(bench.sizes.sequences):
        texts = bench.uniform(subject.shape.vocabulary, count, subject.sequence)
        lane = engine.lane()
        device_s = bench.median_s(forward_work(bench, engine, texts))
        wall_s = bench.median_s(lambda lane=lane, texts=texts: lane.run(texts), wall=True)
        bodies = [body_of([text]) for text in texts]
        with served(engine) as port:
            together = at_once_s(port, [body_of(texts)])
            apart = at_once_s(port, bodies)
        found[str(count)] = {
            "device_s": device_s,
            "ids_to_vectors_s": wall_s,
            "one_request_s": median(together),
            "requests_s": median(apart),
            "host_s": median(apart) - device_s,
        }
    gains = {
        clock: {n: int(n) * found["1"][clock] / one[clock] for n, one in found.items()}
        for clock in ("device_s", "requests_s")
    }
    said = verdict(gains) if found else None
    return {"length": subject.sequence, "requests": found, "gains": gains, "verdict": said}


def body_of(texts: Sequence[Ids]) -> bytes:
    """Return an OpenAI-like request for texts of token ids."""
    return json.dumps({"model": "random", "input": [text.tolist() for text in texts]}).encode()


def verdict(gains: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return which part of the gain that requests see is the device's, in figures and in a sentence."""
    most = max(gains["device_s"], key=int)
    device, http_gain = gains["device_s"][most] - 1, gains["requests_s"][most] - 1
    article = ARTICLE["eight"] / ARTICLE["one"] - 1
    if http_gain < GAIN:
        said = "requests at once gain nothing to speak of, so there is no gain to explain"
    elif device < GAIN:
        said = "the gain is the host's time, not the device's"
    else:
        said = f"the device itself gains, {min(1.0, device / http_gain):.0%} of what requests see"
    return {
        "device_gain": device,
        "request_gain": http_gain,
        "article_gain": article,
        "sentence": (
            f"From 1 to {most} texts the device gains {device:+.1%} and requests at once {http_gain:+.1%} (the "
            f"article's H100 from 1 to 8 requests of what it calls {ARTICLE['tokens']} tokens: {article:+.1%}): {said}."
        ),
    }


def table(figures: dict[str, Any]) -> list[str]:
    """Return the requests as lines."""
    rows = (
        (
            n,
            *(
                ms(one[key])
                for key in ("device_s", "ids_to_vectors_s", "one_request_s", "requests_s", "host_s")
            ),
            f"{figures['gains']['device_s'][n]:.2f}×",
            f"{figures['gains']['requests_s'][n]:.2f}×",
        )
        for n, one in figures["requests"].items()
    )
    headers = (
        f"texts of {figures['length']}",
        "device",
        "ids to vectors",
        "one request",
        "a request each",
        "host beside it",
        "device gains",
        "requests gain",
    )
    lines = markdown(headers, rows)
    return [*lines, "", figures["verdict"]["sentence"]] if figures["verdict"] else lines
