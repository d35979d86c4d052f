"""The device under test: its clock, its memory and its profiler. All that needs CUDA itself is here.

On a CPU the same calls are answered by the host's clock and torch's own operations, so that everything else runs.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from farthing.engine.machine import this_machine
from farthing.engine.torch.recorded import cuda_graphs

Work = Callable[[], Any]

_COPY_BYTES = {"cuda": 2 << 30, "cpu": 32 << 20}
_MOST_TIMES = 1000
_SLOW_S, _SLOW_TURNS = 0.2, 3
"""A work that takes so long is measured in no more turns than that: device time is dear."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the profiler: its name, its seconds, and how often it ran, in one round of the work."""

    name: str
    seconds: float
    launches: float


class Device:
    """A CUDA device, or the CPU that stands for one at toy sizes."""

    def __init__(self, device: torch.device) -> None:
        self.torch, self.cuda = device, device.type == "cuda"

    @property
    def name(self) -> str:
        """The device's own name."""
        return torch.cuda.get_device_name(self.torch) if self.cuda else this_machine().processor

    @property
    def facts(self) -> dict[str, Any]:
        """What a result must say of the device."""
        facts: dict[str, Any] = {"type": self.torch.type, "name": self.name}
        if self.cuda:
            properties = torch.cuda.get_device_properties(self.torch)
            facts |= {
                "memory_bytes": properties.total_memory,
                "multiprocessors": properties.multi_processor_count,
                "compute_capability": f"{properties.major}.{properties.minor}",
            }
        return facts

    @property
    def memory_bytes(self) -> int | None:
        """Size of the device's memory; None on a CPU, whose memory nothing here is bounded by."""
        return torch.cuda.get_device_properties(self.torch).total_memory if self.cuda else None

    def free_bytes(self) -> int | None:
        """Return what of it is free; None on a CPU."""
        if not self.cuda:
            return None
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self.torch)[0]

    def finish(self) -> None:
        """Wait until all that was launched has run."""
        if self.cuda:
            torch.cuda.synchronize(self.torch)

    def recorded(self, work: Work) -> Work:
        """Return the work as a CUDA graph, so that no launch is waited for; as it is on a CPU."""
        if not self.cuda:
            return work
        stream: Any = torch.cuda.Stream(self.torch)  # type: ignore[no-untyped-call]
        self.finish()
        with torch.cuda.stream(stream):
            replay = cuda_graphs(stream)(work)
        self.finish()
        return replay

    def elapsed_s(self, work: Work, times: int = 1) -> float:
        """Return the device's seconds of one `work`, done `times` times without a pause."""
        if not self.cuda:
            return self.wall_s(work, times)
        event: Any = torch.cuda.Event
        start, end = event(enable_timing=True), event(enable_timing=True)
        start.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1e3 / times

    def wall_s(self, work: Work, times: int = 1) -> float:
        """Return the host's seconds of one `work`, done `times` times, until the device has finished."""
        self.finish()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self.finish()
        return (time.perf_counter() - start) / times

    def medians(
        self, works: Mapping[str, Work], *, rounds: int, least_s: float, wall: bool = False
    ) -> dict[str, float]:
        """Return the median seconds of each work, all of them measured in turns so that none has the cool card.

        Args:
            works: by name. Each is done once before it is measured.
            rounds: turns.
            least_s: how long a work is repeated in its turn, at least.
            wall: by the host's clock instead of the device's.
        """
        clock = self.wall_s if wall else self.elapsed_s
        times, turns = {}, {}
        for name, work in works.items():
            work()
            self.finish()
            once = clock(work)
            times[name] = max(1, min(_MOST_TIMES, math.ceil(least_s / once)))
            turns[name] = rounds if once < _SLOW_S else min(rounds, _SLOW_TURNS)
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(rounds):
            for name, work in works.items():
                if turn < turns[name]:
                    seconds[name].append(clock(work, times[name]))
        return {name: statistics.median(found) for name, found in seconds.items()}

    def median_s(self, work: Work, *, rounds: int, least_s: float, wall: bool = False) -> float:
        """Return the median seconds of one work; as `medians`."""
        return self.medians({"": work}, rounds=rounds, least_s=least_s, wall=wall)[""]

    def peak_bytes(self, work: Work) -> int | None:
        """Return the most memory that torch held while a work ran, weights included; None on a CPU."""
        if not self.cuda:
            work()
            return None
        self.finish()
        torch.cuda.reset_peak_memory_stats(self.torch)
        work()
        self.finish()
        return torch.cuda.max_memory_allocated(self.torch)

    def copy_bytes_per_s(self) -> float:
        """Return the bytes per second of a copy inside the device's memory, reads and writes counted."""
        count = _COPY_BYTES[self.torch.type] // 4
        source = torch.randn(count, device=self.torch)
        target = torch.empty_like(source)
        seconds = self.median_s(lambda: target.copy_(source), rounds=5, least_s=0.01)
        return 2 * 4 * count / seconds

    def kernels(self, work: Work, times: int) -> list[Kernel]:
        """Return what one round of a work ran on the device, longest first: kernels, or torch's operations on a CPU."""
        from torch.profiler import ProfilerActivity, profile

        work()
        self.finish()
        own = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if self.cuda else [ProfilerActivity.CPU]
        with profile(activities=own) as profiler:
            for _ in range(times):
                work()
            self.finish()
        found = []
        for event in profiler.key_averages():
            here = event.device_type.name == ("CUDA" if self.cuda else "CPU")
            # Annotations span the kernels that they name and would count them twice.
            if not here or event.is_user_annotation:
                continue
            spent_us = event.self_device_time_total if self.cuda else event.self_cpu_time_total
            if spent_us > 0:
                found.append(Kernel(event.key, spent_us / 1e6 / times, event.count / times))
        return sorted(found, key=lambda kernel: -kernel.seconds)
