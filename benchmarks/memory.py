"""Peak memory of a build, process by process: it must not grow with the number of images.

    python -m benchmarks.memory [--images 1000 10000] [--workers 2] [--out FILE.json]

Builds every corruption that needs no outside file from that many images of 32 x 32, in a process of
its own, and reads each process's high-water mark (VmHWM) from /proc while it runs.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"


def main() -> None:
    """Build at each size and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = [measure(images, arguments.workers) for images in arguments.images]
    print(f"{'images':>8} {'samples':>9} {'build MiB':>10} {'worker MiB':>11}")
    for row in rows:
        print(f"{row['images']:8,} {row['samples']:9,} {row['build']:10.0f} {row['worker']:11.0f}")
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def measure(images: int, workers: int) -> dict[str, float]:
    """Peak MiB of the building process and of its largest worker."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "cifar-10-batches-bin")
        write_cifar(source, images)
        command = [sys.executable, "-m", "quire", "build", "corrupted", "--workers", str(workers)]
        command += ["--source", f"cifar10:{source}", "--out", f"{name}/bundle"]
        build = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peaks: dict[int, float] = {}
        while build.poll() is None:
            for process in descendants(build.pid):
                peaks[process] = max(peaks.get(process, 0), high_water(process))
            time.sleep(0.05)
        if build.returncode:
            raise SystemExit("the build failed")
        manifest = json.loads(Path(name, "bundle", "manifest.json").read_text())
    samples = sum(shard["samples"] for shard in manifest["shards"])
    own = peaks.pop(build.pid)
    worker = max(peaks.values(), default=0.0)
    return {"images": images, "samples": samples, "build": own, "worker": worker}


def write_cifar(folder: Path, images: int) -> None:
    """Random images as a test batch in CIFAR-10's binary layout; small training batches."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        count = images if name == "test_batch" else 10
        records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(folder / f"{name}.bin")
    (folder / "batches.meta.txt").write_text("\n".join(_NAMES.split()) + "\n")


def descendants(process: int) -> list[int]:
    """A process and all processes below it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it ended meanwhile
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def high_water(process: int) -> float:
    """The most memory that a process has had, in MiB; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0


if __name__ == "__main__":
    main()
