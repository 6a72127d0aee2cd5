"""Decoding: the pixels of Pillow, whatever decodes them, in a folder and over an address."""

import io
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.errors import BundleError
from quire.loaders.decode import decode
from quire.loaders.stream import stream
from tests.bundles import write_bundle


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A smooth picture with an edge in it, as photographs have. -> (H, W, 3)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    array = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    array[: height // 2, : width // 3] = rng.integers(0, 256, 3)
    return array


def encoded(array: NDArray[Any], kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(array).save(target, kind, **options)
    return target.getvalue()


def palette_mask(height: int, width: int, seed: int, **options: Any) -> bytes:
    """A PNG of class ids 0..20 and 255 with colours that must not be delivered."""
    rng = np.random.default_rng(seed)
    ids = rng.choice([*range(21), 255], (height // 3 + 1, width // 3 + 1)).astype(np.uint8)
    image = Image.fromarray(ids.repeat(3, 0).repeat(3, 1)[:height, :width], "P")
    image.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    target = io.BytesIO()
    image.save(target, "PNG", **options)
    return target.getvalue()


def by_pillow(data: bytes, mode: str | None = "RGB") -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image if mode is None else image.convert(mode))


def one(extension: str, data: bytes) -> NDArray[np.uint8]:
    """What becomes of a single file."""
    (array,) = decode(extension, [data], None, 1)
    return np.asarray(array)


@pytest.mark.parametrize("quality", [30, 75, 95, 100])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(32, 32), (37, 51), (375, 500)])
def test_jpeg_pixels_are_those_of_pillow(
    quality: int, subsampling: int, size: tuple[int, int]
) -> None:
    data = encoded(picture(*size, quality), "JPEG", quality=quality, subsampling=subsampling)
    assert np.array_equal(one("jpg", data), by_pillow(data))
    progressive = encoded(picture(*size, 1), "JPEG", quality=quality, progressive=True)
    assert np.array_equal(one("jpg", progressive), by_pillow(progressive))


def test_png_pixels_are_those_of_pillow() -> None:
    colour = encoded(picture(37, 51, 0), "PNG")
    assert np.array_equal(one("png", colour), by_pillow(colour))
    gray = encoded(picture(37, 51, 0)[..., 0], "PNG")
    assert np.array_equal(one("png", gray)[..., 0], by_pillow(gray, "L"))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_of_few_bits_are_palette_ids(bits: int) -> None:
    data = few_ids(bits)
    assert np.array_equal(one("mask.png", data), by_pillow(data, None))


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("size", [(1, 1), (37, 51), (375, 500)])
def test_masks_are_palette_ids_and_never_colours(level: int, size: tuple[int, int]) -> None:
    plain = palette_mask(*size, level, compress_level=level)
    assert np.array_equal(one("mask.png", plain), by_pillow(plain, None))
    filtered = by_opencv(by_pillow(plain, None))
    assert np.array_equal(one("mask.png", filtered), by_pillow(filtered, None))


def by_opencv(ids: NDArray[np.uint8]) -> bytes:
    """A gray PNG whose rows are filtered, as OpenCV writes them."""
    done, data = cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_STRATEGY, 1])
    assert done
    return bytes(data)


def few_ids(bits: int) -> bytes:
    """A palette PNG of fewer than eight bits to a pixel."""
    ids = np.arange(37 * 51, dtype=np.uint8).reshape(37, 51) % 2**bits
    image = Image.fromarray(ids, "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 3 << bits, dtype=np.uint8).tobytes())
    target = io.BytesIO()
    image.save(target, "PNG", bits=bits)
    return target.getvalue()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes], list[bytes]]:
    folder = tmp_path_factory.mktemp("photographs") / "b"
    images = [encoded(picture(60, 81, i), "JPEG", quality=90) for i in range(9)]
    masks = [palette_mask(60, 81, i) for i in range(9)]
    write_bundle(
        folder,
        [f"{i:03d}" for i in range(9)],
        {"jpg": images, "mask.png": masks, "json": [b'{"id": %d}' % i for i in range(9)]},
        {"label": np.arange(9)},
        samples_per_shard=4,
    )
    return folder, images, masks


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("where", ["folder", "address"])
def test_a_batch_of_photographs_and_masks_holds_what_pillow_reads(
    photographs: tuple[Path, list[bytes], list[bytes]], threads: int, where: str
) -> None:
    folder, images, masks = photographs
    bundle = str(folder) if where == "folder" else f"file://{folder}"
    seen = []
    for batch in stream(bundle, batch_size=4, shuffle=True, threads=threads):
        for i, row in enumerate(batch["row"].tolist()):
            seen.append(row)
            assert np.array_equal(batch["image"][i].permute(1, 2, 0), by_pillow(images[row]))
            assert np.array_equal(batch["mask"][i], by_pillow(masks[row], None))
            assert batch["record"][i] == {"id": row}
        assert batch["image"].shape[1:] == (3, 60, 81) and batch["mask"].shape[1:] == (60, 81)
    assert sorted(seen) == list(range(9))


def test_workers_deliver_photographs_too(
    photographs: tuple[Path, list[bytes], list[bytes]],
) -> None:
    here = list(stream(photographs[0], batch_size=4, shuffle=True))
    there = list(stream(photographs[0], batch_size=4, shuffle=True, workers=2))
    for one, other in zip(here, there, strict=True):
        assert one["record"] == other["record"]
        for name in ("image", "mask", "label", "row"):
            assert torch.equal(one[name], other[name])


class Trap:
    """Whoever unpickles this fails the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a pickle was executed",))


def test_arrays_come_back_and_pickles_in_them_do_not(tmp_path: Path) -> None:
    def npy(array: NDArray[Any]) -> bytes:
        target = io.BytesIO()
        np.save(target, array, allow_pickle=True)
        return target.getvalue()

    arrays = [np.full((2, 3), i / 2, np.float32) for i in range(3)]
    files = {"npy": [npy(array) for array in arrays]}
    write_bundle(tmp_path / "a", list("abc"), files, {"label": np.arange(3)}, samples_per_shard=3)
    (batch,) = stream(tmp_path / "a")
    assert torch.equal(batch["array"], torch.from_numpy(np.stack(arrays)))
    files = {"npy": [npy(np.array([Trap()], object)), pickle.dumps(Trap()), npy(arrays[0])]}
    write_bundle(tmp_path / "b", list("abc"), files, {"label": np.arange(3)}, samples_per_shard=3)
    with pytest.raises((ValueError, BundleError)):
        list(stream(tmp_path / "b"))


def test_a_member_that_is_no_image_is_an_error(tmp_path: Path) -> None:
    for extension in ("jpg", "png", "mask.png", "ppm"):
        write_bundle(
            tmp_path / extension,
            ["a", "b"],
            {extension: [b"not an image", b"nor this one"]},
            {"label": np.arange(2)},
            samples_per_shard=2,
        )
        with pytest.raises((BundleError, ValueError, OSError)):
            list(stream(tmp_path / extension))
