"""Decoding: the pixels are Pillow's, whatever the file, its neighbours and the threads."""

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.errors import BundleError
from quire.loaders.decode import decode
from quire.loaders.reader import stacked

THREADS = [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3)), 2]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def picture(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
    return Image.fromarray(rng.integers(0, 256, (height, width, *channels), dtype=np.uint8))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def by_pillow(data: bytes, mode: str | None = None) -> NDArray[Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert(mode) if mode else image)


def png(
    pixels: NDArray[np.uint8], depth: int, colour: int, filters: Callable[[int], int] = lambda _: 0
) -> bytes:
    """A PNG of one channel, written by the book: no palette entry is missing, no row is alike."""
    height, width = pixels.shape
    bits = np.unpackbits(pixels[..., None], axis=2)[..., 8 - depth :].reshape(height, -1)
    packed = np.packbits(bits, axis=1)
    rows = b""
    for number, row in enumerate(packed):
        kind = filters(number)
        left = np.concatenate([[0], row[:-1]]).astype(np.uint8)
        above = packed[number - 1] if number else np.zeros_like(row)
        rows += bytes([kind]) + (row - {0: 0 * row, 1: left, 2: above}[kind]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = [(b"PLTE", bytes(range(256)) * 3)] if colour == 3 else []
    half = len(body := zlib.compress(rows)) // 2  # two IDAT chunks, as libpng writes large ones
    chunks = [(b"IHDR", header), *((k, v[: 3 * 2**depth]) for k, v in palette)]
    chunks += [(b"IDAT", body[:half]), (b"IDAT", body[half:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in chunks
    )


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(32, 32), (37, 51), (1, 9)])
def test_jpegs_of_one_size_are_one_array_of_pillows_pixels(
    pool: ThreadPoolExecutor, threads: int, mode: str, subsampling: int, size: tuple[int, int]
) -> None:
    chroma = {"subsampling": subsampling} if mode == "RGB" else {}
    files = [saved(picture(*size, mode, i), "JPEG", quality=85, **chroma) for i in range(7)]
    decoded = decode("jpg", files, pool, threads)
    assert isinstance(decoded, np.ndarray)
    assert np.array_equal(decoded, np.stack([by_pillow(file, "RGB") for file in files]))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("kind", [("jpg", "JPEG"), ("png", "PNG"), ("ppm", "PPM")])
@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6))
def test_images_of_any_sizes_are_pillows_each_in_its_place(
    pool: ThreadPoolExecutor, threads: int, kind: tuple[str, str], sizes: list[tuple[int, int]]
) -> None:
    """Smaller ones, larger ones, and ones of as many pixels in another shape than the first."""
    extension, format = kind
    files = [saved(picture(*size, seed=i), format) for i, size in enumerate(sizes)]
    decoded = decode(extension, files, pool, threads)
    assert isinstance(decoded, np.ndarray) == (len(set(sizes)) == 1)
    for pixels, file in zip(decoded, files, strict=True):
        assert np.array_equal(pixels, by_pillow(file))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_png_without_a_name_is_gray_or_rgb(mode: str) -> None:
    files = [saved(picture(5, 7, mode, i), "PNG") for i in range(3)]
    decoded = decode("png", files, None, 1)
    for pixels, file in zip(decoded, files, strict=True):
        expected = by_pillow(file, "L" if mode == "L" else "RGB")
        assert np.array_equal(np.squeeze(pixels), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("colour", [0, 3], ids=["gray", "palette"])
@pytest.mark.parametrize(
    "filters", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 2)), "mixed"]
)
@settings(max_examples=30)  # of each of the 32
@given(data=st.data())
def test_masks_of_every_depth_and_filter_are_pillows(
    depth: int, colour: int, filters: int | str, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    ids = data.draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 2**depth - 1)))
    file = png(ids, depth, colour, lambda row: row % 3 if isinstance(filters, str) else filters)
    decoded = decode("mask.png", [file, file], None, 1)
    assert isinstance(decoded, np.ndarray)
    assert np.array_equal(decoded[0], by_pillow(file))
    assert np.array_equal(decoded[0], decoded[1])
    if colour == 3:
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded[0], ids)


@pytest.mark.parametrize("optimize", [False, True])
def test_masks_that_pillow_wrote_come_back(optimize: bool) -> None:
    ids = np.arange(21 * 30, dtype=np.int64).reshape(21, 30) % 21
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette(bytes(range(63)))
    file = saved(image, "PNG", optimize=optimize)
    assert np.array_equal(decode("mask.png", [file], None, 1)[0], ids)


