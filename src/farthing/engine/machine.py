"""What this machine is: processor, cores, memory, instruction sets; read from the system when asked."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from farthing.engine.torch.cards import card_identity

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


def identity_of(device: str) -> str:
    """Return one line that a calibration of a device is valid for.

    Args:
        device: `PROCESSOR`, or a card as torch names it.
    """
    return this_machine().identity if device == PROCESSOR else card_identity(device)


def available_cores() -> int:
    """Return the number of cores that this process may keep busy: its affinity, less a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_cores()
    return allowed if quota is None else max(1, min(allowed, quota))


def _quota_cores(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Return the whole cores of a container's quota (cgroup v2), or None when there is no quota."""
    try:
        quota, period = path.read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) // int(period)
    except (OSError, ValueError):
        return None


def library_versions() -> Mapping[str, str]:
    """Return the versions of the libraries whose speed a calibration measures."""
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
