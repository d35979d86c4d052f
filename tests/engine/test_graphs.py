"""Converting is silent: nothing is reported over the network, and nothing is left in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from openvino_telemetry.utils.opt_in_checker import OptInChecker
asked = []
real = OptInChecker.check
def check(self, *arguments, **named):
    asked.append(os.environ.get("CI"))
    return real(self, *arguments, **named)
OptInChecker.check = check
before = dict(os.environ)
real_fork = os.fork
def fork():
    raise SystemExit("the converter forked")
os.fork = fork
from farthing.engine.model import load_model
load_model(sys.argv[1]).compiled.stream()
assert dict(os.environ) == before, "the environment changed"
print(asked)
"""


@pytest.mark.parametrize("given", [None, "false"])
def test_no_usage_data_is_sent(tiny_bert: Path, tmp_path: Path, given: str | None) -> None:
    """The converter asks whether it may, and sees a CI job, where it never does."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    if given is not None:
        environment["CI"] = given
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_bert)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "true" in done.stdout
    assert "None" not in done.stdout
    assert "false" not in done.stdout
    assert not (tmp_path / "intel").exists()
