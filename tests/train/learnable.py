"""Small bundles that can be learned in a second, and the smallest of runs."""

from pathlib import Path

import numpy as np

from artifacts.members import RAW_IMAGE, class_ids, raw_images
from models.similarity_graph import GraphConfig
from tests.bundles import write_bundle
from train.classifier_run import Classify
from train.running import Running

GRAPH = GraphConfig(k=3, width=16)
QUICK = Classify(
    encoder="resnet20", graph=GRAPH, epochs=2, batch_size=8, lr=0.05, mean=(0.5,), std=(0.25,)
)
RUNNING = Running(tensorboard=False, log_every=1, checkpoint_seconds=0.0)


def learnable_bundle(folder: Path, *, images: int = 20, seed: int = 0, channels: int = 1) -> Path:
    """8 x 8 images whose class is told by two shades in stripes, clean and noisy."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, images)
    clean = np.empty((images, 8, 8, channels), np.uint8)
    clean[:, ::2] = (labels // 4 * 80)[:, None, None, None]
    clean[:, 1::2] = (labels % 4 * 60)[:, None, None, None]
    clean += rng.integers(0, 20, clean.shape, dtype=np.uint8)
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
