"""Graphics cards of this machine: which one is meant, what it is, how fast it copies. Imports torch when asked."""

from __future__ import annotations

import time
from typing import Any

import numpy.typing as npt

from farthing.errors import InputError, MissingExtraError

_COPY_BYTES = 1_000_000_000
_COPIES = 8


def card_name(device: str) -> str:
    """Return the card that a name means, as torch names it.

    Args:
        device: `cuda` for the first card, or `cuda:1`.

    Raises:
        InputError: the name is not of that form, means several cards, or a card that is not here.
        MissingExtraError: torch is not installed.
    """
    kind, colon, which = device.partition(":")
    if "," in which or which == "all":
        raise InputError(
            f"device {device!r}: a process runs one card; start one process for each, with device='cuda:0', 'cuda:1' "
            "and so on, or with its own CUDA_VISIBLE_DEVICES"
        )
    if kind != "cuda" or (colon and not which.isdecimal()):
        raise InputError(f"device {device!r}: write cuda, or cuda:1")
    here, number = _torch().cuda.device_count(), int(which or 0)
    if number >= here:
        raise InputError(
            f"device {device!r}: torch sees {here} CUDA cards here; is the driver there, and torch built for CUDA?"
        )
    return f"cuda:{number}"


def card_identity(name: str) -> str:
    """Return one line that a calibration of a card is valid for; it is the same for cards of a kind."""
    seen = (torch := _torch()).cuda.get_device_properties(name)
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


def as_tensor(values: npt.NDArray[Any]) -> Any:
    """Return a torch tensor over the memory of an array.

    Raises:
        MissingExtraError: torch is not installed.
    """
    return _torch("convert_to_tensor").from_numpy(values)


def _torch(purpose: str = "running on a card") -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "gpu", purpose) from error
    return torch
