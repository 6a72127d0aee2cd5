"""How fast the corruptions are, beside the plain way and the package imagecorruptions.

    python -m benchmarks.corruptions --data ../shared/data --out corruptions.json

A run is a corruption at all five severities, on one core. Ours takes a block of images; the others
take one at a time. The plain way is that of CIFAR-10-C's script, written anew for the tests: frost
reads its picture each time, motion blur and snow call ImageMagick where Wand is installed.
imagecorruptions has the constants of ImageNet-C: it does work of the same kind, not the same work.
"""

import importlib
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import cv2
import numpy as np
import tyro

from benchmarks.bundles import Images, small_images
from benchmarks.timing import Contender, Run, Timing, measure
from quire.builders.corruptions.catalogue import (
    CORRUPTIONS,
    LIBRARIES,
    SIGMA_CORRUPTIONS,
    corrupt,
    load_frost,
)
from tests.builders.corruptions.corruption_images import generators, write_frost
from tests.builders.corruptions.plain_corruptions import PLAIN, has_magick

OneImage: TypeAlias = Callable[[Any, str, int, np.random.Generator], Any]
Rows: TypeAlias = Mapping[str, Mapping[str, Timing]]  # by corruption, then by contender

SEVERITIES = (1, 2, 3, 4, 5)
NAMES = tuple(name for name in CORRUPTIONS if name not in SIGMA_CORRUPTIONS)
OURS, PLAINLY, PACKAGE = "ours", "plain", "imagecorruptions"
_GRID = 10_000  # images of CIFAR-10's test split


@dataclass(frozen=True, kw_only=True)
class Options:
    """Corrupt images of 32x32, our way and others', and print how many a second each takes."""

    data: Path | None = None
    """Folder that holds cifar10 and imagenet_c_frost, for real images."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    only: tuple[str, ...] = NAMES
    """Corruptions to time."""
    images: int = 512
    """Images in our block."""
    seconds: float = 0.1
    """What a run of the others may take: they corrupt as many of the images as that allows."""
    rounds: int = 6
    """Runs of each; the first, which compiles or loads compiled code, is kept apart."""


def timed(name: str, images: Images, frost: Path, options: Options) -> dict[str, Timing]:
    """The timings of one corruption, by contender."""
    contenders = [Contender(OURS, partial(_ours, name, images, frost), cores=1)]
    peers: dict[str, OneImage] = {PLAINLY: partial(_plainly, frost), PACKAGE: _package}
    for peer, one in peers.items():
        try:
            one(images[0], name, 1, np.random.default_rng(0))
        except (ImportError, AttributeError, TypeError) as error:  # of libraries that moved on
            print(f"{name}: {peer} is left out: {error}")
            continue
        begin = time.perf_counter()
        _singly(one, name, images[:4])()
        count = int(4 * options.seconds / (time.perf_counter() - begin))
        few = images[: max(count, 4)]
        contenders.append(Contender(peer, partial(_singly, one, name, few), cores=1))
    return {timing.name: timing for timing in measure(contenders, rounds=options.rounds)}


def table(rows: Rows) -> str:
    """images/s, and ours as a multiple of each other's; then seconds for the whole grid."""
    peers = (PLAINLY, PACKAGE)
    lines = [f"{'images/s':18}{OURS:>10}" + "".join(f"{p:>18}{'ours /':>8}" for p in peers)]
    for name, row in rows.items():
        line = f"{name:18}{median(row[OURS].steady):10,.0f}"
        for peer in peers:
            if peer in row:
                line += f"{median(row[peer].steady):18,.0f}{row[OURS].ratio(row[peer]):8.1f}"
            else:
                line += f"{'-':>18}{'':8}"
        lines.append(line)
    line = f"{'grid, s':18}{grid_seconds(rows, OURS, rows):10,.1f}"
    for peer in peers:
        shared = [name for name, row in rows.items() if peer in row]
        theirs, own = (grid_seconds(rows, which, shared) for which in (peer, OURS))
        line += f"{theirs:18,.1f}{theirs / own:8.1f}" if shared else ""
    return "\n".join([*lines, line])


def grid_seconds(rows: Rows, contender: str, names: Sequence[str] | Rows) -> float:
    """What ten thousand images take under these corruptions at every severity."""
    return sum(_GRID * len(SEVERITIES) / median(rows[name][contender].steady) for name in names)


def record(rows: Rows) -> dict[str, Any]:
    """All that was measured as JSON has it, every round's rate included."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "motion": "ImageMagick" if has_magick() else "by hand",
        "libraries": {name: version(name) for name in ("numpy", "scikit-image", *LIBRARIES)},
        "rates": {
            name: {contender: list(timing.rates) for contender, timing in row.items()}
            for name, row in rows.items()
        },
        "grid_seconds": grid_seconds(rows, OURS, rows),
    }


def _ours(name: str, images: Images, frost: Path) -> Run:
    rngs = generators(len(images))

    def run() -> int:
        frames = load_frost(frost)
        for severity in SEVERITIES:
            corrupt(images, name, severity=severity, rngs=rngs, frames=frames)
        return len(SEVERITIES) * len(images)

    return run


def _singly(one: OneImage, name: str, images: Images) -> Run:
    rngs = generators(len(images))

    def run() -> int:
        for severity in SEVERITIES:
            for image, rng in zip(images, rngs, strict=True):
                one(image, name, severity, rng)
        return len(SEVERITIES) * len(images)

    return run


def _plainly(frost: Path, image: Any, name: str, severity: int, rng: np.random.Generator) -> Any:
    extra = {"folder": frost} if name == "frost" else {}
    return PLAIN[name](image, severity=severity, rng=rng, **extra)


def _package(image: Any, name: str, severity: int, rng: np.random.Generator) -> Any:
    package = importlib.import_module("imagecorruptions")
    return package.corrupt(image, corruption_name=name, severity=severity)


def main(argv: Sequence[str] | None = None) -> None:
    """Time each corruption, and print the table."""
    options = tyro.cli(Options, args=argv)
    warnings.simplefilter("ignore")  # of imagecorruptions and what it imports
    cv2.setNumThreads(1)
    images, _ = small_images(options.images, options.data)
    with tempfile.TemporaryDirectory() as scratch:
        frost = Path(scratch)
        if options.data:
            frost = options.data / "imagenet_c_frost"
        else:
            write_frost(frost)
        rows = {name: timed(name, images, frost, options) for name in options.only}
    print(f"motion of the plain way: {'ImageMagick' if has_magick() else 'by hand'}")
    print(table(rows))
    if options.out:
        options.out.write_text(json.dumps(record(rows), indent=1) + "\n")


if __name__ == "__main__":
    main()
