"""What it takes to give somebody a bundle: bytes and seconds, by copy, by pull, and as a recipe.

    python -m benchmarks.sharing --data ../shared/data --out sharing.json

A bundle of corrupted CIFAR-10 images is copied by curl, over as many connections as ours; pulled;
pulled with `--derive`, which fetches manifest, index and card, and makes the shards from one's own
CIFAR-10; and built by `build --like` from its manifest alone. First from a server on this machine
without a limit, which shows what checking costs, then over a line of 100 Mbit/s. All of it is
checked against the bundle; the server takes its share of the processors.
"""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tyro

from benchmarks.serving import address
from quire.artifacts.bundle import read_manifest
from quire.artifacts.manifest import MANIFEST, SUMS

_CONNECTIONS = 16
_LINE = 100e6 / 8  # bytes a second


@dataclass(frozen=True, kw_only=True)
class Options:
    """Share one bundle in every way, and print what each takes."""

    data: Path
    """Folder that holds cifar10."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    severities: tuple[int, ...] = (3,)
    """Of all corruptions that need no file; more make a larger bundle."""
    rounds: int = 3
    """Of what takes no more than the time of the line."""


def quire(*arguments: str) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "quire", *arguments], check=True, capture_output=True)


def copied(place: str, names: list[str], into: Path) -> None:
    """All files by curl."""
    asked = "\n".join(f'url = "{place}/{name}"\noutput = "{into / name}"' for name in names)
    into.mkdir()
    parallel = ["--parallel", "--parallel-max", str(_CONNECTIONS)]
    command = ["curl", "--silent", "--no-progress-meter", "--fail", *parallel, "-K", "-"]
    subprocess.run(command, input=asked, text=True, check=True)


def timed(into: Path, rounds: int, bundle: Path, way: Callable[[Path], None]) -> list[float]:
    """Seconds of each round, of which each makes the bundle anew."""
    took = []
    for _ in range(rounds):
        shutil.rmtree(into, ignore_errors=True)
        os.sync()
        start = time.perf_counter()
        way(into)
        took.append(time.perf_counter() - start)
        names = os.listdir(bundle)
        if sorted(os.listdir(into)) != sorted(names):
            raise RuntimeError("other files came out")
        _, different, errors = filecmp.cmpfiles(bundle, into, names, shallow=False)
        if different or errors:
            raise RuntimeError(f"{different + errors} came out otherwise")
    shutil.rmtree(into, ignore_errors=True)
    return took


def main(options: Options) -> None:
    """Measure and print."""
    source = f"cifar10:{options.data / 'cifar10'}"
    with tempfile.TemporaryDirectory() as scratch:
        folder, into = Path(scratch) / "bundle", Path(scratch) / "into"
        chosen = ["--severities", *map(str, options.severities)]
        start = time.perf_counter()
        quire("build", "corrupted", "--source", source, "--out", str(folder), *chosen)
        built = time.perf_counter() - start
        manifest = read_manifest(folder)
        names = [*manifest.files, MANIFEST, SUMS]
        sizes = {name: (folder / name).stat().st_size for name in names}
        shards = {shard.name for shard in manifest.shards}
        whole = sum(sizes.values())
        small = sum(size for name, size in sizes.items() if name not in shards)
        ways: dict[str, tuple[int, Callable[[str], Callable[[Path], None]]]] = {
            "curl, unchecked": (whole, lambda place: lambda to: copied(place, names, to)),
            "pull": (whole, lambda place: lambda to: quire("pull", place, "--out", str(to))),
            "pull --derive": (
                small,
                lambda place: lambda to: quire("pull", place, "--out", str(to), "--derive", source),
            ),
            "build --like": (
                sizes[MANIFEST],
                lambda place: (
                    lambda to: quire(
                        *("build", "--like", str(folder / MANIFEST)),
                        *("--source", source, "--out", str(to)),
                    )
                ),
            ),
        }
        found: dict[str, Any] = {
            "samples": manifest.samples,
            "shards": len(shards),
            "bytes": whole,
            "build_s": built,
            "rows": [],
        }
        print(f"{manifest.samples:,} images in {len(shards)} shards, {whole / 1e6:,.1f} MB")
        for line, rate in (("no limit", None), ("100 Mbit/s", _LINE)):
            with address(folder, 0, rate) as place:
                for name, (sent, way) in ways.items():
                    if rate is None and sent != whole:
                        continue
                    rounds = options.rounds if rate is None else 1
                    took = timed(into, rounds, folder, way(place))
                    row = {"line": line, "way": name, "bytes": sent, "seconds": took}
                    found["rows"].append(row)
                    print(
                        f"{line:>10}  {name:<16} {sent:>13,} bytes  {median(took):7.1f} s"
                        f"  {whole / median(took) / 1e6:7.1f} MB/s of the bundle"
                    )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Options))
