"""The parts fit: build, verify, stream, and read with tools that know nothing of us."""

import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quire
from quire.builders.recipes.corrupted import Corrupted

Samples = dict[str, tuple[bytes, int]]  # key -> pixels, label


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end") / "b"
    recipe = Corrupted(corruptions=("fog",), severities=(1, 5), samples_per_shard=150)
    quire.build(recipe, quire.open_source("digits:32", split="test"), folder)
    assert quire.verify(folder) == ()
    return folder


@pytest.fixture(scope="module")
def streamed(bundle: Path) -> Samples:
    batches = quire.stream(bundle, batch_size=64, shuffle=True)
    return {
        key: (image.permute(1, 2, 0).numpy().tobytes(), int(label))
        for batch in batches
        for key, image, label in zip(
            batches.keys(batch["row"]), batch["image"], batch["label"], strict=True
        )
    }


def shards(bundle: Path) -> list[str]:
    return sorted(map(str, bundle.glob("*.tar")))


def test_every_sample_is_streamed(streamed: Samples) -> None:
    assert len(streamed) == 360 * 3
    assert len({pixels for pixels, _ in streamed.values()}) == 360 * 3


@pytest.mark.filterwarnings("ignore")  # webdataset leaves files open
def test_plain_webdataset_reads_the_same(bundle: Path, streamed: Samples) -> None:
    import webdataset

    dataset = webdataset.WebDataset(shards(bundle), shardshuffle=False).decode("rgb8")
    read = {s["__key__"]: (np.asarray(s["ppm"]).tobytes(), int(s["cls"])) for s in dataset}
    assert read == streamed


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_datasets_reads_the_same(
    bundle: Path, streamed: Samples, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.load_dataset(
        "webdataset",
        data_files={"test": shards(bundle)},
        split="test",
        streaming=True,
        cache_dir=str(tmp_path),
    )

    def sample(row: dict[str, Any]) -> tuple[bytes, int]:
        return np.asarray(row["ppm"].convert("RGB")).tobytes(), int(row["cls"])

    assert {row["__key__"]: sample(row) for row in dataset} == streamed


def test_tar_reads_the_same(bundle: Path, streamed: Samples, tmp_path: Path) -> None:
    for shard in shards(bundle):
        subprocess.run(["tar", "-xf", shard, "-C", tmp_path], check=True)
        with tarfile.open(shard) as tar:
            assert all(member.isfile() and member.mtime == 0 for member in tar)
    images = {path.stem: path.read_bytes()[13:] for path in tmp_path.glob("*.ppm")}
    labels = {path.stem: int(path.read_text()) for path in tmp_path.glob("*.cls")}
    assert {key: (images[key], labels[key]) for key in images} == streamed


def test_two_steps_of_training_run_on_a_stream(bundle: Path) -> None:
    """Six steps take .33 to .40 off the loss of a linear layer over six seeds."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    clean = {"corruption": "clean"}
    losses = []
    for _ in range(2):
        for batch in quire.stream(bundle, select=clean, batch_size=120, shuffle=True):
            loss = torch.nn.functional.cross_entropy(model(batch["image"] / 255), batch["label"])
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert losses[-1] < losses[0]
