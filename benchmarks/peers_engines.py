"""The engines that are compared, their environments, and a process for each that sleeps unless it is asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from farthing.theory.dtypes import Dtype

HERE = Path(__file__).parent
ROOT = HERE.parent
ANSWER_S = 1800.0
"""Longest that an engine may take to answer, in seconds."""

Vectors = npt.NDArray[np.float32]


class PeerError(Exception):
    """An environment cannot be made or an engine does not run: why, in one line."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as it is run here.

    Attributes:
        name: what tables call it.
        environment: its requirements file and environment; None is Farthing's own.
        dtype: what it computes in; bf16 ones run only on processors that have it.
        export: the exported files that it reads, onnx or openvino; None for the weights as they are.
        own_batch: texts of a batch unless it is told otherwise; Farthing chooses by the texts.
    """

    name: str
    environment: str | None = None
    dtype: Dtype = "fp32"
    export: str | None = None
    own_batch: int = 32

    @property
    def ours(self) -> bool:
        """Whether it is Farthing."""
        return self.environment is None


ENGINES = (
    Engine("farthing"),
    Engine("farthing-bf16", dtype="bf16"),
    Engine("st-torch", "torch"),
    Engine("st-onnx", "onnx", export="onnx"),
    Engine("st-openvino-fp32", "openvino", export="openvino"),
    Engine(
        "st-openvino-default", "openvino", "bf16", "openvino"
    ),  # OpenVINO's default is the processor's fastest
    Engine("fastembed", "fastembed", export="onnx", own_batch=256),
    Engine("infinity-torch", "infinity"),
    Engine("infinity-onnx", "infinity", export="onnx"),
)
"""The first of each precision is Farthing's, which the others of that precision are set beside."""

REFERENCE = "st-torch"
"""The engine that every other's vectors must agree with."""


def environment_python(environment: str | None) -> str:
    """Return the Python of an environment, made first where it is absent or its requirements have changed.

    Raises:
        PeerError: pip could not install the requirements.
    """
    if environment is None:
        return sys.executable
    folder = ROOT / f".venv-peers-{environment}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    requirements = HERE / "peers-requirements" / f"{environment}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != digest:
        install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)]
        for command in ([sys.executable, "-m", "venv", str(folder)], install):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise PeerError(f"could not be installed: {_reason(done.stderr)}")
        stamp.write_text(digest, encoding="utf-8")
    return str(python)


def run_in(environment: str | None, script: str, *arguments: str) -> None:
    """Run a script of this folder with the Python of an environment.

    Raises:
        PeerError: it failed.
    """
    command = [environment_python(environment), str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_offline())
    if done.returncode:
        raise PeerError(f"could not be run: {script}: {_reason(done.stderr)}")


class Worker:
    """A process with one engine and one model, stopped by a signal whenever it is not its turn.

    A signal, because some engines' idle threads spin or poll.

    Attributes:
        engine: which one.
        versions: of its packages.
    """

    def __init__(self, engine: Engine, model: Path, scratch: Path) -> None:
        """Start the process and wait until its model is loaded.

        Raises:
            PeerError: its environment or the engine does not work.
        """
        self.engine = engine
        self._scratch = scratch
        self._said = scratch / f"{engine.name}.log"
        command = [environment_python(engine.environment), str(HERE / "peer_worker.py"), engine.name]
        with self._said.open("w") as log:
            self._process = subprocess.Popen(
                [*command, str(model), str(scratch)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=_offline(),
                start_new_session=True,  # so that signals reach the children that some libraries start
            )
        self.versions: dict[str, str] = self._answer()["versions"]
        self._signal(signal.SIGSTOP)

    def run(
        self,
        requests: list[list[str]],
        batch: int = 32,
        *,
        prompt: str = "",
        sort: bool = True,
        single: bool = False,
    ) -> tuple[list[float], Vectors]:
        """Return the seconds of each request and the vectors of all texts in order.

        Args:
            requests: texts that the engine sees together.
            batch: its inner batch size.
            prompt: what it puts before each text.
            sort: whether texts of a request may be reordered for engines that do not do so themselves.
            single: one text at a time, through the engine's call for one text.

        Raises:
            PeerError: the process ended or does not answer.
        """
        path = self._scratch / "requests.json"
        path.write_text(json.dumps(requests), encoding="utf-8")
        asked = {"requests": str(path), "batch": batch, "prompt": prompt, "sort": sort, "single": single}
        self._signal(signal.SIGCONT)
        try:
            answer = self._asked(asked)
        except PeerError as error:
            raise PeerError(f"{self.engine.name} {error}") from None
        self._signal(signal.SIGSTOP)
        return answer["seconds"], np.load(answer["vectors"])

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process and its children."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # a request that it did not read
                pipe.close()

    def _signal(self, kind: signal.Signals) -> None:
        if self._process.returncode is None:  # else its number may be another's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, kind)

    def _asked(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: the missing answer says so
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            said = self._said.read_text(encoding="utf-8", errors="replace")
            raise PeerError(
                f"could not be run: {_reason(said) if ready else f'no answer in {ANSWER_S:.0f} s'}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def _offline() -> dict[str, str]:
    """Return this environment's variables with the hubs switched off: every model is a folder."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def _reason(said: str) -> str:
    """Return the line of a failed program's output that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["it said nothing"])[-1]
