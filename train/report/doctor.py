"""What a machine and a bundle are, how fast one reads the other, and what to do about it.

The text is made to be pasted into a report of a problem: it names no user, host, or path.
"""

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from quire.artifacts.address import Address, place_of
from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.lock import is_held
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.members import IMAGES, RAW_IMAGE
from quire.artifacts.processors import memory, processors
from quire.loaders.decode import decode
from quire.loaders.stream import stream

_LIBRARIES = (
    *("numpy", "torch", "torchvision", "h5py", "opencv-python-headless", "pillow", "numba"),
    *("scipy", "simplejpeg", "isal", "fsspec", "dask", "distributed", "webdataset"),
)
_SHARED = Path("/dev/shm")  # of processes, on Linux
_SMALL_SHARED = 1 << 28  # bytes; a container has 64 MiB unless one asks for more
_SCARCE = 0.05  # of a disk
_STOPPED = {  # folders of what was begun in a bundle's own
    ".building": "a build was stopped here; the same command again goes on with it",
    ".pulling": "a pull was stopped here; the same command again goes on with it",
}
_COMPRESSED = {*IMAGES} - {*RAW_IMAGE.values()}
_BATCH = 256
_DECODED = 256  # samples
_READ = 1 << 27  # bytes


def doctor(bundle: str | os.PathLike[str] | None, *, seconds: float = 3) -> Iterator[str]:
    """Lines about this machine, and about a bundle and how fast it is read here.

    Args:
        bundle: a folder, complete or not, or an address; None for the machine alone.
        seconds: for how long the bundle is streamed.
    """
    advice: list[str] = []
    yield from _machine(advice)
    if bundle is not None:
        yield from _bundle(place_of(bundle), seconds, advice)
    yield ""
    yield "what to do" if advice else "nothing stands out"
    yield from (f"- {line}" for line in advice)


def _machine(advice: list[str]) -> Iterator[str]:
    yield f"quire {_version('quire-vision')}, Python {platform.python_version()}"
    yield f"{platform.system()} {platform.machine()}, kernel {platform.release()}"
    yield ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)
    threads = os.environ.get("OMP_NUM_THREADS")
    told = f"OMP_NUM_THREADS {threads}" if threads else "OMP_NUM_THREADS not set"
    here = f"{processors()} of {os.cpu_count()} processors"
    yield f"{here}, {memory() / 2**30:.1f} GiB of memory"
    yield f"{told}, torch takes {torch.get_num_threads()} threads"
    if threads is not None and threads.isdigit() and int(threads) > processors():
        advice.append(f"OMP_NUM_THREADS is {threads}, but there are {processors()} processors")
    if _SHARED.is_dir():
        shared = shutil.disk_usage(_SHARED).total
        yield f"shared memory: {shared / 2**20:,.0f} MiB"
        if shared < _SMALL_SHARED:
            advice.append("shared memory is small: start the container with a larger --shm-size")
    yield from _gpus(advice)


def _gpus(advice: list[str]) -> Iterator[str]:
    if not torch.cuda.is_available():
        yield f"no GPU that torch can use (built for CUDA {torch.version.cuda})"
        if shutil.which("nvidia-smi") is not None:
            advice.append("there is an NVIDIA driver, but torch finds no GPU: see `nvidia-smi`")
        return
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        yield f"GPU {number}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"


def _bundle(place: Path | Address, seconds: float, advice: list[str]) -> Iterator[str]:
    yield ""
    if isinstance(place, Path):
        yield from _folder(place, advice)
        if not (place / MANIFEST).is_file():
            yield "no bundle: there is no manifest"
            return
    try:
        opened = open_bundle(place)
        yield from _about(opened, advice)
        yield from _speed(opened, seconds, advice)
    except BundleError as error:
        yield f"cannot be read: {_without(str(error), place)}"
        advice.append("`quire verify` names every file that is not as it should be")


def _folder(folder: Path, advice: list[str]) -> Iterator[str]:
    if not folder.is_dir():
        yield "no such folder"
        return
    usage = shutil.disk_usage(folder)
    yield f"free on its disk: {usage.free / 1e9:,.1f} of {usage.total / 1e9:,.1f} GB"
    if usage.free < _SCARCE * usage.total:
        advice.append("the bundle's disk is nearly full")
    for name, meaning in _STOPPED.items():
        if (folder / name).is_dir():
            busy = is_held(folder / name / "lock")
            yield f"{name}: {'another process works here now' if busy else meaning}"
            if not busy:
                advice.append(meaning)


