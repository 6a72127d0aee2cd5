"""The scripts of docs/clusters.md, with a cluster of local processes in place of theirs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quire.builders.engine.run import build
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from tests.same_folder import assert_same

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/clusters.md").read_text()
SCRIPTS = re.findall(r"```python\n# (\w+)\.py:[^\n]*\n(.*?)```", TEXT, re.DOTALL)
STAND_IN = """
from distributed import LocalCluster

class Cluster(LocalCluster):
    def __init__(self, **theirs):
        super().__init__(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    def scale(self, n=2, jobs=None):
        return super().scale(n if jobs is None else 2)

SLURMCluster = KubeCluster = Cluster
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "script"), SCRIPTS, ids=[name for name, _ in SCRIPTS])
def test_a_script_builds_what_one_machine_builds(name: str, script: str, tmp_path: Path) -> None:
    for module in ("dask_jobqueue", "dask_kubernetes/operator", "coiled"):
        path = tmp_path / "modules" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
    (tmp_path / f"{name}.py").write_text(f"if __name__ == '__main__':\n{indented(script)}")
    images = write_images(tmp_path / "images/test")
    spec = f"folder:{'file://' if name == 'coiled_cluster' else ''}{images.parent}"
    command = [sys.executable, str(tmp_path / f"{name}.py"), spec, f"file://{tmp_path}/there"]
    found = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "modules"), str(ROOT)])}
    done = subprocess.run(command, env={**os.environ, **found}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "91 of 91 shards" in done.stdout and "546 samples in 91 shards" in done.stdout
    source: Any = open_source(f"folder:{images.parent}", split="test")
    build(Corrupted(split="test"), source, tmp_path / "here")
    assert_same(tmp_path / "here", tmp_path / "there")


def write_images(folder: Path) -> Path:
    """Two classes of images as small as those of CIFAR-10."""
    rng = np.random.default_rng(0)
    for number in range(6):
        path = folder / ("cat" if number < 3 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return folder


def indented(script: str) -> str:
    return "".join(f"    {line}\n" for line in script.splitlines())


def test_there_is_a_script_for_each_kind_of_cluster() -> None:
    assert [name for name, _ in SCRIPTS] == ["slurm", "kubernetes", "coiled_cluster"]
