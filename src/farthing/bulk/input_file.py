"""Opens a file that the user named, or says in one line why that cannot be."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from farthing.bulk.records import shown
from farthing.errors import InputError


def open_input(path: str) -> BinaryIO:
    """Open a regular file for reading, in bytes.

    Raises:
        InputError: it is missing, a folder, not a regular file, or cannot be read.
    """
    try:
        # Before open(): opening a named pipe would block until somebody writes to it.
        mode = Path(path).stat().st_mode
        stream = Path(path).open("rb") if stat.S_ISREG(mode) else None  # noqa: SIM115 (returned)
    except FileNotFoundError:
        raise InputError(f"{shown(path)}: no such file; check the path") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:  # a NUL in it
        raise InputError(f"{shown(path)}: is no path; check it") from None
    if stream is not None:
        return stream
    if stat.S_ISDIR(mode):
        raise InputError(f"{shown(path)}: is a folder; name a file in it")
    raise InputError(f"{shown(path)}: is not a regular file; pipe it in and name the input -")


def unreadable(path: str, error: OSError) -> InputError:
    """Return the error for a file that the system does not let us read."""
    reason = error.strerror or type(error).__name__
    return InputError(f"{shown(path)}: cannot be read ({reason}); check the file")
