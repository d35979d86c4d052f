"""Graphics cards of this machine: which are meant, what they are, how fast they copy. Imports torch when asked."""

from __future__ import annotations

import time
from typing import Any

from farthing.errors import InputError, MissingExtraError

_COPY_BYTES = 1_000_000_000
_COPIES = 8


def card_names(device: str) -> tuple[str, ...]:
    """Return the cards that a name means, as torch names them.

    Args:
        device: `cuda` for the first card, `cuda:1`, `cuda:0,1`, or `cuda:all`.

    Raises:
        InputError: the name is not of that form, or a card is not here.
        MissingExtraError: torch is not installed.
    """
    _, _, which = device.partition(":")
    parts = which.split(",") if which else ["0"]
    if which != "all" and not (device.startswith("cuda") and all(part.isdecimal() for part in parts)):
        raise InputError(f"device {device!r}: write cuda, cuda:1, cuda:0,1 or cuda:all")
    here = _torch().cuda.device_count()
    numbers = list(range(here)) if which == "all" else [int(part) for part in parts]
    missing = [number for number in numbers if number >= here]
    if missing or not numbers:
        raise InputError(
            f"device {device!r}: torch sees {here} CUDA cards here; is the driver there, and torch built for CUDA?"
        )
    if len(set(numbers)) < len(numbers):
        raise InputError(f"device {device!r}: names a card twice")
    return tuple(f"cuda:{number}" for number in numbers)


def card_identity(name: str) -> str:
    """Return one line that a calibration of a card is valid for; it is the same for cards of a kind."""
    torch = _torch()
    seen = torch.cuda.get_device_properties(name)
    return (
        f"{seen.name}, {seen.total_memory / 2**30:.0f} GiB, compute {seen.major}.{seen.minor}, "
        f"CUDA {torch.version.cuda}"
    )


def copy_bandwidth(name: str, size_bytes: int = _COPY_BYTES) -> float:
    """Return bytes per second of copies within a device's memory, reads and writes counted; best of five.

    Args:
        name: as torch names it.
        size_bytes: of what is copied; far larger than the caches.
    """
    torch = _torch()
    source = torch.ones(size_bytes // 4, device=name)
    target = torch.empty_like(source)
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(_COPIES):
            target.copy_(source)
        if torch.device(name).type == "cuda":
            torch.cuda.synchronize(name)
        rates.append(2 * size_bytes * _COPIES / (time.perf_counter() - start))
    return max(rates)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "gpu", "running on a card") from error
    return torch
