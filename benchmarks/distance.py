"""How fast a bundle streams from where it is: in memory, on the disk, at an address near and far.

    python -m benchmarks.distance --data ../shared/data --out distance.json

Raw images, shuffled in blocks; webdataset on the same shards beside it, and where they are here
mosaicml's streaming and litdata on the same images in their own formats. Before each round from
the disk the page cache lets go of what is read, and our reads go past it, as for a bundle that is
larger than memory. The addresses are served by another process of this machine, which takes its
share of the processors; the far one waits before each answer. What curl gets of the same shards, in
parts of a MiB and over as many connections, is given in images, though it checks and makes none.
S3 is that of moto, where it is here. Of each row the first epoch is kept apart.
"""

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import tyro
import webdataset as wds

from benchmarks import bundles, loading
from benchmarks.serving import address
from quire.artifacts.bundle import open_bundle
from quire.artifacts.members import class_ids, raw_images
from quire.artifacts.shards import Payloads
from quire.loaders.order import Shuffle
from quire.loaders.reading import folder as folders
from quire.loaders.reading.remote import CONNECTIONS
from quire.loaders.stream import stream

_SHARDS = 96
_BATCH = 256
_BUFFER = 5_000  # samples that webdataset mixes
_PART = 1 << 20  # bytes that curl asks for at a time
_KEYS = {  # of moto, which knows no others
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Stream one bundle from near and far, and print how many images a second come."""

    data: Path | None = None
    """Folder that holds cifar10, for real images."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    images: int = 384_000
    """Images of 32x32: 5,120 bytes each."""
    slow: int = 20_000
    """Images that webdataset and others get to read, of S3 ours too."""
    latency: float = 0.05
    """Seconds before each answer of the far address."""
    rounds: int = 4
    """Epochs of each row; the first is kept apart."""


def forgotten(*folders: Path) -> None:
    """Have the page cache let go of files, which it does not while somebody has them mapped."""
    gc.collect()
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def ours(place: str, rounds: int, before: Callable[[], None] | None = None) -> list[float]:
    """Images a second of each epoch, shuffled in blocks."""
    batches = stream(place, batch_size=_BATCH, shuffle=Shuffle())
    rates = []
    for _ in range(rounds):
        if before:
            before()
        start = time.perf_counter()
        count = sum(len(batch["row"]) for batch in batches)
        rates.append(count / (time.perf_counter() - start))
    return rates


def theirs(
    urls: Sequence[str], images: int, rounds: int, before: Callable[[], None] | None = None
) -> list[float]:
    """The same of plain webdataset, which mixes a buffer, on the first shards."""
    rates = []
    for _ in range(rounds):
        if before:
            before()
        samples = wds.WebDataset([*urls], shardshuffle=len(urls), seed=0).shuffle(_BUFFER)
        batches = samples.decode("rgb8").to_tuple("ppm", "cls").batched(_BATCH)
        start = time.perf_counter()
        count = sum(len(batch[1]) for batch in batches)
        rates.append(count / (time.perf_counter() - start))
        if count != images:
            raise RuntimeError(f"webdataset delivers {count} images, not {images}")
    return rates


def here(loaders: Mapping[str, loading.Loader]) -> dict[str, loading.Epochs]:
    """Other loaders, those that are installed."""
    found = {}
    for name, load in loaders.items():
        with suppress(ImportError):
            found[name] = load()
    return found


def epochs_of(
    load: loading.Epochs, rounds: int, before: Callable[[], None] | None = None
) -> list[float]:
    """Images a second of each epoch of another loader."""
    rates = []
    for _ in range(rounds):
        if before:
            before()
        start = time.perf_counter()
        count = sum(len(batch["label"]) for batch in load())
        rates.append(count / (time.perf_counter() - start))
    return rates


def curl(place: str, folder: Path, rounds: int) -> list[float]:
    """Images a second whose bytes curl gets, over as many connections as ours."""
    manifest = open_bundle(folder).manifest
    asked = [
        f'url = "{place}/{shard.name}"\nrange = "{start}-{start + _PART - 1}"\noutput = "/dev/null"'
        for shard in manifest.shards
        for start in range(0, shard.bytes, _PART)
    ]
    command = [
        "curl",
        "--silent",
        "--no-progress-meter",
        "--parallel",
        "--parallel-max",
        str(CONNECTIONS),
        "-K",
        "-",
    ]
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(
            command, input="\nnext\n".join(asked), text=True, check=True, capture_output=True
        )
        rates.append(manifest.samples / (time.perf_counter() - start))
    return rates


@contextmanager
def bucket(*folders: Path) -> Iterator[str | None]:
    """An address of S3 with copies of folders under their names; None where there is no moto."""
    try:
        import boto3
        import moto.server  # noqa: F401
        import s3fs  # noqa: F401
    except ImportError:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = f"http://127.0.0.1:{port}"
    os.environ.update({**_KEYS, "AWS_ENDPOINT_URL": place, "S3_ENDPOINT_URL": place})
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bundles")
        for folder in folders:
            for path in folder.iterdir():
                client.upload_file(str(path), "bundles", f"{folder.name}/{path.name}")
        yield "s3://bundles"
    finally:
        server.terminate()
        server.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each row."""
    options = tyro.cli(Options, args=argv)
    rows: dict[str, list[float]] = {}

    def report(name: str, rates: list[float]) -> None:
        rows[name] = rates
        later = median(rates[1:] or rates)
        print(f"{name}: {later:,.0f} images/s, {rates[0]:,.0f} in the first epoch", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        size = -(-options.images // _SHARDS)
        images, labels = bundles.small_images(options.images, options.data)
        members: dict[str, Payloads] = {"ppm": raw_images(images), "cls": class_ids(labels)}
        bundles.write_bundle(folder, members, labels, samples_per_shard=size)
        del members
        few = max(1, options.slow // size)
        names = [shard.name for shard in open_bundle(folder).manifest.shards[:few]]
        first = slice(0, few * size)
        mds, lit = Path(scratch) / "mds", Path(scratch) / "litdata"
        formats = {
            "mosaicml streaming": partial(loading.mosaicml, mds, images[first], labels[first]),
            "litdata": partial(loading.litdata_of, lit, images[first], labels[first]),
        }
        others = here({name: partial(load, _BATCH) for name, load in formats.items()})
        del images, labels
        report("in memory", ours(str(folder), options.rounds))
        local = [str(folder / name) for name in names]
        report("webdataset, in memory", theirs(local, few * size, options.rounds))
        for name, load in others.items():
            report(f"{name}, in memory", epochs_of(load, options.rounds))
        folders._CACHED = 0  # every bundle is larger than memory
        report("on the disk", ours(str(folder), options.rounds, lambda: forgotten(folder)))
        let_go = partial(forgotten, folder)
        report("webdataset, on the disk", theirs(local, few * size, options.rounds, let_go))
        for name, load in others.items():
            own = lit if name == "litdata" else mds
            rates = epochs_of(load, options.rounds, partial(forgotten, own))
            report(f"{name}, on the disk", rates)
        places: Mapping[str, float] = {
            "at a near address": 0,
            f"at an address {1000 * options.latency:.0f} ms away": options.latency,
        }
        for name, latency in places.items():
            with address(folder, latency) as place:
                report(name, ours(place, options.rounds))
                if shutil.which("curl"):
                    report(f"curl, {name}", curl(place, folder, options.rounds))
                urls = [f"pipe:curl -s {place}/{shard}" for shard in names]
                report(f"webdataset, {name}", theirs(urls, few * size, options.rounds))
        small = Path(scratch) / "small"
        some, their_labels = bundles.small_images(few * size, options.data)
        members = {"ppm": raw_images(some), "cls": class_ids(their_labels)}
        bundles.write_bundle(small, members, their_labels, samples_per_shard=size)
        with bucket(small, *(one for one in (mds,) if one.exists())) as s3:
            if s3 is not None:
                report("in S3 (moto)", ours(f"{s3}/small", options.rounds))
            if s3 is not None and mds.exists():
                copies = Path(scratch) / "copies"
                load = loading.mosaicml_from(f"{s3}/mds", copies, _BATCH)
                report("mosaicml streaming, in S3 (moto)", epochs_of(load, options.rounds))
    if options.out:
        options.out.write_text(json.dumps({"options": repr(options), "rates": rows}, indent=1))


if __name__ == "__main__":
    main()
