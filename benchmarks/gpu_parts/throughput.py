"""Many steps through a replica as the engine runs them, beside sentence-transformers; and what that is as an MFU."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from farthing.engine.contract import Ids, Lane
from farthing.engine.torch.engine import TorchEngine
from farthing.theory.time.roofline import mfu
from farthing.theory.work import WorkCounter
from gpu_parts.models import Subject

Found = TypeVar("Found")


def steps_s(engine: TorchEngine, steps: Sequence[Sequence[Ids]]) -> float:
    """Return the wall seconds of some steps, from token ids to vectors on the host, on the engine's lanes."""
    left = deque(steps)

    def drain(lane: Lane) -> None:
        while True:
            try:
                texts = left.popleft()
            except IndexError:
                return
            lane.run(texts)

    lanes = [engine.lane() for _ in range(engine.lanes)]
    with ThreadPoolExecutor(len(lanes)) as pool:
        start = time.perf_counter()
        list(pool.map(drain, lanes))
        return time.perf_counter() - start


def ours(subject: Subject, texts: Sequence[Ids], seconds: float, peak: float) -> dict[str, Any]:
    """Return throughput and MFU of our pass over some texts.

    `mfu` counts the useful FLOPs, those of the last layer that trimming saves among them; `mfu_executed` does not.
    """
    trim = subject.pooling in ("cls", "last_token")
    work = WorkCounter(subject.shape, trim=trim).step([len(text) for text in texts]).total
    return {
        "tokens": work.useful_tokens,
        "seconds": seconds,
        "tokens_per_s": work.useful_tokens / seconds,
        "mfu": mfu(work.useful_flops, seconds, peak),
        "mfu_executed": mfu(work.executed_flops, seconds, peak),
    }


def theirs(
    subject: Subject, texts: Sequence[Ids], seconds: float, peak: float, ours_s: float
) -> dict[str, Any]:
    """Return throughput and MFU of their pass, and how many times as fast ours is."""
    work = WorkCounter(subject.shape, trim=False).step([len(text) for text in texts]).total
    return {
        "seconds": seconds,
        "tokens_per_s": work.useful_tokens / seconds,
        "mfu": mfu(work.useful_flops, seconds, peak),
        "farthing_speedup": seconds / ours_s,
    }


def if_it_fits(work: Callable[[], Found]) -> Found | None:
    """Return what a work gives, or None where the device's memory does not hold it."""
    try:
        return work()
    except torch.OutOfMemoryError:
        found = None
    torch.cuda.empty_cache()  # where the error no longer holds on to the memory
    return found
