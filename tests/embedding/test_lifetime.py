"""An embedder's life: closed, collected, pickled, copied, forked; its threads end with it, and nothing ever hangs."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.embedding.embedder import Embedder
from farthing.errors import EngineError

MANY = [f"{row} of many texts" for row in range(200)]
"""More than are run at once."""


def lanes_threads(before: int) -> int:
    """Return how many threads are left over after some patience."""
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    return threading.active_count() - before


def test_closing_ends_the_threads_and_says_so(tiny_bert: Path) -> None:
    before = threading.active_count()
    embedder = Embedder(str(tiny_bert))
    embedder.encode(MANY)
    embedder.encode(["a"])
    assert threading.active_count() > before
    embedder.close()
    assert lanes_threads(before) == 0
    embedder.close()
    for texts in (MANY, ["a"], ["new"]):  # "a" is in the cache
        for call in (embedder.encode, embedder.embed):
            with pytest.raises(EngineError, match=r"^the model is closed; load it again$"):
                call(texts)


def test_a_with_statement_closes_it(tiny_bert: Path) -> None:
    before = threading.active_count()
    with Embedder(str(tiny_bert)) as embedder:
        assert embedder.encode(MANY).shape == (200, 36)
    assert lanes_threads(before) == 0
    with pytest.raises(EngineError, match="closed"):
        embedder.encode("a")

    def fail() -> None:
        with Embedder(str(tiny_bert)) as embedder:
            embedder.encode(MANY)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert lanes_threads(before) == 0


@pytest.mark.parametrize("in_a_circle", [False, True])
def test_threads_end_when_it_is_collected(tiny_bert: Path, in_a_circle: bool) -> None:
    before = threading.active_count()
    embedder = Embedder(str(tiny_bert))
    embedder.encode(MANY)
    embedder.encode("a")
    engine = weakref.ref(embedder.model.engine)
    gone = weakref.ref(embedder)
    if in_a_circle:
        embedder.itself = embedder  # type: ignore[attr-defined]
    del embedder
    gc.collect()
    assert gone() is None
    assert lanes_threads(before) == 0
    gc.collect()
    assert engine() is None


def settings() -> dict[str, Any]:
    return {
        "max_length": 20,
        "truncation_side": "left",
        "usd_per_hour": 0.5,
        "cache_texts": 7,
        "mode": "latency",
        "threads": 1,
        "truncate": True,
    }


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_pickles_and_copies_are_made_by_settings(tiny_bert: Path, again: Any) -> None:
    texts = ["a b c", "the end of a story " * 10]
    with Embedder(str(tiny_bert), **settings(), notify=print) as embedder:
        embedder.encode(texts)
        with again(embedder) as other:
            assert other is not embedder
            assert other.model is not embedder.model
            assert len(other.cache) == 0
            np.testing.assert_array_equal(other.encode(texts), embedder.encode(texts))
            assert (other.max_length, other.usd_per_hour, other.cache.capacity) == (20, 0.5, 7)
            assert other.model.tokenizer.truncation_side == "left"
            assert (other.model.engine.lanes, other.path.mode) == (1, "latency")
        assert embedder.encode("still here").shape == (36,)


class Own(Embedder):
    """An embedder that its user has added something to."""


def test_whoever_debugs_changes_no_settings(tiny_bert: Path) -> None:
    """Looking at a function's variables, as a debugger does at each line, writes to what `locals` gave."""

    def look(frame: types.FrameType, _event: str, _value: object) -> Any:
        assert frame.f_locals is not None
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        embedder = Own(str(tiny_bert), max_length=20)
    finally:
        sys.settrace(before)
    with embedder, pickle.loads(pickle.dumps(embedder)) as other:
        assert type(other) is Own
        assert other.max_length == 20


def test_a_pickle_holds_no_weights(tiny_bert: Path) -> None:
    with Embedder(str(tiny_bert)) as embedder:
        embedder.encode(MANY)
        assert len(pickle.dumps(embedder)) < 2000


