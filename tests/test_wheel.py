"""What is installed is one name, and nobody's modules are in the way of ours nor ours in theirs.

The wheel goes into an environment of its own, which takes the dependencies from this one.
"""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What a research repository has beside its scripts.
THEIRS = ("artifacts.py", "builders/__init__.py", "loaders.py", "models/__init__.py", "train.py")

SCRIPT = """
import quire
import artifacts, builders, loaders, models, train

fog = quire.stream(
    "bundle",
    select={"corruption": "contrast", "severity": [1, 3]},
    batch_size=256,
    shuffle=True,
    device="cpu",
)
for batch in fog:
    assert batch["image"].shape[1:] == (1, 8, 8) and batch["label"].ndim == 1
assert {module.WHOSE for module in (artifacts, builders, loaders, models, train)} == {"theirs"}
assert quire.__file__.startswith(PREFIX)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", minversion="77")
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # setuptools leaves a folder `build` where it works
    kept = ("pyproject.toml", "README.md", "LICENSE", "quire", *os.listdir(ROOT / "quire"))
    source.mkdir()
    for name in kept:
        if (ROOT / name).exists():
            (source / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", out, source], check=True)
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_has_one_name_and_all_that_is_below_it(wheel: Path) -> None:
    assert wheel.name.startswith("quire_vision-")
    names = zipfile.ZipFile(wheel).namelist()
    information = wheel.name.rpartition("-py3")[0] + ".dist-info"
    assert {name.partition("/")[0] for name in names} == {"quire", information}
    rooms = ("artifacts", "builders", "loaders", "models", "train")
    files = {str(p.relative_to(ROOT)) for room in rooms for p in (ROOT / room).rglob("*.py")}
    pages = {str(p.relative_to(ROOT)) for p in (ROOT / "train").rglob("*.html")}
    assert {f"quire/{name}" for name in files | pages} | {"quire/py.typed"} <= set(names)


@pytest.mark.slow
def test_in_a_folder_of_the_same_names_everything_works(wheel: Path, tmp_path: Path) -> None:
    fresh, work = tmp_path / "fresh", tmp_path / "work"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh], check=True)
    python = fresh / "bin" / "python"
    layout = sysconfig.get_paths("venv", {"base": str(fresh), "platbase": str(fresh)})
    installed = Path(layout["purelib"])
    # a path alone: what the other environment has by way of links and hooks stays there
    (installed / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
    ]
    subprocess.run([*pip, "--no-index", wheel], check=True)
    for name in THEIRS:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text('WHOSE = "theirs"\n')

    def run(*command: object) -> None:
        environment = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

    build = ("--corruptions", "contrast", "--severities", "1", "3", "--out", "bundle")
    ways: list[list[object]] = [[fresh / "bin" / "quire"], [python, "-m", "quire"]]
    for quire in ways:
        run(*quire, "build", "corrupted", "--source", "digits:", *build, "--workers", "1")
        run(*quire, "verify", "bundle")
    (work / "script.py").write_text(SCRIPT.replace("PREFIX", repr(str(installed))))
    run(python, "script.py")
    train = ("--encoder", "resnet8", "--head", "linear", "--epochs", "1", "--images", "64")
    run(*ways[0], "train", "classify", "--data", "bundle", "--out", "run", *train)
