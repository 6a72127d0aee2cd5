"""Images for the tests of the corruptions, and pictures of frost, all drawn here."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow


def some_images(
    count: int, height: int = 32, width: int = 32, channels: int = 3
) -> NDArray[np.uint8]:
    """Images that differ in kind: noise, waves, flat colour, black, white, noise, ..."""
    rng = np.random.default_rng(20261121)
    y, x = np.mgrid[:height, :width][..., np.newaxis]
    images = []
    for i in range(count):
        noise = rng.integers(0, 256, (height, width, channels))
        waves = 127 * np.sin((y * (1 + i % 5) + x * 2) / 9 + np.arange(channels)) + 128
        flat = np.full_like(noise, rng.integers(0, 256, channels))
        kinds = [noise, waves, flat, np.zeros_like(noise), np.full_like(noise, 255)]
        images.append(kinds[i % len(kinds)])
    return np.array(images).astype(np.uint8).reshape(count, height, width, channels)


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    """One generator an image, the same every time."""
    return [np.random.default_rng([seed, i]) for i in range(count)]


def write_frost(folder: Path) -> Path:
    """Six small pictures in the files and modes of the real ones: three RGBA, three JPEG."""
    rng = np.random.default_rng(6)
    for i in range(1, 7):
        pixels = rng.integers(0, 256, (40 + i, 38 + i, 4 if i <= 3 else 3), np.uint8)
        picture = Pillow.fromarray(pixels).resize((5 * (38 + i), 5 * (40 + i)))
        picture.save(folder / f"frost{i}.{'png' if i <= 3 else 'jpg'}")
    return folder
