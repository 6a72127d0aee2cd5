"""How fast a bundle streams from where it is: in memory, on the disk, at an address near and far.

    python -m benchmarks.distance --data ../shared/data --out distance.json

Raw images, shuffled in blocks, and webdataset on the same shards beside it. Before each round from
the disk the page cache lets go of the bundle, and reads go past it, as for a bundle that is larger
than memory. The addresses are served by another process of this machine, which takes its share of
the processors; the far one waits before each answer. Of each row the first epoch is kept apart.
"""

import asyncio
import gc
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tyro
import webdataset as wds
from aiohttp import web

from benchmarks import bundles
from quire.artifacts.bundle import open_bundle
from quire.artifacts.members import class_ids, raw_images
from quire.artifacts.shards import Payloads
from quire.loaders.order import Shuffle
from quire.loaders.reading import folder as folders
from quire.loaders.stream import stream

_SHARDS = 96
_BATCH = 256
_BUFFER = 5_000  # samples that webdataset mixes


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
    """Images that webdataset gets to read."""
    latency: float = 0.05
    """Seconds before each answer of the far address."""
    rounds: int = 4
    """Epochs of each row; the first is kept apart."""


def served(folder: Path, port: int, latency: float) -> None:
    """Serve a folder over HTTP, in parts where these are asked for."""

    @web.middleware
    async def far(request: web.Request, handler: Any) -> web.StreamResponse:
        await asyncio.sleep(latency)
        answer: web.StreamResponse = await handler(request)
        return answer

    app = web.Application(middlewares=[far] if latency else [])
    app.router.add_static("/", folder)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


@contextmanager
def address(folder: Path, latency: float) -> Iterator[str]:
    """A folder's address while another process serves it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(
        target=served, args=(folder, port, latency), daemon=True
    )
    server.start()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.join()


def forgotten(folder: Path) -> None:
    """Have the page cache let go of a bundle, which it does not while somebody has it mapped."""
    gc.collect()
    for path in folder.iterdir():
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


def theirs(urls: Sequence[str], images: int, rounds: int) -> list[float]:
    """The same of plain webdataset, which mixes a buffer, on the first shards."""
    rates = []
    for _ in range(rounds):
        samples = wds.WebDataset([*urls], shardshuffle=len(urls), seed=0).shuffle(_BUFFER)
        batches = samples.decode("rgb8").to_tuple("ppm", "cls").batched(_BATCH)
        start = time.perf_counter()
        count = sum(len(batch[1]) for batch in batches)
        rates.append(count / (time.perf_counter() - start))
        if count != images:
            raise RuntimeError(f"webdataset delivers {count} images, not {images}")
    return rates


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
        del images, members
        few = max(1, options.slow // size)
        names = [shard.name for shard in open_bundle(folder).manifest.shards[:few]]
        report("in memory", ours(str(folder), options.rounds))
        report(
            "webdataset, in memory",
            theirs([str(folder / name) for name in names], few * size, options.rounds),
        )
        folders._CACHED = 0  # every bundle is larger than memory
        report("on the disk", ours(str(folder), options.rounds, lambda: forgotten(folder)))
        places: Mapping[str, float] = {
            "at a near address": 0,
            f"at an address {1000 * options.latency:.0f} ms away": options.latency,
        }
        for name, latency in places.items():
            with address(folder, latency) as place:
                report(name, ours(place, options.rounds))
                urls = [f"pipe:curl -s {place}/{shard}" for shard in names]
                report(f"webdataset, {name}", theirs(urls, few * size, options.rounds))
    if options.out:
        options.out.write_text(json.dumps({"options": repr(options), "rates": rows}, indent=1))


if __name__ == "__main__":
    main()
