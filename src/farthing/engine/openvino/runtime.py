"""OpenVINO's library, and what it raises."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from farthing.errors import EngineError, MissingExtraError

_TELEMETRY = "openvino_telemetry"

_PRIMITIVES, _PRIMITIVES_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"
"""Kernels that the library below OpenVINO keeps: 1,024 otherwise, which take 45 MB more over 400 shapes of steps and
bring little. It reads that once, from the environment, when the first graph is compiled; so one is, before any lane
runs, and the variable is taken back: another copy of that library in this process, torch's, keeps what it has."""

_importing = Lock()


def import_openvino() -> Any:
    """Return the openvino module, which then reports nobody's use of it.

    When it is first imported it would fork a child that sends a report over the network. It does without where the
    package that does so is absent: so it finds none.

    Raises:
        MissingExtraError: it is not installed.
    """
    with _importing:
        first = "openvino" not in sys.modules
        hidden = first and _TELEMETRY not in sys.modules
        if hidden:
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # what import takes for absent
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError("openvino", "cpu", "the engine") from error
        finally:
            if hidden:
                sys.modules.pop(_TELEMETRY, None)
        if first and _PRIMITIVES not in os.environ:  # else it is the user's own choice
            os.environ[_PRIMITIVES] = _PRIMITIVES_KEPT
            try:
                _compile_something(openvino)
            finally:
                del os.environ[_PRIMITIVES]
        return openvino


def _compile_something(openvino: Any) -> None:
    op = openvino.opset13
    one = np.ones((1, 1), np.float32)
    given = op.parameter([1, 1], np.float32)
    graph = openvino.Model([op.result(op.matmul(given, op.constant(one), False, True))], [given])
    openvino.Core().compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1})


@contextmanager
def openvino_errors(what: str) -> Iterator[None]:
    """Turn what the library raises into ours.

    Args:
        what: what was being done, as it stands at the start of a sentence.

    Raises:
        EngineError: OpenVINO refused; its last line says why.
    """
    try:
        yield
    except EngineError:
        raise
    except RuntimeError as error:
        raise engine_error(what, error) from error


def engine_error(what: str, error: RuntimeError) -> EngineError:
    """Return ours for what the library raised; its last line says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return EngineError(f"{what} failed in OpenVINO: {lines[-1] if lines else repr(error)}")
