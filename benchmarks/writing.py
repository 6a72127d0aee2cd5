"""How fast shards are written, beside wds.ShardWriter and Python's tarfile.

    python -m benchmarks.writing --out writing.json

Each writer gets the same samples in memory, and what it wrote is read back and compared. All write
over a file that is in the page cache, for finding fresh pages can take a kernel longer than all the
rest. Ours takes the sha256 of every byte on its way. `to the disk` is the whole of what a build
does with a shard: it goes into a new file, to the disk, and only then gets its name; what the
others do not do, so the row to hold against them is the one without.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tyro
import webdataset as wds

from benchmarks.timing import Contender, Run, Table, measure, write_report
from quire.artifacts.digest import whole_file
from quire.artifacts.members import class_ids
from quire.artifacts.shards import Payloads, Samples, write_shard

_RUN = 256  # samples handed over at once, as a build does
_SHARD_WRITER = "wds.ShardWriter"

Write: TypeAlias = Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the same samples by each writer, and print how many samples a second it took."""

    out: Path | None = None
    """Also write all that was measured as JSON."""
    small: int = 20_000
    """Samples of 3 KB."""
    large: int = 2_000
    """Samples of 100 KB."""
    rounds: int = 5
    """Runs of each writer; the first is kept apart."""


@dataclass(frozen=True, slots=True)
class Work:
    """Samples of two members each: files of one size, as an array and one by one, and class ids."""

    keys: Sequence[str]
    array: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    files: Sequence[bytes]
    classes: Sequence[bytes]


def work(count: int, size: int) -> Work:
    """Samples of some bytes each; what the bytes are makes no difference to any writer."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (count, size), dtype=np.uint8)
    keys = [f"{i:08d}" for i in range(count)]
    files = [row.tobytes() for row in array]
    return Work(keys, array, files, class_ids(rng.integers(0, 10, count)))


def runs(work: Work, payloads: Payloads) -> Iterator[Samples]:
    """The samples some at a time, as a build makes them."""
    for start in range(0, len(work.keys), _RUN):
        run = slice(start, start + _RUN)
        yield Samples(work.keys[run], {"ppm": payloads[run], "cls": work.classes[run]})


def ours(work: Work, payloads: Payloads, path: Path) -> None:
    """This project's writer."""
    with path.open("r+b") as file:
        write_shard(file, path.name, runs(work, payloads))


def ours_to_the_disk(work: Work, payloads: Payloads, path: Path) -> None:
    """This project's writer as a build uses it."""
    with whole_file(path) as file:
        write_shard(file, path.name, runs(work, payloads))


def by_tarfile(work: Work, path: Path) -> None:
    """Python's tarfile, without PAX headers."""
    with (
        path.open("r+b") as over,
        tarfile.open(fileobj=over, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for key, file, label in zip(work.keys, work.files, work.classes, strict=True):
            for extension, data in (("cls", label), ("ppm", file)):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def by_shard_writer(work: Work, path: Path) -> None:
    """Webdataset's writer; bytes are not encoded."""
    limits = {"maxcount": len(work.keys), "maxsize": 1 << 62}
    with wds.ShardWriter("%d", opener=lambda _: path.open("r+b"), verbose=0, **limits) as writer:
        for key, file, label in zip(work.keys, work.files, work.classes, strict=True):
            writer.write({"__key__": key, "cls": label, "ppm": file})


def table(title: str, work: Work, scratch: Path, rounds: int) -> Table:
    """Time each writer on the same samples."""
    writers: dict[str, Write] = {
        "ours, from an array": partial(ours, work, work.array),
        "ours, from files": partial(ours, work, work.files),
        "ours, from files, to the disk": partial(ours_to_the_disk, work, work.files),
        "tarfile, USTAR": partial(by_tarfile, work),
        _SHARD_WRITER: partial(by_shard_writer, work),
    }
    path = scratch / "shard.tar"
    path.touch()
    for name, write in writers.items():
        write(path)
        if not _is_there(work, path):
            raise RuntimeError(f"{name} wrote other samples")
    contenders = [
        Contender(name, partial(_writing, write, path, len(work.keys)))
        for name, write in writers.items()
    ]
    timings = measure(contenders, rounds=rounds)
    return Table(title, timings, (_SHARD_WRITER,), bytes_per_sample=work.array.shape[1])


def _writing(write: Write, path: Path, count: int) -> Run:
    def run() -> int:
        write(path)
        return count

    return run


def _is_there(work: Work, path: Path) -> bool:
    """Whether a tar holds the samples, by Python's own reader."""
    with tarfile.open(path) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    pairs = zip(work.keys, work.files, work.classes, strict=True)
    return found == {
        f"{key}.{extension}": data
        for key, file, label in pairs
        for extension, data in (("cls", label), ("ppm", file))
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Make the tables, and print each as soon as it is there."""
    options = tyro.cli(Options, args=argv)
    tables = []
    with tempfile.TemporaryDirectory() as scratch:
        for count, size, said in (
            (options.small, 3085, "3 KB"),
            (options.large, 100_000, "100 KB"),
        ):
            title = f"writing {count:,} samples of {said}"
            tables.append(table(title, work(count, size), Path(scratch), options.rounds))
            print(tables[-1])
    if options.out:
        write_report(options.out, tables)


if __name__ == "__main__":
    main()
