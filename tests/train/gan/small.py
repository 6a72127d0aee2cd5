"""The smallest GANs, and images that they can be trained on in a second."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from quire.models.batch_features import EdgeGraphConfig, MinibatchConfig
from quire.train.engine.options import Running
from quire.train.gan.run import Gan
from tests.bundles import image_bundle

SMALL = Gan(
    discriminator="vanilla",
    width=2,
    latent=4,
    iterations=6,
    batch_size=8,
    measure_every=3,
    samples=20,
)
KINDS: dict[str, Gan] = {
    "vanilla": SMALL,
    "minibatch": replace(
        SMALL, discriminator="minibatch", minibatch=MinibatchConfig(kernels=3, kernel_width=2)
    ),
    "mc-mbgnn": replace(
        SMALL,
        discriminator="mc-mbgnn",
        graph=EdgeGraphConfig(heads=2, head_width=4, hidden=4, edge_width=3),
    ),
}
RUNNING = Running(tensorboard=False, log_every=1, checkpoint_seconds=0.0, device="cpu")


def squares(folder: Path, *, images: int = 40, size: int = 32, channels: int = 1) -> Path:
    """Images with a light square in one of four corners."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 4, images)
    pixels = rng.integers(0, 30, (images, size, size, channels), np.uint8)
    half = size // 2
    for image, corner in zip(pixels, corners.tolist(), strict=True):
        top, left = half * (corner // 2), half * (corner % 2)
        image[top + 4 : top + half - 4, left + 4 : left + half - 4] += 200
    image_bundle(folder, pixels, corners, samples_per_shard=25)
    return folder
