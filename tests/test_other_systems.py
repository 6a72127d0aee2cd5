"""What Linux alone has is not needed, nor is a folder to write in beside the program.

The commands run one after another in one process, and in whatever processes that starts.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What Python's os has on Linux and lacks on macOS.
LINUX = (
    *("sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_getparam"),
    *("posix_fadvise", "posix_fallocate", "fdatasync", "copy_file_range", "splice", "eventfd"),
    *("memfd_create", "getrandom", "pidfd_open", "setns", "unshare", "getxattr", "setxattr"),
    *("listxattr", "removexattr", "getresuid", "getresgid", "setresuid", "setresgid"),
    *("O_DIRECT", "O_TMPFILE", "O_PATH", "O_NOATIME", "timerfd_create", "prlimit"),
    *("preadv", "preadv2", "pwritev", "pwritev2"),
)
MACOS = f"""
import multiprocessing, os
for name in {LINUX}:
    if hasattr(os, name):
        delattr(os, name)
os.process_cpu_count = os.cpu_count  # so from Python 3.13 on
multiprocessing.set_start_method("spawn")  # processes start anew there, they are no copies
"""

COMMANDS = """
import os, sys, quire

def run(*arguments):
    assert quire.main([str(argument) for argument in arguments]) == 0

if __name__ == "__main__":
    assert hasattr(os, "sched_getaffinity") == LINUX
    run("sources")
    run("build", "corrupted", "--source", "digits:", "--corruptions", "contrast",
        "--severities", "5", "--samples-per-shard", "180", "--workers", WORKERS, "--out", "bundle")
    run("verify", "bundle")
    run("rebuild", "bundle", "--source", "digits:")
    run("show", "bundle", "--png", "sheet.png", "--html", "page.html")
    run("build", "scenes", "--source", "shapes:9?size=48", "--out", "scenes")
    for name, count in (("bundle", 720), ("scenes", 9)):
        for workers in (0, min(1, WORKERS)):
            batches = quire.stream(name, shuffle=True, columns=[], batch_size=3, workers=workers)
            assert sum(len(batch["image"]) for batch in batches) == count
            del batches
    train = ("--encoder", "resnet8", "--head", "linear", "--epochs", "1", "--device", "cpu")
    run("train", "classify", "--data", "bundle", "--out", "run", "--images", "64", *train)
    run("evaluate", "run", "--data", "bundle", "--device", "cpu", "--images", "20")
    assert "matplotlib" not in sys.modules  # nothing was drawn
"""


def script(folder: Path, *, linux: bool, workers: int) -> Path:
    """The commands, as a program."""
    path = folder / "commands.py"
    path.write_text(COMMANDS.replace("LINUX", str(linux)).replace("WORKERS", str(workers)))
    return path


@pytest.mark.slow
def test_nothing_that_macos_lacks_is_needed(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "sitecustomize.py").write_text(MACOS)
    paths = os.pathsep.join([str(tmp_path / "before"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, script(tmp_path, linux=False, workers=1)],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_nothing_need_be_writable_but_what_is_asked_for(tmp_path: Path) -> None:
    """An install and a home that cannot be written, as in containers and on clusters."""
    unprivileged = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] * (os.geteuid() == 0)
    if unprivileged and not shutil.which("setpriv"):
        pytest.skip("root writes everywhere, and there is no setpriv to take that away")
    installed, home, work = (tmp_path / name for name in ("installed", "home", "work"))
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "quire", installed / "quire", ignore=compiled)
    home.mkdir()
    work.mkdir()
    folders = [home, *(path for path in (installed, *installed.rglob("*")) if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [*unprivileged, sys.executable, script(work, linux=True, workers=0)],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(installed)},
            cwd=work,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert not list(home.iterdir()) and not list(installed.rglob("__pycache__"))
    finally:
        for folder in folders:
            folder.chmod(0o755)