FORKS = """
import json, os, sys, threading, time
import numpy as np
from farthing import Embedder

model, how = sys.argv[1:]
many = [f"{row} of many texts" for row in range(200)]
embedder = Embedder(model, cache_texts=100)
few = embedder.encode(["a b c"])
expected = embedder.encode(many)
held = threading.Event()
if how == "while a lock is held":
    def hold():
        with embedder.path.lanes._change, embedder.cache._lock:
            held.set()
            time.sleep(5)
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
child = os.fork()
if not child:
    start = time.monotonic()
    assert np.allclose(embedder.encode(["a b c"]), few, atol=1e-6), "few"
    assert np.allclose(embedder.encode(many), expected, atol=1e-6), "many"
    assert embedder.model.engine is not None
    print("the child is done", flush=True)
    if how == "leaves at once":
        os._exit(0)
    sys.exit(0)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    time.sleep(0.05)
else:
    os.kill(child, 9)
    sys.exit("the child hangs")
assert status == 0, status
assert np.allclose(embedder.encode(many), expected, atol=1e-6), "the parent"
print("the parent is done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", ["leaves at once", "leaves by exit", "while a lock is held"])
def test_a_forked_child_loads_anew(tiny_bert: Path, how: str) -> None:
    """gunicorn with a preloaded application, Celery, a DataLoader's workers."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(tiny_bert), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["the child is done", "the parent is done"]), (
        done.stderr
    )


ORPHANS = """
import os, sys, time
from farthing import Embedder
embedder = Embedder(sys.argv[1])
embedder.encode([f"{row} of many texts" for row in range(200)])
path = embedder.path
child = os.fork()
if not child:
    from farthing.errors import EngineError
    try:
        path.soon().run(path.model.tokenizer.encode(["a"]).ids)
    except EngineError as error:
        print("refused:", error, flush=True)
    path.close()
    sys.exit(0)  # and nothing of it was ever used
deadline = time.monotonic() + 60
while time.monotonic() < deadline and not (done := os.waitpid(child, os.WNOHANG))[0]:
    time.sleep(0.05)
print(done[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_child_cannot_use_is_refused(tiny_bert: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(tiny_bert)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, status = done.stdout.splitlines()
    assert first.startswith("refused: the process was forked after the model was loaded")
    assert status == "0"


QUIET = """
import json, os, sys, threading
import numpy  # which sets a variable of its library's while it is imported
before = dict(os.environ)
seen = []
real_set, real_unset = os.putenv, os.unsetenv
os.putenv = lambda *pair: (seen.append([*map(os.fsdecode, pair)]), real_set(*pair))
os.unsetenv = lambda name: (seen.append([os.fsdecode(name)]), real_unset(name))
def fork():
    raise SystemExit("something forked")
os.fork = fork
import farthing
def work():
    with farthing.Embedder(sys.argv[1]) as embedder:
        embedder.encode(["a text"])
        embedder.encode([f"{row} of many texts" for row in range(200)])
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
print(json.dumps([sorted(changed), seen, [name for name in sys.modules if name.startswith("openvino_telemetry")]]))
"""


@pytest.mark.parametrize("given", [None, "false"])
def test_loading_and_running_changes_no_environment_and_tells_nobody(
    tiny_bert: Path, tmp_path: Path, given: str | None
) -> None:
    """From whatever thread; OpenVINO's telemetry, which would fork and send, is never imported.

    One variable is set while the library is loaded, once for all threads, and taken back.
    """
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HOME": str(tmp_path)}
    if given is not None:
        environment["CI"] = given
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(tiny_bert)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    changed, set_in_between, telemetry = json.loads(done.stdout)
    kernels = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    assert (changed, set_in_between, telemetry) == ([], [[kernels, "64"], [kernels]], [])
    assert not (tmp_path / "intel").exists()
