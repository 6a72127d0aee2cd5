"""How many processors, and how much memory, this process may use.

A container's limit is mostly one of processor time, not of processors. joblib reads that limit at
the root of the control groups alone, Dask at the process's own group; it may be set at any group
between the two, and the least of them holds.
"""

import os
import resource
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_PAGES = Path("/proc/self/statm")


def processors() -> int:
    """Processors whose time this process may use, at least 1.

    The least of: those of the machine, those that the process may run on, and the quotas of
    processor time of its control groups (Linux, version 1 and 2), rounded up.
    """
    if hasattr(os, "sched_getaffinity"):  # Linux
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *(ceil(share) for share in _quotas(_GROUPS, _MEMBERSHIP))]))


def memory() -> int:
    """Bytes of memory that this process may use, with what is cached of its files.

    The least of: that of the machine, and the limits of its control groups (Linux, version 1 and
    2).
    """
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = _limits(_GROUPS, _MEMBERSHIP)
    return min([whole, *limits])


def memory_in_use() -> int:
    """Bytes of memory that this process holds, without files that it has mapped.

    Where the system does not tell (it is not Linux), the most that it ever held.
    """
    if text := _read(_PAGES):
        _, resident, shared, *_ = map(int, text.split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def limit_threads() -> None:
    """Let libraries that count processors for themselves use no more than this process may.

    They know which processors it may run on, but not how much of their time: torch in a container
    of 2 processors on a host of 64 would take 64 threads. To be called before they are imported;
    who has set OMP_NUM_THREADS has chosen.
    """
    allowed = processors()
    if allowed < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(allowed))


def _quotas(groups: Path, membership: Path) -> Iterator[float]:
    """The processor time a second that each control group of this process may use, where limited.

    Args:
        groups: where control groups are mounted.
        membership: the file that names the groups of this process.
    """
    for group, version in _own_groups(groups, membership, "cpu"):
        yield from _quota(group, version)


def _limits(groups: Path, membership: Path) -> Iterator[int]:
    """The memory that each control group of this process may use, where limited."""
    for group, version in _own_groups(groups, membership, "memory"):
        number = _read(group / ("memory.max" if version == 2 else "memory.limit_in_bytes")).strip()
        if number.isdigit():
            yield int(number)  # else "max", or no such file


def _own_groups(groups: Path, membership: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The control groups of this process that a controller limits, and their version.

    Args:
        groups: where control groups are mounted.
        membership: the file that names the groups of this process.
        controller: what is limited.
    """
    for line in _read(membership).splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            mounted, version = groups, 2
        elif controller in controllers.split(","):
            mounted, version = groups / controllers, 1
            mounted = mounted if mounted.is_dir() else groups / controller
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for group in (inner, *inner.parents):
            yield mounted / group, version


def _quota(group: Path, version: int) -> Iterator[float]:
    """The quota of one group, or nothing where it has none."""
    if version == 2:
        numbers = _read(group / "cpu.max").split()
    else:
        numbers = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(numbers) == 2 and all(number.isdigit() and int(number) for number in numbers):
        yield int(numbers[0]) / int(numbers[1])  # else "max", -1, or no such file


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
