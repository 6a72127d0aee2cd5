"""Whether Quire works on a GPU, and how fast: one call for whoever has one for ten minutes.

    python -m benchmarks.gpu --seconds 480 --out gpu.json

First the tests that need CUDA, then figures in the order of their importance; what there is no time
for is named. Every result is written when it is there. `--device cpu --seconds 60` takes the same
steps at tiny sizes, which shows that they run and measures nothing.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.gpu_steps import TINY, Place, Sizes, steps
from quire.artifacts.processors import processors

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run the tests that need CUDA, and measure what a GPU is used for, within a limit of time."""

    out: Path
    """JSON of all that was found, written anew after each result."""
    seconds: float = 480
    """What is not begun by then is left out."""
    device: str = "cuda"
    """cpu: the same steps at tiny sizes."""
    only: str = ""
    """Only steps whose name has this in it."""


@dataclass
class Report:
    """What is known so far, on the disk at every moment."""

    path: Path
    device: torch.device
    results: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, **found: Any) -> None:
        """Write down a result, and say it."""
        self.results.append({"step": name, **found})
        said = (f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
        print(f"{name}: {', '.join(said)}", flush=True)
        self.write()

    def write(self) -> None:
        """The whole report, anew."""
        cuda = self.device.type == "cuda"
        machine = {
            "device": torch.cuda.get_device_name(self.device) if cuda else platform.processor(),
            "processors": processors(),
            "python": platform.python_version(),
            "cuda": torch.version.cuda or "none",
            **{name: version(name) for name in ("torch", "torchvision", "numpy", "numba")},
        }
        record = {"machine": machine, "results": self.results, "left out": self.left_out}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(record, indent=1) + "\n")


def tested(report: Report, seconds: float) -> None:
    """Run the tests that need CUDA; what they print is in the report where they fail."""
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "--durations=5"]
    try:
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        report.add("tests", outcome=f"not finished after {seconds:.0f} s")
        return
    lines = done.stdout.strip().splitlines()
    found = {"outcome": lines[-1] if lines else "nothing was said", "status": done.returncode}
    report.add("tests", **found, **({"output": done.stdout[-8000:]} if done.returncode else {}))


def main(options: Options) -> None:
    """Run it all, and go on where a step fails."""
    begin = time.perf_counter()
    device = torch.device(options.device)
    sizes = Sizes() if device.type == "cuda" else TINY
    report = Report(options.out, device)
    report.write()
    if options.only in "tests":
        tested(report, options.seconds / 2)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), device, sizes)
        for name, step in steps(sizes):
            if options.only not in name:
                continue
            if time.perf_counter() - begin > options.seconds:
                report.left_out.append(name)
                continue
            try:
                report.add(name, **step(place))
            except Exception as error:  # the next step may well work
                report.add(name, failed=repr(error))
    report.write()
    for name in report.left_out:
        print(f"{name}: left out, the time was over")


if __name__ == "__main__":
    main(tyro.cli(Options))
