"""Files that travel between a folder and an address, several at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

from quire.artifacts.manifest import File
from quire.artifacts.shards import Shard

AnyFile: TypeAlias = Shard | File
Report = Callable[[int, int], None]  # bytes that are there so far, bytes in all
Count = Callable[[int], None]  # of bytes that came or went


@dataclass(frozen=True, slots=True)
class Transfer:
    """Which files of a bundle travel, and which were there already."""

    moved: tuple[AnyFile, ...]
    kept: tuple[AnyFile, ...]

    @property
    def bytes(self) -> int:
        """That travel."""
        return sum(file.bytes for file in self.moved)

    def __str__(self) -> str:
        return (
            f"{len(self.moved):,} files, {self.bytes:,} bytes;"
            f" {len(self.kept):,} files, {sum(file.bytes for file in self.kept):,} bytes"
            " are there already"
        )


def carry_out(
    transfer: Transfer,
    jobs: Sequence[Callable[[Count], None]],
    report: Report | None,
    *,
    at_a_time: int = 16,
) -> None:
    """Move what travels, and tell how many bytes of all are there.

    After the first error no further job is begun.

    Args:
        transfer: what travels.
        jobs: what moves all of it; each counts the bytes that it moved.
        report: called with the bytes that are there, and how many there will be.
        at_a_time: jobs.

    Raises:
        BundleError: from a job.
    """
    done = sum(file.bytes for file in transfer.kept)
    total = done + transfer.bytes
    lock = Lock()

    def count(size: int) -> None:
        nonlocal done
        with lock:
            done += size
            if report is not None:
                report(done, total)

    count(0)
    with ThreadPoolExecutor(at_a_time) as pool:
        try:
            futures = [pool.submit(job, count) for job in jobs]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def sort_out(files: Sequence[AnyFile], there: Callable[[AnyFile], bool]) -> Transfer:
    """Which of some files travel, and which are there; looking may take its time."""
    with ThreadPoolExecutor() as pool:
        found = [*pool.map(there, files)]
    return Transfer(
        tuple(file for file, is_there in zip(files, found, strict=True) if not is_there),
        tuple(file for file, is_there in zip(files, found, strict=True) if is_there),
    )
