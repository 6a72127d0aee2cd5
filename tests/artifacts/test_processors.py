"""The processor time and memory that a process may use, from the files that Linux tells it in."""

import os
from pathlib import Path

import numpy as np
import pytest

from quire.artifacts import processors as module
from quire.artifacts.processors import limit_threads, memory, memory_in_use, processors


def files(folder: Path, contents: dict[str, str]) -> Path:
    """Control groups, and which of them this process is in."""
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


def tell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, membership: str, groups: dict[str, str]
) -> None:
    """Let this process be in control groups."""
    monkeypatch.setattr(module, "_GROUPS", files(folder / "groups", groups))
    monkeypatch.setattr(module, "_MEMBERSHIP", files(folder, {"cgroup": membership}) / "cgroup")


@pytest.mark.parametrize(
    ("membership", "groups", "expected"),
    [
        ("0::/", {"cpu.max": "250000 100000"}, 3),  # version 2, as a container sees it
        ("0::/", {"cpu.max": "max 100000"}, 64),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"a/b/cpu.max": "500000 100000", "a/cpu.max": "900000 100000"}, 5),
        (  # version 1
            "3:cpu,cpuacct:/job\n0::/",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "400000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            "1:cpu:/job/step",
            {
                "cpu/job/cpu.cfs_quota_us": "150000",
                "cpu/job/cpu.cfs_period_us": "50000",
                "cpu/job/step/cpu.cfs_quota_us": "-1",
                "cpu/job/step/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (  # a container without a namespace is told the host's path, and sees its own root
            "4:cpuacct,cpu:/docker/0123",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("0::/", {"cpu.max": "nonsense"}, 64),
        ("nonsense", {}, 64),
    ],
)
def test_the_least_of_what_is_allowed(
    membership: str,
    groups: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell(tmp_path, monkeypatch, membership, groups)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert processors() == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    assert processors() == 1


def test_where_nothing_tells_it_is_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMBERSHIP", Path("/nothing"))
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert processors() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1


@pytest.mark.parametrize(
    ("membership", "groups", "expected"),
    [
        ("0::/", {"memory.max": "1500000000"}, 4096 * 1000),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "300"}, 300),
        ("4:memory:/job\n0::/", {"memory/job/memory.limit_in_bytes": "400"}, 400),
        ("4:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 4096 * 1000),
        ("0::/", {"memory.max": "nonsense"}, 4096 * 1000),
        ("nonsense", {}, 4096 * 1000),
    ],
)
def test_memory_is_the_least_of_what_there_is_and_what_is_allowed(
    membership: str,
    groups: dict[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell(tmp_path, monkeypatch, membership, groups)
    there = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", there.__getitem__)
    assert memory() == expected


def test_threads_are_limited_where_there_is_a_limit_and_nobody_has_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GROUPS", files(tmp_path, {"cpu.max": "200000 100000"}))
    monkeypatch.setattr(module, "_MEMBERSHIP", files(tmp_path, {"cgroup": "0::/"}) / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "2"
    (tmp_path / "cpu.max").write_text("max 100000")
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    assert "OMP_NUM_THREADS" not in os.environ


def test_memory_in_use_grows_with_what_is_held() -> None:
    before = memory_in_use()
    held = np.ones(50_000_000, np.uint8)
    assert 40_000_000 < memory_in_use() - before < 90_000_000
    del held
    assert memory_in_use() < memory()
