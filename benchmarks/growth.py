"""What a bundle costs as it grows: to open, until the first batch, in memory, and by the image.

    python -m benchmarks.growth --out growth.json --figure growth.png

Grey images of 8 x 8 pixels, a KiB each in their tars, shuffled in blocks. Each bundle is streamed
by a process of its own, from the page cache where it fits. Memory is what the process has more
than before it opened the bundle, after the first batch or at the end, without the page cache.
"""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from math import log10
from pathlib import Path
from statistics import median

import numpy as np
import tyro

from benchmarks import bundles
from quire.artifacts.members import raw_images
from quire.loaders.stream import stream
from quire.train.report.plots.curves import Curve, Curves
from quire.train.report.plots.figure import plot

_BATCH = 256
_SHARD = 50_000  # samples
_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Options:
    """Stream bundles of growing size, and print what each takes."""

    samples: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    """Of each bundle; ten million take 10 GB of the disk."""
    rounds: int = 3
    """Times that each is opened, by another process each time."""
    folder: Path | None = None
    """Where the bundles are written, one at a time; default: the system's temporary folder."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    figure: Path | None = None
    """Draw it, as PNG."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one process saw."""

    samples: int
    opening: float
    """Seconds until there is a stream."""
    first: float
    """Seconds from there to the first batch."""
    rate: float
    """Images a second, of the first million of an epoch after the first batch."""
    memory: float
    """MB."""


def write(folder: Path, samples: int) -> None:
    """Write a bundle of random grey images."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 8, 8, 1), dtype=np.uint8)
    rows = np.arange(samples) % len(images)
    files = raw_images(images)[rows]
    bundles.write_bundle(folder, {"pgm": files}, rows % 10, samples_per_shard=_SHARD)


def cost(folder: Path, samples: int) -> Cost:
    """Open a bundle and read of it."""
    before = memory()
    start = time.perf_counter()
    batches = stream(folder, batch_size=_BATCH, shuffle=True)
    opened = time.perf_counter()
    epoch = iter(batches)
    next(epoch)
    first = time.perf_counter()
    after = memory()
    count = 0
    for batch in epoch:
        count += len(batch["row"])
        if count >= 1_000_000:
            break
    end = time.perf_counter()
    return Cost(
        samples=samples,
        opening=opened - start,
        first=first - opened,
        rate=count / (end - first),
        memory=(max(after, memory()) - before) / _MB,
    )


def memory() -> int:
    """Bytes that this process holds, without files that it has mapped (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def ready() -> None:
    """What a process has done before it is measured."""
    import torch

    torch.empty(1)


def drawn(found: Sequence[Cost]) -> bytes:
    """The figure, of medians."""
    sizes = sorted({one.samples for one in found})
    titles = {
        "opening": ("to open it", "seconds"),
        "first": ("to the first batch", "seconds"),
        "memory": ("memory", "MB"),
        "rate": ("speed", "images/s"),
    }
    panels = [
        Curves(
            title=title,
            x_label="samples, powers of ten",
            y_label=unit,
            curves=(
                Curve(
                    label="8 x 8 pixels",
                    x=tuple(log10(size) for size in sizes),
                    values=tuple(
                        (median(getattr(one, name) for one in found if one.samples == size),)
                        for size in sizes
                    ),
                ),
            ),
        )
        for name, (title, unit) in titles.items()
    ]
    return plot(panels, columns=4)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each size."""
    options = tyro.cli(Options, args=argv)
    found: list[Cost] = []
    context = multiprocessing.get_context("spawn")
    for samples in options.samples:
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            folder = Path(scratch) / "bundle"
            write(folder, samples)
            for _ in range(options.rounds):
                with ProcessPoolExecutor(1, mp_context=context, initializer=ready) as pool:
                    found.append(pool.submit(cost, folder, samples).result())
        own = found[-options.rounds :]
        middle = {
            name: median(getattr(one, name) for one in own)
            for name in ("opening", "first", "memory", "rate")
        }
        print(
            f"{samples:,} samples: {middle['opening']:.2f} s to open, {middle['first']:.2f} s to"
            f" the first batch, {middle['memory']:,.0f} MB, {middle['rate']:,.0f} images/s",
            flush=True,
        )
    if options.out:
        options.out.write_text(json.dumps([asdict(one) for one in found], indent=1))
    if options.figure:
        options.figure.write_bytes(drawn(found))


if __name__ == "__main__":
    main()
