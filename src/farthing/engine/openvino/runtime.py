"""OpenVINO's library, and what it raises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from farthing.errors import EngineError, MissingExtraError

_TELEMETRY = "openvino_telemetry"


def import_openvino() -> Any:
    """Return the openvino module, which then reports nobody's use of it.

    When it is first imported it would fork a child that sends a report over the network. It does without where the
    package that does so is absent: so it finds none.

    Raises:
        MissingExtraError: it is not installed.
    """
    hidden = "openvino" not in sys.modules and _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # what import takes for absent
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "cpu", "the engine") from error
    finally:
        if hidden:
            sys.modules.pop(_TELEMETRY, None)
    return openvino


@contextmanager
def openvino_errors(what: str) -> Iterator[None]:
    """Turn what the library raises into ours.

    Args:
        what: what was being done, as it stands at the start of a sentence.

    Raises:
        EngineError: OpenVINO refused; its first line says why.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, EngineError):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EngineError(f"{what} failed in OpenVINO: {lines[-1] if lines else error!r}") from error
