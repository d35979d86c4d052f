"""What every engine promises those above it, whichever it is."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import farthing.engine.openvino.engine
import farthing.engine.torch.engine
from farthing.engine.contract import Done, Engine, Ids, Lane, Mode, Ran, require_same_process
from farthing.engine.folder.checkpoint import Checkpoint
from farthing.engine.network.weights import weights_of
from farthing.engine.openvino.engine import OpenVinoEngine
from farthing.errors import EngineError
from farthing.theory.work import Work
from noop_engine import NoopEngine
from small_families import random_ids
from ways import checkpoint_of, torch_on_grid, torch_on_tokens

ENGINES: dict[str, Callable[[Checkpoint], Engine]] = {
    "openvino": OpenVinoEngine,
    "torch, on a grid": torch_on_grid,
    "torch, on tokens": torch_on_tokens,
    "no-op": lambda checkpoint: NoopEngine(checkpoint.shape),
}
REAL = [name for name in ENGINES if name != "no-op"]

CHOKES, SPOILS = 5, 7
"""Ids of texts that a device refuses, and of those whose vectors are not finite."""

modes = pytest.mark.parametrize("mode", ["throughput", "latency"])


class Spoiled:
    """Passes of an engine that refuse some texts and spoil others."""

    def __init__(self, passes: Any) -> None:
        self._passes, self.passes = passes, 0

    def run(self, texts: Sequence[Ids], past: Any, left_out: int = 0) -> Ran:
        self.passes += 1
        if any(CHOKES in text for text in texts):
            raise EngineError("the device choked")
        ran: Ran = self._passes.run(texts, past, left_out)
        vectors = ran.vectors.copy()
        vectors[[SPOILS in text for text in texts]] = np.nan
        return ran._replace(vectors=vectors)

    def keys_and_values(self, ids: Ids) -> Any:
        return self._passes.keys_and_values(ids)


@pytest.fixture(scope="module")
def checkpoint(family_folder: Callable[[str], Path]) -> Checkpoint:
    return checkpoint_of(family_folder("qwen3"), "last_token")


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Engine:
    return ENGINES[request.param](checkpoint)


def texts_of(*ids: int) -> list[Ids]:
    """Return texts of different lengths, each of one id and some that nothing is wrong with."""
    return [np.array([one, *[20] * place], np.int32) for place, one in enumerate(ids)]


def spoiled(engine: Engine, mode: Mode) -> tuple[Lane, Spoiled]:
    lane = engine.lane(mode)
    lane._passes = passes = Spoiled(lane._passes)
    return lane, passes


def adds_up(done: Done) -> bool:
    return sum(done.works(), Work()) == done.work


def test_what_it_says_of_itself(engine: Engine, checkpoint: Checkpoint) -> None:
    assert engine.shape == checkpoint.shape
    assert engine.device == "cpu"
    assert engine.dtype == "fp32"
    assert engine.vector_error is None
    assert engine.lanes >= 1
    assert engine.step_tokens >= 1024


@modes
def test_vectors_and_work_of_every_text(engine: Engine, mode: Mode) -> None:
    engine.warm(mode)
    done = engine.lane(mode).run(random_ids())
    assert done.vectors.shape == (len(random_ids()), engine.dimension)
    assert done.vectors.dtype == np.float32
    assert not done.failed
    assert done.device_s >= 0
    assert [one.useful_tokens for one in done.works()] == [len(one) for one in random_ids()]
    assert adds_up(done)


@modes
def test_vectors_are_the_receivers_own(engine: Engine, mode: Mode) -> None:
    lane = engine.lane(mode)
    first = lane.run(random_ids())
    before = first.vectors.copy()
    lane.run(random_ids(1))
    np.testing.assert_array_equal(first.vectors, before)
    assert first.vectors.flags.owndata


def none_mixed_up(lanes: Sequence[Lane]) -> bool:
    """Run two jobs on two lanes, or one, from two threads at once, and compare with each job alone."""
    jobs = [random_ids(0), random_ids(1)[:5]]
    expected = [lanes[0].run(job).vectors for job in jobs]
    wrong: list[int] = []

    def run(job: int) -> None:
        for _ in range(15):
            if not np.allclose(lanes[job].run(jobs[job]).vectors, expected[job], atol=1e-5):
                wrong.append(job)

    threads = [threading.Thread(target=run, args=(job,)) for job in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return not wrong


@modes
def test_threads_on_one_lane_are_never_mixed_up(engine: Engine, mode: Mode) -> None:
    assert none_mixed_up([engine.lane(mode)] * 2)


def test_lanes_run_side_by_side(engine: Engine) -> None:
    assert none_mixed_up([engine.lane(), engine.lane()])


@modes
@pytest.mark.parametrize("bad", [CHOKES, SPOILS])
def test_a_text_fails_alone(engine: Engine, mode: Mode, bad: int) -> None:
    lane, passes = spoiled(engine, mode)
    texts = texts_of(11, 12, bad, 13, 14, 15, bad)
    done = lane.run(texts)
    assert set(done.failed) == {2, 6}
    assert all(isinstance(error, EngineError) for error in done.failed.values())
    assert not done.vectors[[2, 6]].any()
    for row in (0, 1, 3, 4, 5):
        np.testing.assert_allclose(
            done.vectors[row], engine.lane(mode).run([texts[row]]).vectors[0], atol=1e-5
        )
    assert adds_up(done)
    assert done.work.useful_tokens == sum(map(len, texts)) - (bad == CHOKES) * (3 + 7)
    assert passes.passes > 2


@modes
def test_what_ran_twice_is_billed_as_padding(engine: Engine, mode: Mode) -> None:
    lane, _ = spoiled(engine, mode)
    texts = texts_of(11, SPOILS, 13)
    once, twice = engine.lane(mode).run(texts).work, lane.run(texts).work
    alone = engine.lane(mode).run(texts[1:2]).work
    assert twice.useful_flops == once.useful_flops
    assert twice.padded_flops == once.padded_flops + alone.executed_flops
    assert twice.executed_flops == once.executed_flops + alone.executed_flops


@pytest.mark.parametrize("name", REAL)
@modes
def test_a_model_that_overflows_for_one_text(
    name: str, mode: Mode, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands at the places of padding, of the first text too."""
    plain = ENGINES[name](checkpoint).lane(mode)
    weights = dict(weights_of(checkpoint))
    weights["embeddings.tokens.weight"] = weights["embeddings.tokens.weight"].copy()
    weights["embeddings.tokens.weight"][SPOILS] = np.inf
    for module in (farthing.engine.openvino.engine, farthing.engine.torch.engine):
        monkeypatch.setattr(module, "weights_of", lambda _: iter(weights.items()))
    lane = ENGINES[name](checkpoint).lane(mode)
    for bad in range(4):
        texts = random_ids()[2:6]
        texts = [np.where(one == SPOILS, 20, one).astype(np.int32) for one in texts]
        expected = plain.run(texts).vectors
        texts[bad][-1] = SPOILS
        done = lane.run(texts)
        assert set(done.failed) == {bad}
        assert "not finite" in str(done.failed[bad])
        others = [row for row in range(4) if row != bad]
        np.testing.assert_allclose(done.vectors[others], expected[others], atol=1e-5)


