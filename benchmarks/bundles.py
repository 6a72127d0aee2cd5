"""Small plain bundles to time against: of real images where a data folder is given, else of smooth
made ones.

Noise would do for raw pixels, but a codec's speed depends on what is in the picture.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import tests.bundles
from quire.artifacts.manifest import Manifest
from quire.artifacts.shards import Payloads
from quire.builders.sources.catalogue import open_source

Pixels: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
Images: TypeAlias = NDArray[np.uint8]  # (N, H, W, 3)
Labels: TypeAlias = NDArray[np.int64]  # (N,)

SIZE = (500, 375)  # of photographs: the commonest of VOC2012
_IDS = 21  # of VOC2012's masks, apart from the border's
_QUALITY = 95


def small_images(count: int, data: Path | None) -> tuple[Images, Labels]:
    """CIFAR-10's training images, again and again until there are enough; or made ones."""
    rng = np.random.default_rng(0)
    if data is None:
        images = np.stack([_smooth(rng, (32, 32), detail=8) for _ in range(min(count, 1000))])
        labels = rng.integers(0, 10, len(images))
    else:
        source = open_source(f"cifar10:{data / 'cifar10'}", split="train")
        block = source.read(0, len(source))
        images, labels = np.asarray(block.images), block.labels
    rows = np.arange(count) % len(images)
    return images[rows], labels[rows]


def jpegs(images: Images) -> list[bytes]:
    """Images as JPEG files."""
    return [_jpeg(image) for image in images]


def photographs(count: int, data: Path | None) -> tuple[list[bytes], list[bytes]]:
    """JPEG files of 500x375 pixels, and palette PNG files of the ids of their pixels.

    VOC2012's own, again and again until there are enough; or made ones.
    """
    pairs = list(_made(min(count, 16)) if data is None else _voc(data / "voc/VOCdevkit/VOC2012"))
    rows = np.arange(count) % len(pairs)
    return [pairs[row][0] for row in rows], [pairs[row][1] for row in rows]


def _voc(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    for mask in sorted((folder / "SegmentationClassAug").glob("*.png")):
        with Image.open(mask) as ids:
            image = folder / "JPEGImages" / f"{mask.stem}.jpg"
            if ids.size == SIZE and image.exists():
                yield image.read_bytes(), mask.read_bytes()


def _made(count: int) -> Iterator[tuple[bytes, bytes]]:
    rng = np.random.default_rng(0)
    width, height = SIZE
    for _ in range(count):
        image = _smooth(rng, (height, width), detail=60)
        field = cv2.resize(rng.random((5, 7)), SIZE, interpolation=cv2.INTER_CUBIC)
        ids = np.where(field > 0.6, rng.integers(1, _IDS), 0) + np.where(field > 0.9, 3, 0)
        yield _jpeg(image), _palette_png(ids.astype(np.uint8) % _IDS)


def _smooth(rng: np.random.Generator, size: tuple[int, int], *, detail: int) -> Pixels:
    """A picture of soft spots, and a little grain. -> (H, W, 3)."""
    height, width = size
    spots = rng.integers(0, 256, (detail, detail, 3), dtype=np.uint8)
    soft = np.asarray(cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    grain = rng.integers(0, 12, soft.shape, dtype=np.uint8)
    return np.minimum(soft, 255 - 11) + grain


def _jpeg(image: Pixels) -> bytes:
    bgr = np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _palette_png(ids: NDArray[np.uint8]) -> bytes:
    """A mask as Pillow writes it, each id with some colour."""
    picture = Image.fromarray(ids, "P")
    picture.putpalette((np.arange(768) * 37 % 256).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def write_bundle(
    folder: Path, members: Mapping[str, Payloads], labels: Labels, *, samples_per_shard: int
) -> Manifest:
    """Write samples as a bundle, keys counting from 0."""
    keys = [f"{i:08d}" for i in range(len(labels))]
    return tests.bundles.write_bundle(
        folder, keys, members, {"label": labels}, samples_per_shard=samples_per_shard
    )
