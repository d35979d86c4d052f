"""What this machine is: processor, cores, memory, instruction sets; read from the system when asked."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROCESSOR = "cpu"
"""The device of a model that runs on the processor."""

_ISA_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
_LIBRARIES = ("torch", "openvino", "numpy", "tokenizers")


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor that the engine runs on.

    Attributes:
        processor: its name.
        cores: cores that this process may use.
        isa: instruction sets that matter for matrix products.
        memory_bytes: size of the main memory.
    """

    processor: str
    cores: int
    isa: tuple[str, ...]
    memory_bytes: int

    @property
    def identity(self) -> str:
        """One line that a calibration is valid for."""
        return f"{self.processor}, {self.cores} cores, {' '.join(self.isa) or platform.machine()}"


def this_machine() -> Machine:
    """Return what the system says of this machine."""
    info = _cpu_info()
    flags = set(info.get("flags", info.get("Features", "")).split())
    return Machine(
        processor=info.get("model name") or platform.processor() or platform.machine(),
        cores=available_cores(),
        isa=tuple(flag for flag in _ISA_FLAGS if flag in flags),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def available_cores() -> int:
    """Return the number of cores that this process may keep busy: its affinity, less its control group's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(int(cores) for cores in _quotas())]))


def _quotas(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[float]:
    """Yield the quotas, in cores, of this process's control groups and of those that they are in; versions 1 and 2."""
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        # What the kernel calls "cpuacct,cpu" may be mounted the other way round, with a link of the plain name.
        mounted = root / (controllers if not controllers or (root / controllers).is_dir() else "cpu")
        group = mounted / path.strip("/")
        # A container may see its own group as the root, under the path that it has outside.
        for folder in {*([group, *group.parents] if group.is_dir() else []), mounted}:
            if folder.is_relative_to(root):
                with suppress(OSError, ValueError):
                    yield _quota(folder, "cpu.max") if not controllers else _quota(folder, "cpu.cfs_quota_us")


def _quota(folder: Path, file: str) -> float:
    """Return the cores of one group.

    Raises:
        OSError: it has no such file.
        ValueError: it has no quota.
    """
    quota, *period = (folder / file).read_text(encoding="utf-8").split()
    if not period:
        period = [(folder / "cpu.cfs_period_us").read_text(encoding="utf-8")]
    if not int(quota) > 0:
        raise ValueError(f"{folder / file}: {quota} is no quota")
    return int(quota) / int(period[0])


class OtherLoad:
    """What others take of the processors that this process may use: other processes, or a hypervisor."""

    def __init__(self, read: Callable[[], tuple[float, float, float]] | None = None) -> None:
        """Begin now.

        Args:
            read: seconds, from any start, that the processors were idle, in use, and in this process's and its
                children's; None for the system's.
        """
        self._read = read or _processor_seconds
        self._start = self._read()

    def share(self) -> float:
        """Return the share of the time since the start, 0 to 1; 0 where the system does not tell.

        What was idle could have been had, so it counts against what others used: where a quota keeps this process to
        a few of many processors, the others' use of the rest is no matter.
        """
        idle, used, own = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return min(1.0, max(0.0, used - own - idle) / (idle + used)) if idle + used > 0 else 0.0


def _processor_seconds(stat: Path = Path("/proc/stat")) -> tuple[float, float, float]:
    own = sum(os.times()[:4])
    try:
        lines = [line.split() for line in stat.read_text(encoding="ascii").splitlines()]
        names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        ticks = [list(map(int, counts[:8])) for name, *counts in lines if name in names]
        whole = sum(map(sum, ticks)) / os.sysconf("SC_CLK_TCK")
        idle = sum(one[3] + one[4] for one in ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0, 0.0, own
    return idle, whole - idle, own


def library_versions() -> Mapping[str, str]:
    """Return the versions of the libraries whose speed a calibration measures."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "absent"
    return versions


def _cpu_info() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if ":" in line)
    info: dict[str, str] = {}
    for key, _, value in pairs:
        info.setdefault(key.strip(), value.strip())
    return info