@pytest.mark.parametrize("name", REAL)
@modes
def test_a_shared_prefix_that_the_device_refuses(
    name: str, mode: Mode, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = ENGINES[name](checkpoint).lane(mode)

    def refuse(_: Ids) -> Any:
        raise EngineError("no room for a prefix")

    monkeypatch.setattr(lane._passes, "keys_and_values", refuse)
    prompt = np.arange(10, 20, dtype=np.int32)
    done = lane.run([np.concatenate((prompt, one)) for one in random_ids()[:3]], prompt)
    assert {str(error) for error in done.failed.values()} == {"no room for a prefix"}
    assert len(done.failed) == 3
    assert done.work == Work()


@pytest.mark.parametrize("name", ENGINES)
def test_a_closed_engine_refuses(name: str, checkpoint: Checkpoint) -> None:
    engine = ENGINES[name](checkpoint)
    lane = engine.lane()
    engine.close()
    gc.collect()
    done = lane.run(random_ids())
    assert len(done.failed) == len(random_ids())
    assert "closed" in str(done.failed[0])
    if name != "no-op":
        with pytest.raises(EngineError, match="closed"):
            engine.lane("latency")


@pytest.mark.parametrize("name", REAL)
def test_a_forked_child_is_told_so(name: str, checkpoint: Checkpoint) -> None:
    """One clear error, from an old lane and for a new one; never a child that hangs."""
    engine = ENGINES[name](checkpoint)
    lane = engine.lane()
    lane.run(random_ids())
    child = os.fork()
    if not child:
        import signal

        signal.alarm(20)
        refused = 0
        for use in (lambda: lane.run(random_ids()), engine.lane):
            try:
                use()
            except EngineError as error:
                refused += "forked" in str(error)
        os._exit(refused)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert not lane.run(random_ids()).failed


def test_a_device_is_of_the_process_that_opened_it() -> None:
    require_same_process(os.getpid())
    with pytest.raises(EngineError, match="forked after the model was loaded"):
        require_same_process(os.getpid() + 1)