def _about(bundle: Bundle, advice: list[str]) -> Iterator[str]:
    manifest = bundle.manifest
    where = "at an address" if bundle.remote else "in a folder"
    size = sum(shard.bytes for shard in manifest.shards)
    files = ", ".join(f".{extension}" for extension in sorted(bundle.index.rows.offsets))
    kind, shards = manifest.identity.recipe["kind"], len(manifest.shards)
    yield f"{kind}, format {manifest.format}, {where}; each sample has {files or 'no file'}"
    yield f"{manifest.samples:,} samples in {shards:,} shards, {size / 1e6:,.1f} MB"
    if bundle.absent:
        yield f"a part: {len(bundle.absent):,} shards are absent by intention"
    if 0 < shards < processors():
        advice.append(
            f"fewer shards ({shards}) than processors ({processors()}): some have no work when it"
            " is built, and with readers that share out shards; a smaller samples_per_shard makes"
            " more of them"
        )
    if not bundle.remote and size > memory():
        advice.append("the bundle is larger than memory: shuffle=True reads it in blocks")


def _speed(bundle: Bundle, seconds: float, advice: list[str]) -> Iterator[str]:
    """How fast it is streamed, and what that time goes to."""
    extensions = [*bundle.index.rows.offsets]
    if not bundle.manifest.shards or not extensions:
        return
    if isinstance(bundle.place, Path):
        there = [shard for shard in bundle.manifest.shards if shard.name not in bundle.absent]
        rate, cold = _disk(bundle.place, [shard.name for shard in there])
        first = "for the first time" if cold else "from memory, perhaps"
        yield f"its files are read at {rate / 1e6:,.0f} MB/s, one after the other, {first}"
    if bundle.absent:
        return
    rate, first_batch = _streaming(bundle, seconds)
    yield f"streamed, shuffled: {rate:,.0f} samples/s; the first batch after {first_batch:.2f} s"
    compressed = [e for e in extensions if e.rpartition(".")[2] in _COMPRESSED]
    if not compressed:
        yield "its images are raw: nothing is decoded"
        return
    alone = _decoding(bundle, compressed)
    share = min(1.0, rate / alone)
    yield f"decoding alone: {alone:,.0f} samples/s, so it takes {share:.0%} of that time"
    if share > 0.5:
        advice.append(
            "decoding takes most of the time: more processors help, a faster disk does not"
        )
    else:
        advice.append("reading takes most of the time: a faster disk, or a cache, helps")


def _streaming(bundle: Bundle, seconds: float) -> tuple[float, float]:
    """Samples a second of a stream that has begun, and when it did."""
    place = bundle.place.text if isinstance(bundle.place, Address) else bundle.place
    begun = time.perf_counter()
    batches = stream(place, columns=(), batch_size=_BATCH, shuffle=True)
    next(iter(batches))
    done, start = 0, time.perf_counter()
    while True:
        for batch in batches:
            done += len(batch["row"])
            took = time.perf_counter() - start
            if took > seconds:
                return done / took, start - begun


def _disk(folder: Path, names: Sequence[str]) -> tuple[float, bool]:
    """Bytes a second of some files, and whether the system let go of them before."""
    done, took, cold = 0, 0.0, hasattr(os, "posix_fadvise")
    for name in names:
        with (folder / name).open("rb", buffering=0) as file:
            if cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            while block := file.read(1 << 22):
                done += len(block)
            took += time.perf_counter() - start
        if done > _READ:
            break
    return done / max(took, 1e-9), cold


def _decoding(bundle: Bundle, extensions: Sequence[str]) -> float:
    """Samples a second whose images are decoded, of bytes in memory, by all processors."""
    step = max(1, len(bundle.index) // _DECODED)
    files = [bundle.read(row) for row in range(0, len(bundle.index), step)[:_DECODED]]
    with ThreadPoolExecutor(processors()) as pool:
        start = time.perf_counter()
        for extension in extensions:
            decode(extension, [own[extension] for own in files], pool, processors())
        return len(files) / (time.perf_counter() - start)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _without(text: str, place: Path | Address) -> str:
    """What an error says, without where it is."""
    known = {str(place), place.text} if isinstance(place, Address) else {str(place)}
    for name in known:
        text = text.replace(f"{name}/", "").replace(name, "the bundle")
    return text
