"""Small bundles that can be learned in a second, and the smallest of runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.members import RAW_IMAGE, class_ids, raw_images
from quire.models.cnn2graph import CNN2GraphConfig
from quire.models.similarity_graph import GraphConfig
from quire.train.classify.run import Classify
from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import Running
from tests.bundles import image_bundle, write_bundle

GRAPH = GraphConfig(k=3, width=16)
QUICK = Classify(
    encoder="resnet8", graph=GRAPH, epochs=2, batch_size=8, lr=0.05, mean=(0.5,), std=(0.25,)
)
# Long and gently enough that what is learned depends on the seed little, and on rounding less.
LEARNING = replace(QUICK, epochs=12, batch_size=20, lr=0.02, crop=(1.0, 1.0), flip=False)
PROXY = replace(QUICK, head="cnn2graph", cnn2graph=CNN2GraphConfig(heads=2))
RUNNING = Running(tensorboard=False, log_every=1, checkpoint_seconds=0.0)
RARELY = replace(RUNNING, checkpoint_seconds=1e9)


def learnable_bundle(folder: Path, *, images: int = 20, seed: int = 0, channels: int = 1) -> Path:
    """8 x 8 images whose class is told by two shades in stripes, clean and noisy."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, images)
    clean = _striped(labels, rng, channels)
    noise = rng.integers(-50, 50, clean.shape)
    noisy = np.clip(clean.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    both = np.concatenate([clean, noisy])
    write_bundle(
        folder,
        [f"{cell}-{i:08d}" for cell in ("clean", "noise-2") for i in range(images)],
        {RAW_IMAGE[channels]: raw_images(both), "cls": class_ids(np.tile(labels, 2))},
        {
            "label": np.tile(labels, 2),
            "source_index": np.tile(np.arange(images), 2),
            "corruption": np.repeat(np.array([b"clean", b"noise"]), images),
            "severity": np.repeat(np.array([0.0, 2.0]), images),
        },
        samples_per_shard=images,
    )
    return folder


def epoch_losses(run: Path) -> list[float]:
    """The mean loss of each epoch of a run that logged every step."""
    lines = read_metrics(run)
    steps = [line["loss"] for line in lines if "loss" in line]
    epochs = sum("train_accuracy" in line for line in lines)
    return [float(mean) for mean in np.reshape(steps, (epochs, -1)).mean(1)]


def last_accuracy(run: Path) -> float:
    """Of the last epoch, in percent."""
    return [line["train_accuracy"] for line in read_metrics(run) if "train_accuracy" in line][-1]


def anchor_bundle(
    folder: Path, *, of_class: int = 1, seed: int = 9, size: int = 8, channels: int = 1
) -> Path:
    """Clean images of the same kind, as many of each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10), of_class)
    images = _striped(labels, rng, channels, size=size)
    image_bundle(folder, images, labels, samples_per_shard=7)
    return folder


def _striped(
    labels: NDArray[np.int64], rng: np.random.Generator, channels: int, *, size: int = 8
) -> NDArray[np.uint8]:
    """Two shades by class, with a little noise. (N,) -> (N, size, size, channels)."""
    images = np.empty((len(labels), size, size, channels), np.uint8)
    images[:, ::2] = (labels // 4 * 80)[:, None, None, None]
    images[:, 1::2] = (labels % 4 * 60)[:, None, None, None]
    images += rng.integers(0, 20, images.shape, dtype=np.uint8)
    return images