@pytest.mark.parametrize(("depth", "filters"), [(8, 0), (8, 1), (4, 0)])
def test_a_flipped_bit_in_a_mask_never_changes_an_id_unseen(depth: int, filters: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2**depth - 5, (12, 10), dtype=np.uint8) % 21
    whole = png(ids, depth, 3, lambda row: filters)
    refused = 0
    for place, bit in itertools.product(range(len(whole)), range(8)):
        file = bytearray(whole)
        file[place] ^= 1 << bit
        try:
            found = decode("mask.png", [bytes(file)], None, 1)
        except (BundleError, OSError, SyntaxError, ValueError):
            refused += 1
        else:
            assert np.array_equal(found[0], ids), (place, bit)
    assert refused > 8 * 100  # the compressed ids alone are as long


@given(length=st.integers(0, 500))
def test_a_truncated_mask_is_an_error(length: int) -> None:
    ids = np.random.default_rng(0).integers(0, 21, (12, 10), dtype=np.uint8)
    file = png(ids, 8, 3)
    body_end = (
        file.rindex(b"IDAT") + 4 + int.from_bytes(file[file.rindex(b"IDAT") - 4 :][:4], "big")
    )
    with pytest.raises((BundleError, OSError, SyntaxError, ValueError)):
        decode("mask.png", [file[: min(length, body_end - 1)]], None, 1)


def test_a_mask_that_inflates_to_more_than_its_header_says_is_not_believed() -> None:
    file = png(np.zeros((40, 30), np.uint8), 8, 3)
    header = struct.pack(">IIBBBBB", 30, 20, 8, 3, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    shorter = file[:16] + header + crc + file[33:]
    assert np.array_equal(decode("mask.png", [shorter], None, 1)[0], by_pillow(shorter))


def test_what_claims_to_be_huge_is_refused_before_there_is_memory_for_it() -> None:
    header = struct.pack(">IIBBBBB", 1 << 20, 1 << 20, 8, 3, 0, 0, 0)
    file = png(np.zeros((2, 2), np.uint8), 8, 3)
    for extension in ("png", "mask.png"):
        with pytest.raises(BundleError, match="claims to have 1048576x1048576 pixels"):
            decode(extension, [file[:16] + header + file[29:]], None, 1)


@pytest.mark.parametrize("threads", THREADS)
def test_a_damaged_image_is_an_error_and_not_a_gap(pool: ThreadPoolExecutor, threads: int) -> None:
    good = saved(picture(64, 64), "JPEG")
    for number in range(5):
        files = [good[:-200] if i == number else good for i in range(5)]
        with pytest.raises(ValueError, match="Premature end"):
            decode("jpg", files, pool, threads)


def test_arrays_of_one_shape_and_type_are_one_and_others_a_list() -> None:
    def file(array: NDArray[Any]) -> bytes:
        data = io.BytesIO()
        np.save(data, array)
        return data.getvalue()

    ones, twos = np.ones((2, 3), np.float32), np.full((2, 3), 2.0)
    alike = decode("npy", [file(ones), file(2 * ones)], None, 1)
    assert np.array_equal(alike, np.stack([ones, 2 * ones]))
    mixed = decode("npy", [file(ones), file(twos)], None, 1)
    assert isinstance(mixed, list)
    assert [array.dtype for array in mixed] == [np.float32, np.float64]


def test_class_ids_are_one_array_and_records_a_list() -> None:
    assert np.array_equal(decode("cls", [b"3", b"11"], None, 1), [3, 11])
    assert decode("json", [b'{"a": 1}', b"[2]"], None, 1) == [{"a": 1}, [2]]
    assert decode("jpg", [], None, 1) == []


@pytest.mark.parametrize("extension", ["jpg", "mask.png", "json"])
def test_tensors_have_channels_first_and_may_be_written_to(extension: str) -> None:
    if extension == "json":
        assert stacked(extension, [{"a": 1}]) == [{"a": 1}]
        return
    format = {"jpg": "JPEG", "mask.png": "PNG"}[extension]
    image = picture(4, 6, "RGB" if extension == "jpg" else "L")
    larger = picture(5, 9, "RGB" if extension == "jpg" else "L")
    same, mixed = [saved(image, format)] * 2, [saved(image, format), saved(larger, format)]
    channels = (3,) if extension == "jpg" else ()
    batch = stacked(extension, decode(extension, same, None, 1))
    assert batch.shape == (2, *channels, 4, 6)
    single = stacked(extension, decode(extension, mixed, None, 1))
    assert [tensor.shape for tensor in single] == [(*channels, 4, 6), (*channels, 5, 9)]
    for tensor in (batch, *single):
        tensor += 1
