"""The no-op engine drives the real queue and real jobs, and with the simulator's clock gives its latencies."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from drawn_arrivals import poisson_times
from farthing.embedding.cache import VectorCache
from farthing.embedding.steps import StepPath
from farthing.engine.contract import Ids
from farthing.engine.folder.checkpoint import read_checkpoint
from farthing.engine.folder.locate import locate_model
from farthing.engine.load import EmbeddingModel
from farthing.engine.text.tokenization import TextTokenizer
from farthing.scheduling.arrivals import Arrivals
from farthing.scheduling.queue import Queue
from farthing.scheduling.simulation import Policy, simulate
from makers import MINILM
from noop_engine import NoopEngine


def step_s(sizes: Sequence[float]) -> float:
    """Return what a step takes: a floor, and something for each token."""
    return 2e-3 + 20e-6 * sum(sizes)


def served(texts: Sequence[tuple[float, Ids, int]], policy: Policy) -> list[float]:
    """Return each text's latency in seconds: real lanes of the engine take from the real queue, time is theirs."""
    engine = NoopEngine(MINILM, step_s)
    queue: Queue[int] = Queue(lambda row: len(texts[row][1]), lambda row: texts[row][0])
    lanes = [(texts[0][0], number, engine.lane()) for number in range(policy.servers)]
    latencies = [0.0] * len(texts)
    arrived = 0
    while arrived < len(texts) or len(queue):
        now, number, lane = heapq.heappop(lanes)
        while arrived < len(texts) and texts[arrived][0] <= now:
            queue.add([arrived], texts[arrived][2])
            arrived += 1
        share = policy.servers if policy.takes == "share" else 1
        rows = queue.take(policy.max_batch_size, share, step_texts=policy.max_batch_texts)
        end = texts[arrived][0] if not rows else now
        if rows:
            done = lane.run([texts[row][1] for row in rows])
            end += done.device_s
            assert done.vectors[0, 0] == crc32(texts[rows[0]][1].data) & 15
            for row in rows:
                latencies[row] = end - texts[row][0]
        heapq.heappush(lanes, (end, number, lane))
    return latencies


@pytest.mark.parametrize("takes", ["all", "share"])
@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("classes", [1, 2])
def test_latencies_are_the_simulators(takes: str, servers: int, classes: int) -> None:
    draw = random.Random(servers)
    times = poisson_times(290.0 * servers, 3000, draw)
    lengths = [draw.choice((4, 9, 60, 250)) for _ in times]
    kinds = [draw.randrange(classes) for _ in times]
    ids = [np.full(length, row, np.int32) for row, length in enumerate(lengths)]
    policy = Policy(
        servers=servers, max_batch_texts=64, max_batch_size=1024, takes="all" if takes == "all" else "share"
    )
    simulated = simulate(Arrivals(times, lengths, kinds), policy, step_s)
    ours = served(list(zip(times, ids, kinds, strict=True)), policy)
    np.testing.assert_allclose(ours, simulated.latencies_s, atol=1e-6, rtol=0)
    assert len(times) > 1.2 * sum(simulated.steps_of.values())  # or no policy would be needed


def test_it_drives_jobs(minilm: Path) -> None:
    """Every text gets the vector of its own ids, in order, repeats and cached ones too."""
    checkpoint = read_checkpoint(locate_model(str(minilm)))
    tokenizer = TextTokenizer(checkpoint)
    path = StepPath(EmbeddingModel(checkpoint, tokenizer, NoopEngine(checkpoint.shape)))
    draw = random.Random(0)
    texts = [f"{draw.randrange(9000)} words of a text" for _ in range(20_000)]
    cache = VectorCache(10)
    run = path.job(texts, 1024, prompt="", cache=cache)
    parts = list(run)
    found = np.concatenate([part.vectors for part in parts])
    hashes = np.array([crc32(ids.data) for ids in tokenizer.encode(texts).ids], np.uint32)
    np.testing.assert_array_equal(found, hashes[:, None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15)
    assert run.totals.texts == len(texts)
    assert run.totals.duplicates == len(texts) - len(set(texts))
    assert run.totals.input_tokens == sum(tokenizer.encode(texts).lengths)
    assert run.totals.work.useful_tokens == sum(tokenizer.encode(list(set(texts))).lengths)
    path.close()


def test_it_is_small() -> None:
    lines = (
        (Path(__file__).parents[2] / "benchmarks" / "noop_engine.py").read_text(encoding="utf-8").splitlines()
    )
    assert len(lines) <= 40
