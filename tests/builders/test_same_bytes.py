"""The same bytes from other processors and from other versions of the libraries.

Each build runs in a process of its own, for a library chooses its instructions when it is loaded.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.builders.every_recipe import inputs
from tests.builders.real_data import real_data
from tests.older_processors import older

ROOT = Path(__file__).parents[2]

Digests = dict[str, str]


def built(
    python: str,
    folder: Path,
    sources: tuple[str, str, str],
    environment: Mapping[str, str],
    *,
    extent: str = "all",
) -> Digests:
    """What a process makes of some sources: a digest for each file of every recipe, or of a few."""
    done = subprocess.run(
        [python, "-m", "tests.builders.every_recipe", extent, str(folder), *sources],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Sources that are drawn here, once for all processes."""
    return inputs(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def native(drawn: tuple[str, str, str], tmp_path_factory: pytest.TempPathFactory) -> Digests:
    """What this processor and these versions make of them."""
    found = built(sys.executable, tmp_path_factory.mktemp("native"), drawn, os.environ)
    assert len(found) > 140 and {name.partition(".")[2] for name in found} == {"tar", "h5"}
    return found


@pytest.mark.parametrize("level", ["sse", pytest.param("avx2", marks=pytest.mark.slow)])
def test_an_older_processor_makes_the_same_bytes_by_a_few_recipes(
    level: str, drawn: tuple[str, str, str], tmp_path: Path
) -> None:
    environment = older(level)
    native = built(sys.executable, tmp_path / "native", drawn, os.environ, extent="few")
    assert len(native) > 20
    assert built(sys.executable, tmp_path / level, drawn, environment, extent="few") == native


@pytest.mark.slow
@pytest.mark.parametrize("level", ["sse", "avx2"])
def test_an_older_processor_makes_the_same_bytes(
    level: str, drawn: tuple[str, str, str], native: Digests, tmp_path: Path
) -> None:
    assert built(sys.executable, tmp_path, drawn, older(level)) == native


@pytest.mark.slow
@pytest.mark.parametrize("level", ["sse", "avx2"])
def test_an_older_processor_makes_the_same_bytes_of_real_data(level: str, tmp_path: Path) -> None:
    """2,000 photographs in a hundred cells, with frost, and blends of VOC's scenes."""
    records = real_data("cifar10") / "cifar-10-batches-bin/test_batch.bin"
    planes = np.fromfile(records, np.uint8).reshape(-1, 3073)[:2000, 1:].reshape(-1, 3, 32, 32)
    for number, image in enumerate(planes.transpose(0, 2, 3, 1)):
        path = tmp_path / "test" / f"class{number % 4}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image)).save(path)
    sources = (
        f"folder:{tmp_path}?size=32",
        f"voc2012:{real_data('voc')}",
        str(real_data("imagenet_c_frost")),
    )
    environment = older(level)
    expected = built(sys.executable, tmp_path / "native", sources, os.environ)
    assert built(sys.executable, tmp_path / level, sources, environment) == expected


def lower_bounds() -> list[str]:
    """Each dependency at the oldest version that the project takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = [re.sub(r">=", "==", one) for one in project["dependencies"]]
    return [bound for bound in bounds if not bound.startswith(("torch", "tensorboard"))]


@pytest.mark.slow
def test_the_oldest_versions_make_the_same_bytes(
    drawn: tuple[str, str, str], native: Digests, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "old"], check=True)
    python = str(tmp_path / "old/bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", *lower_bounds()]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the oldest versions cannot be had: {done.stderr.strip().splitlines()[-1]}")
    assert built(python, tmp_path / "bundles", drawn, os.environ) == native
