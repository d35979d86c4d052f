"""The first steps of a process, all at the same moment: OpenVINO's own start must not deadlock them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Threads that spin until all of them run reach their first inference together, far more surely than in a job.
RACE = """
import sys, threading
import numpy as np
from farthing.engine.load import load_model

model = load_model(sys.argv[1])
lanes = [model.engine.lane() for _ in range(6)]
running = [0]

def first_step(lane):
    running[0] += 1
    while running[0] < len(lanes):
        pass
    assert not lane.run([np.array([2, 5, 3], np.int32)]).failed

threads = [threading.Thread(target=first_step, args=(lane,), daemon=True) for lane in lanes]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("attempt", range(6))
def test_first_steps_side_by_side(tiny_bert: Path, attempt: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RACE, str(tiny_bert)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
