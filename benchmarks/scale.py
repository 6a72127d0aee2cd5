"""What a build of up to a thousand million samples costs beside the shards themselves.

    python -m benchmarks.scale --out scale.json

Nothing is built: the plan is made of a source that only has a length, the groups of shards that a
thousand workers would be given are pickled as Dask does, and manifest and index are written for
shards whose rows are made up, each by a process of its own, whose most memory is told. The index of
more samples than `--indexed` is not written; it grows in proportion.
"""

import json
import pickle
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from quire.artifacts.index import read_index, write_index
from quire.artifacts.manifest import CARD, INDEX, File, Identity, Manifest
from quire.artifacts.pieces import PIECE, Pieces
from quire.artifacts.shards import Rows, Shard
from quire.builders.engine.pool import groups
from quire.builders.recipes.corrupted import Corrupted

_MEMBER = 3_085  # bytes of a 32 x 32 image as PPM
_SAMPLE = 5_120  # that it takes in a shard, with its class
_DIGEST = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Options:
    """Plan, and write what is of the whole, for bundles of growing size."""

    samples: tuple[int, ...] = (10**6, 10**7, 10**8, 10**9)
    """Of each bundle, 5,000 to a shard."""
    workers: int = 1_000
    """Among which the shards are shared out."""
    indexed: int = 10**7
    """Samples of the largest index that is written."""
    out: Path | None = None
    """Also write all that was measured as JSON."""


@dataclass(frozen=True, slots=True)
class Long:
    """A source that only has a length."""

    length: int
    image_shape: tuple[int, int, int] = (32, 32, 3)

    def __len__(self) -> int:
        return self.length


def planned(samples: int, workers: int) -> dict[str, float]:
    """The plan, and what the scheduler is given."""
    recipe: Any = Corrupted(split="train", corruptions=())
    start = time.perf_counter()
    tasks = recipe.plan(Long(samples))
    took = time.perf_counter() - start
    shared = groups(tasks, workers)
    size = sum(len(pickle.dumps(group)) for group in shared)
    return {
        "shards": len(tasks),
        "plan_s": took,
        "groups": len(shared),
        "pickled_MB": size / 1e6,
    }


def described(samples: int) -> dict[str, float]:
    """The manifest: its size, and the time to write and to read it."""
    manifest = _manifest(_shards(samples))
    start = time.perf_counter()
    text = manifest.to_json()
    written = time.perf_counter() - start
    start = time.perf_counter()
    Manifest.from_json(text)
    return {
        "manifest_MB": len(text) / 1e6,
        "manifest_write_s": written,
        "manifest_read_s": time.perf_counter() - start,
        "manifest_most_GB": _most(),
    }


def indexed(samples: int) -> dict[str, float]:
    """The index: its size, the time to write and to open it, and the most memory that took."""
    shards = _shards(samples)
    before, rows, first = _most(), [], 0
    for shard in shards:
        numbers = np.arange(first, first + shard.samples)
        first += shard.samples
        keys = np.char.mod(b"clean-0-%010d", numbers)
        places = (numbers - numbers[0]) * _SAMPLE + 512
        sizes = np.full(shard.samples, _MEMBER)
        columns = {"label": numbers % 10, "source_index": numbers}
        rows.append(Rows(keys, {"ppm": places}, {"ppm": sizes}, columns))
    ends = np.array([*range(PIECE, shards[0].bytes, PIECE), shards[0].bytes])
    pieces = [Pieces(ends, np.zeros((len(ends), 32), np.uint8))] * len(shards)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / INDEX
        start = time.perf_counter()
        write_index(path, shards, rows, pieces)
        took = time.perf_counter() - start
        data = path.read_bytes()
    start = time.perf_counter()
    read_index(data, _manifest(shards))
    return {
        "index_MB": len(data) / 1e6,
        "index_write_s": took,
        "index_open_s": time.perf_counter() - start,
        "index_most_GB": _most() - before,
    }


def _shards(samples: int) -> tuple[Shard, ...]:
    count = 5_000
    one = Shard("", count, count * _SAMPLE + 1024, _DIGEST)
    return tuple(replace(one, name=f"train-clean-{n:06d}.tar") for n in range(samples // count))


def _manifest(shards: tuple[Shard, ...]) -> Manifest:
    identity = Identity(recipe={"kind": "none"}, source={}, inputs={}, versions={})
    files = File(INDEX, 1, _DIGEST), File(CARD, 1, _DIGEST)
    return Manifest(identity=identity, shards=shards, tables=files[:1], card=files[1])


def _most() -> float:
    """The most memory that this process had so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def apart(function: Any, *arguments: Any) -> dict[str, float]:
    """What a function finds in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found: dict[str, float] = pool.submit(function, *arguments).result()
    return found


def main(options: Options) -> None:
    """Measure and print."""
    rows = []
    for samples in options.samples:
        row = {"samples": samples, **apart(planned, samples, options.workers)}
        row |= apart(described, samples)
        if samples <= options.indexed:
            row |= apart(indexed, samples)
        rows.append(row)
        print(f"{samples:>13,} samples")
        for name, value in [*row.items()][1:]:
            print(f"{'':>13} {name:<18} {value:,.2f}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Options))
