"""How many cores a process may keep busy: its affinity, and the quotas of its control groups, of both versions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.engine import machine
from farthing.engine.machine import OtherLoad, _quotas, available_cores, library_versions, this_machine

Groups = Callable[[str, Mapping[str, str]], list[float]]


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    """Return what lays control groups out and gives the quotas that are found, sorted.

    Its arguments are the process's own groups, as in /proc/self/cgroup, and files under /sys/fs/cgroup by name.
    """

    def lay_out(own: str, files: Mapping[str, str]) -> list[float]:
        root = tmp_path / "cgroup"
        root.mkdir()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        (tmp_path / "self").write_text(own)
        return sorted(_quotas(root, tmp_path / "self"))

    return lay_out


V2 = "0::/\n"
DEEP = "0::/kubepods.slice/pod.slice/container.scope\n"
POD = "kubepods.slice/pod.slice"


@pytest.mark.parametrize(
    ("own", "files", "found"),
    [
        (V2, {"cpu.max": "150000 100000\n"}, [1.5]),
        (V2, {"cpu.max": "max 100000\n"}, []),
        (V2, {"cpu.max": "400000\n"}, []),  # not as it is ever written
        (V2, {"cpu.max": ""}, []),
        (V2, {"cpu.max": "many of them\n"}, []),
        (V2, {}, []),
        # A service of its own, seen from outside: whichever group is tightest counts.
        (DEEP, {f"{POD}/container.scope/cpu.max": "200000 100000\n"}, [2.0]),
        (
            DEEP,
            {f"{POD}/cpu.max": "300000 100000\n", f"{POD}/container.scope/cpu.max": "max 100000\n"},
            [3.0],
        ),
        (
            DEEP,
            {f"{POD}/cpu.max": "50000 100000", f"{POD}/container.scope/cpu.max": "400000 100000"},
            [0.5, 4.0],
        ),
        (DEEP, {"cpu.max": "100000 100000", f"{POD}/container.scope/cpu.max": "max 100000"}, [1.0]),
        # In a container that sees its own group as the root, under the path that it has outside.
        ("0::/docker/0123\n", {"cpu.max": "250000 100000\n"}, [2.5]),
        ("0::/../../other\n", {"cpu.max": "250000 100000\n"}, [2.5]),
        # Version 1.
        (
            "4:cpu,cpuacct:/docker/0123\n3:memory:/docker/0123\n",
            {
                "cpu,cpuacct/docker/0123/cpu.cfs_quota_us": "150000\n",
                "cpu,cpuacct/docker/0123/cpu.cfs_period_us": "50000\n",
                "memory/docker/0123/cpu.cfs_quota_us": "1\n",
                "memory/docker/0123/cpu.cfs_period_us": "1\n",
            },
            [3.0],
        ),
        (
            "4:cpu,cpuacct:/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            [],
        ),
        (
            "4:cpu:/a/b\n",
            {
                "cpu/a/b/cpu.cfs_quota_us": "-1\n",
                "cpu/a/b/cpu.cfs_period_us": "100000\n",
                "cpu/a/cpu.cfs_quota_us": "200000\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
            },
            [2.0],
        ),
        (
            "4:cpu:/docker/0123\n",
            {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            [1.0],
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100000\n"}, []),
        # The kernel names the controllers in another order than the folder that they are mounted at.
        (
            "4:cpuacct,cpu:/docker/0123\n",
            {
                "cpu/docker/0123/cpu.cfs_quota_us": "150000\n",
                "cpu/docker/0123/cpu.cfs_period_us": "100000\n",
            },
            [1.5],
        ),
        # Both versions side by side.
        (
            "1:cpu:/x\n0::/x\n",
            {
                "cpu/x/cpu.cfs_quota_us": "200000",
                "cpu/x/cpu.cfs_period_us": "100000",
                "unified/x/cgroup.procs": "",
            },
            [2.0],
        ),
    ],
)
def test_quotas(groups: Groups, own: str, files: Mapping[str, str], found: list[float]) -> None:
    assert groups(own, files) == found


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert list(_quotas(tmp_path / "cgroup", tmp_path / "self")) == []


@given(st.integers(1, 64), st.lists(st.floats(0.01, 100), max_size=4))
def test_the_tightest_counts_in_whole_cores(allowed: int, quotas: list[float]) -> None:
    def found() -> Iterator[float]:
        yield from quotas

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)))
        monkeypatch.setattr(machine, "_quotas", found)
        cores = available_cores()
        assert cores == this_machine().cores
    assert 1 <= cores <= allowed
    assert all(cores <= max(1, quota) for quota in quotas)
    assert cores == allowed or cores == 1 or any(int(quota) == cores for quota in quotas)


def test_where_no_affinity_is_told_all_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(machine, "_quotas", lambda: iter(()))
    assert available_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_this_machine() -> None:
    here = this_machine()
    assert here.processor
    assert here.memory_bytes > 10**8
    assert f"{here.cores} cores" in here.identity
    assert set(library_versions()) == {"torch", "openvino", "numpy", "tokenizers"}


@pytest.mark.parametrize(
    ("idle", "used", "own", "share"),
    [
        (1, 9, 9, 0.0),
        (0, 10, 5, 0.5),
        (1, 9, 4, 0.4),
        (50, 50, 2, 0.0),  # a quota of few of many processors
        (0, 10, 12, 0.0),  # clocks that disagree
        (0, 0, 0, 0.0),  # a system that does not tell
    ],
)
def test_what_others_use(idle: float, used: float, own: float, share: float) -> None:
    readings = iter([(100.0, 100.0, 1.0), (100.0 + idle, 100.0 + used, 1.0 + own)])
    assert OtherLoad(lambda: next(readings)).share() == pytest.approx(share)


def test_loops_beside_this_process_are_seen() -> None:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(available_cores())]
    try:
        others, end = OtherLoad(), time.perf_counter() + 1.0
        while time.perf_counter() < end:
            pass
        assert others.share() > 0.2
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
