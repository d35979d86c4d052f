"""A server as people start it: a process of its own, on a port that was free."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

EXECUTABLE = str(Path(sys.executable).with_name("farthing"))
MODEL = "all-MiniLM-L6-v2"


class Server(NamedTuple):
    """A running server."""

    url: str
    process: subprocess.Popen[str]
