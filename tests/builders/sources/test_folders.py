"""Class folders: what is a sample, in which order, and what becomes of files that are none."""

import hashlib
import io
import os
import pickle
import random
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.errors import SourceError
from quire.builders.sources.folders import ClassFolders, open_folders, path_and_size
from tests.builders.real_data import real_data


def picture(seed: int, height: int = 6, width: int = 9) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: NDArray[Any] | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(stream, form, **options)
    return stream.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def two_classes(root: Path) -> Path:
    """Two splits of two classes, every image of its own content."""
    names = [
        *("train/cat/a.png", "train/cat/b.png", "train/dog/a.png", "train/dog/sub/deep/c.png"),
        *("test/cat/z.png", "test/dog/y.png"),
    ]
    return write(root, {name: encoded(picture(i)) for i, name in enumerate(names)})


def array(images: Any) -> NDArray[np.uint8]:
    assert isinstance(images, np.ndarray)
    return images


# ---- what the samples are


def test_a_split_is_its_classes_in_order(tmp_path: Path) -> None:
    source = open_folders(two_classes(tmp_path), "train")
    block = source.read(0, len(source))
    np.testing.assert_array_equal(array(block.images), np.stack([picture(i) for i in range(4)]))
    assert block.labels.tolist() == [0, 0, 1, 1]
    assert block.indices.tolist() == [0, 1, 2, 3]
    assert block.labels.dtype == block.indices.dtype == np.int64
    assert block.bad == ()
    assert (source.kind, source.split, source.class_names) == ("folder", "train", ("cat", "dog"))
    assert source.image_shape == (6, 9, 3)


def test_the_split_all_takes_the_folders_for_classes(tmp_path: Path) -> None:
    source = open_folders(two_classes(tmp_path), "all")
    assert source.class_names == ("test", "train")
    assert len(source) == 6
    below = open_folders(tmp_path / "train", "all")
    np.testing.assert_array_equal(
        array(below.read(0, 4).images), array(open_folders(tmp_path, "train").read(0, 4).images)
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 9), max_size=4),
    bad=st.sets(st.integers(0, 8)),
    sizes=st.lists(st.integers(1, 3), min_size=9, max_size=9),
    size=st.sampled_from([None, (4, 4)]),
)
def test_ranges_make_up_the_whole(
    tmp_path: Path, cuts: list[int], bad: set[int], sizes: list[int], size: tuple[int, int] | None
) -> None:
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    for i in range(9):
        data = b"damaged" if i in bad else encoded(picture(i, sizes[i]), "PPM")
        write(tmp_path, {f"x/class{i // 3}/{i}.ppm": data})
    source = open_folders(tmp_path / "x", "all", size=size)
    ends = zip([0, *sorted(cuts)], [*sorted(cuts), 9], strict=True)
    blocks = [source.read(start, stop) for start, stop in ends]
    indices = [int(index) for block in blocks for index in block.indices]
    assert indices == [i for i in range(9) if i not in bad]
    assert [sample.index for block in blocks for sample in block.bad] == sorted(bad)
    assert [int(label) for block in blocks for label in block.labels] == [i // 3 for i in indices]
    assert source.read_labels().tolist() == [i // 3 for i in range(9)]  # the bad ones too
    images = [image for block in blocks for image in block.images]
    for index, image in zip(indices, images, strict=True):
        assert image.shape == ((4, 4, 3) if size else (sizes[index], 9, 3))
        if size is None:
            np.testing.assert_array_equal(image, picture(index, sizes[index]))
    if source.image_shape:
        assert all(array(b.images).shape[1:] == source.image_shape for b in blocks)


def test_the_order_is_that_of_code_points(tmp_path: Path) -> None:
    names = ["Z", "a", "b", "B", "ä", "z", "_", "10", "9", "a b", "a-b", "日本"]
    random.Random(0).shuffle(names)
    for name in names:
        write(tmp_path, {f"one/{name}.png": encoded(picture(0))})
        write(tmp_path, {f"{name}/x.png": encoded(picture(0))})
    ordered = ["10", "9", "B", "Z", "_", "a", "a b", "a-b", "b", "z", "ä", "日本"]
    source = open_folders(tmp_path, "all")
    assert list(source.class_names) == sorted([*ordered, "one"])
    assert list(open_folders(tmp_path / "one" / "..", "all").class_names) == sorted(
        [*ordered, "one"]
    )
    one = [name for name in source.files if name.startswith("one/")]
    assert [name[4:-4] for name in one] == sorted(ordered, key=lambda name: f"{name}.png")
    assert sorted(ordered) == ordered


def test_files_that_do_not_end_like_images_are_no_samples(tmp_path: Path) -> None:
    images = [*("a.png", "b.PNG", "c.jpg", "d.JpEg", "e.bmp", "f.ppm", "g.pgm"), "h.tif", "i.tiff"]
    images.append("j.webp")
    others = [
        "labels.txt",
        "x.csv",
        "Thumbs.db",
        ".hidden.png",
        "png",
        "x.png.part",
        "x.gif",
        "x.eps",
    ]
    write(tmp_path, {f"cat/{name}": encoded(picture(0)) for name in [*images, *others]})
    write(
        tmp_path,
        {name: encoded(picture(0)) for name in ["loose.png", ".git/x.png", "cat/.x/y.png"]},
    )
    source = open_folders(tmp_path, "all")
    assert source.class_names == ("cat",)
    assert [name.removeprefix("cat/") for name in source.files] == images


@pytest.mark.parametrize(
    ("form", "suffix"),
    [("PNG", "png"), ("BMP", "bmp"), ("PPM", "ppm"), ("TIFF", "tif"), ("WEBP", "webp")],
)
def test_what_is_stored_without_loss_comes_back(tmp_path: Path, form: str, suffix: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    write(tmp_path, {f"cat/a.{suffix}": encoded(picture(3), form, **options)})
    block = open_folders(tmp_path, "all").read(0, 1)
    np.testing.assert_array_equal(array(block.images)[0], picture(3))


def test_a_jpeg_is_what_pillow_makes_of_it(tmp_path: Path) -> None:
    data = encoded(picture(3, 40, 50), "JPEG", quality=80)
    write(tmp_path, {"cat/a.jpg": data})
    block = open_folders(tmp_path, "all").read(0, 1)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(array(block.images)[0], np.asarray(image))


GRAY = picture(1)[..., 0]
RGB = picture(1)
ALPHA = Image.fromarray(np.dstack([RGB, GRAY]))
PALETTE = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "L")
PALETTE.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
COLOURS = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)[[[0, 1], [2, 1]]]
TWO_FRAMES = encoded(Image.fromarray(RGB), "TIFF", save_all=True, append_images=[ALPHA])
TURNED = Image.Exif()
TURNED[0x0112] = 6  # orientation: to be turned by a quarter


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encoded(GRAY), np.dstack([GRAY] * 3)),
        (encoded(Image.fromarray(GRAY > 99)), np.dstack([255 * (GRAY > 99)] * 3)),
        (encoded(ALPHA), RGB),
        (encoded(Image.fromarray(np.dstack([GRAY, GRAY // 2]), "LA")), np.dstack([GRAY] * 3)),
        (encoded(PALETTE), COLOURS),
        (encoded(PALETTE, transparency=b"\x00\x80\xff"), COLOURS),  # Pillow would warn of it
        (encoded(PALETTE, transparency=1), COLOURS),
        (encoded(RGB, transparency=(1, 2, 3)), RGB),
        (TWO_FRAMES, RGB),
        (encoded(RGB, exif=TURNED), RGB),
        (encoded(Image.new("CMYK", (2, 1), (0, 255, 255, 0)), "TIFF"), [[[255, 0, 0]] * 2]),
    ],
    ids=["L", "1", "RGBA", "LA", "P", "P+", "P+1", "RGB+", "frames", "exif", "CMYK"],
)
def test_every_kind_of_eight_bit_image_becomes_rgb(
    tmp_path: Path, data: bytes, expected: Any
) -> None:
    write(tmp_path, {"cat/a.png": data})  # what it is, is read from the content
    block = open_folders(tmp_path, "all").read(0, 1)
    assert block.bad == ()
    np.testing.assert_array_equal(array(block.images)[0], expected)


def test_a_shape_is_promised_only_where_all_have_it(tmp_path: Path) -> None:
    write(tmp_path, {f"cat/{i}.png": encoded(picture(i)) for i in range(3)})
    write(tmp_path, {"cat/00.png": b"damaged"})
    source = open_folders(tmp_path, "all")
    assert source.image_shape == (6, 9, 3)
    assert array(source.read(0, 1).images).shape == (1, 6, 9, 3)
    assert array(source.read(1, 2).images).shape == (0, 6, 9, 3)  # the damaged one
    write(tmp_path, {"dog/wide.png": encoded(picture(9, 6, 10))})
    source = open_folders(tmp_path, "all")
    assert source.image_shape is None
    images = source.read(0, 5).images
    assert isinstance(images, list)
    assert [image.shape for image in images] == [(6, 9, 3)] * 3 + [(6, 10, 3)]
    assert array(source.read(2, 4).images).shape == (2, 6, 9, 3)
    assert len(source.read(1, 2).images) == 0


def test_a_shape_that_is_no_longer_true_is_a_bad_sample(tmp_path: Path) -> None:
    write(tmp_path, {f"cat/{i}.png": encoded(picture(i)) for i in range(3)})
    source = open_folders(tmp_path, "all")
    write(tmp_path, {"cat/1.png": encoded(picture(1, 5, 5))})
    block = source.read(0, 3)
    assert [(sample.index, sample.file) for sample in block.bad] == [(1, "cat/1.png")]
    assert array(block.images).shape == (2, 6, 9, 3)


# ---- one size for all


def test_a_size_takes_the_centre_and_averages(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 200  # the centre
    wide[::2, 4:12] = 100  # in stripes of one pixel: only averaging sees both
    write(tmp_path, {"cat/a.png": encoded(wide), "cat/b.png": encoded(picture(0, 31, 17))})
    source = open_folders(tmp_path, "all", size=(4, 4))
    assert source.image_shape == (4, 4, 3)
    images = array(source.read(0, 2).images)
    assert images.shape == (2, 4, 4, 3)
    assert abs(images[0, 1:3, 1:3].astype(int) - 150).max() <= 1
    assert images[0].min() > 100  # the sides see a little of what was cut off, and no more


def test_a_size_is_width_by_height(tmp_path: Path) -> None:
    write(tmp_path, {"cat/a.png": encoded(picture(0))})
    source = open_folders(tmp_path, "all", size=(5, 2))
    assert source.image_shape == (2, 5, 3)
    assert array(source.read(0, 1).images).shape == (1, 2, 5, 3)


def test_the_size_they_have_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"cat/a.png": encoded(picture(0))})
    source = open_folders(tmp_path, "all", size=(9, 6))
    np.testing.assert_array_equal(array(source.read(0, 1).images)[0], picture(0))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("a/b", ("a/b", None)),
        ("a/b?size=32", ("a/b", (32, 32))),
        ("a/b?size=32x16", ("a/b", (32, 16))),
        ("a?b=c/d", ("a?b=c/d", None)),
        ("a?b", ("a?b", None)),
        ("a?b?size=1", ("a?b", (1, 1))),
        ("a?", ("a?", None)),
        ("", ("", None)),
    ],
)
def test_a_size_stands_behind_the_path(where: str, expected: Any) -> None:
    assert path_and_size(where) == expected


@pytest.mark.parametrize(
    "options",
    [
        "size=",
        "size=0",
        "size=0x5",
        "size=-1",
        "size=16385",
        "size=1x",
        "size=a",
        "size=1x2x3",
        "width=3",
        "size=99999999999999999999",
        "size=٣",
    ],
)
def test_a_size_that_is_none_is_told(options: str) -> None:
    with pytest.raises(SourceError, match=r"is not size=N or size=WxH with sides up to 16384$"):
        path_and_size(f"photos?{options}")


# ---- what cannot be read


def bomb() -> bytes:
    """A PNG of a kilobyte that says it has 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1_000))
    chunks = [header, data, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def large_but_not_huge() -> bytes:
    """Of a size at which Pillow warns, but goes on."""
    return b"P6 10000 10000 255\n"


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
PNG, JPEG = encoded(picture(0, 40, 40)), encoded(picture(0, 40, 40), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "no BMP, JPEG, PNG, PPM, TIFF, WEBP image"),
        (EPS, "no BMP, JPEG, PNG, PPM, TIFF, WEBP image"),  # Pillow would start Ghostscript
        (encoded(picture(0), "GIF"), "no BMP, JPEG, PNG, PPM, TIFF, WEBP image"),
        (JPEG[:20], "no BMP, JPEG, PNG, PPM, TIFF, WEBP image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:-30], "truncated"),
        (PNG[:100] + b"\xff" + PNG[101:], "broken data stream"),
        (b"P6 9 6 255\n" + bytes(9 * 6 * 3 - 1), "truncated"),
        (bomb(), "a decompression bomb: more than 89478485 pixels"),
        (large_but_not_huge(), "a decompression bomb: more than 89478485 pixels"),
        (encoded(np.full((2, 2), 40_000, np.uint16)), "I;16, which is not eight bits a channel"),
        (encoded(np.full((2, 2), 0.5, np.float32), "TIFF"), "F, which is not eight bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as for most users
def test_a_file_that_is_no_image_is_a_bad_sample(tmp_path: Path, data: bytes, reason: str) -> None:
    write(tmp_path, {"cat/a.png": encoded(picture(1)), "cat/b.jpg": data, "dog/c.png": PNG})
    block = open_folders(tmp_path, "all").read(0, 3)
    (sample,) = block.bad
    assert (sample.index, sample.file) == (1, "cat/b.jpg")
    assert reason in sample.reason
    assert block.indices.tolist() == [0, 2]
    assert block.labels.tolist() == [0, 1]
    assert len(block.images) == 2


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_changes_no_reason(tmp_path: Path) -> None:
    write(tmp_path, {"cat/a.ppm": large_but_not_huge()})
    (sample,) = open_folders(tmp_path, "all").read(0, 1).bad
    assert sample.reason == "a decompression bomb: more than 89478485 pixels"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"]),
    cut=st.floats(0, 1),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")  # of Pillow, about this or that in the header
def test_a_reason_is_the_same_wherever_the_folder_lies(
    tmp_path: Path, form: str, cut: float, edits: list[tuple[float, int]]
) -> None:
    data = bytearray(encoded(picture(0, 20, 20), form))
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    blocks = []
    for folder in ("here", "there/and/deeper"):
        write(tmp_path / folder, {"cat/a.png": bytes(data[: int(cut * len(data))])})
        blocks.append(open_folders(tmp_path / folder, "all").read(0, 1))
    assert blocks[0].bad == blocks[1].bad
    assert len(blocks[0].images) + len(blocks[0].bad) == 1
    for sample in blocks[0].bad:
        assert sample.reason.isprintable()
        assert str(tmp_path) not in sample.reason
        assert " at 0x" not in sample.reason


def test_what_went_away_is_a_bad_sample(tmp_path: Path) -> None:
    source = open_folders(two_classes(tmp_path), "train")
    (tmp_path / "train/cat/b.png").unlink()
    (sample,) = source.read(0, 4).bad
    assert (sample.index, sample.file, sample.reason) == (1, "train/cat/b.png", "no such file")


def test_a_pipe_is_a_bad_sample_and_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {"cat/a.png": PNG})
    os.mkfifo(tmp_path / "cat/pipe.png")
    source = open_folders(tmp_path, "all")
    (sample,) = source.read(0, 2).bad
    assert (sample.file, sample.reason) == ("cat/pipe.png", "not a file")
    assert len(source.fingerprint()) == 64


def test_a_name_that_is_no_text_is_shown_as_one(tmp_path: Path) -> None:
    write(tmp_path, {"cat/" + os.fsdecode(b"\xff.png"): b"", "cat/two\nlines.png": b""})
    block = open_folders(tmp_path, "all").read(0, 2)
    assert [sample.file for sample in block.bad] == [r"'cat/two\nlines.png'", r"'cat/\udcff.png'"]


# ---- links


def test_a_link_that_leads_outside_is_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.png": PNG}) / "secret.png"
    root = write(tmp_path / "root", {"cat/a.png": PNG, "cat/b.png": PNG})
    (root / "cat/l.png").symlink_to(outside)
    (root / "cat/m.png").symlink_to("../../outside/secret.png")
    (root / "cat/n.png").symlink_to("a.png")
    (root / "cat/o.png").symlink_to("nothing.png")
    (root / "cat/p.png").symlink_to("p.png")
    source = open_folders(root, "all")
    block = source.read(0, len(source))
    reasons = {sample.file: sample.reason for sample in block.bad}
    assert reasons == {
        "cat/l.png": "a link that leads outside the folder",
        "cat/m.png": "a link that leads outside the folder",
        "cat/o.png": "no such file",
        "cat/p.png": "no such file",
    }
    assert block.indices.tolist() == [0, 1, 4]
    fingerprint = source.fingerprint()
    outside.write_bytes(b"other")  # not read, so no part of it
    assert source.fingerprint() == fingerprint


def test_a_folder_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"a.png": PNG})
    root = write(tmp_path / "root", {"cat/a.png": PNG})
    source = open_folders(root, "all")
    shutil.rmtree(root / "cat")
    (root / "cat").symlink_to(outside)
    (sample,) = source.read(0, 1).bad
    assert sample.reason == "a link that leads outside the folder"


@pytest.mark.parametrize("link", ["train/dog", "train/cat/more"])
def test_a_linked_folder_is_refused_by_name(tmp_path: Path, link: str) -> None:
    write(tmp_path, {"train/cat/a.png": PNG, "other/b.png": PNG})
    (tmp_path / link).symlink_to(tmp_path / "other")
    assert f"{tmp_path / link} is a link" in refusal(tmp_path, "train")


def test_a_linked_split_is_refused_but_not_a_link_to_the_whole(tmp_path: Path) -> None:
    two_classes(tmp_path / "real")
    (tmp_path / "real/val").symlink_to("train")
    assert f"{tmp_path / 'real/val'} is a link" in refusal(tmp_path / "real", "val")
    (tmp_path / "name").symlink_to("real")
    assert open_folders(tmp_path / "name", "train") == open_folders(tmp_path / "real", "train")


# ---- the record


def test_a_source_travels_and_looks_at_nothing(tmp_path: Path) -> None:
    source = open_folders(two_classes(tmp_path / "x"), "train")
    packed = pickle.dumps(source)
    assert len(packed) < 1_000
    shutil.rmtree(tmp_path / "x")
    assert pickle.loads(packed) == source


def test_the_fingerprint_is_of_names_bytes_and_size(tmp_path: Path) -> None:
    def fingerprint(folder: str, size: tuple[int, int] | None = None) -> str:
        return open_folders(tmp_path / folder, "train", size=size).fingerprint()

    two_classes(tmp_path / "a")
    two_classes(tmp_path / "b/c")
    os.utime(tmp_path / "b/c/train/cat/a.png", (1, 1))
    write(tmp_path / "b/c", {"train/notes.txt": b"x", "test/cat/new.png": PNG})
    assert fingerprint("a") == fingerprint("b/c")
    assert len({fingerprint("a", size) for size in [None, (4, 4), (4, 5), (5, 4)]}) == 4
    before = fingerprint("a")
    (tmp_path / "a/train/cat/b.png").rename(tmp_path / "a/train/dog/b.png")
    assert fingerprint("a") != before
    write(tmp_path / "b/c", {"train/cat/b.png": PNG})
    assert fingerprint("b/c") != before


def test_the_fingerprint_is_of_files_digests(tmp_path: Path) -> None:
    write(tmp_path, {"train/b/1.png": PNG, "train/a/2.png": JPEG})
    lines = [
        name.encode() + b"\0" + hashlib.sha256(data).hexdigest().encode() + b"\n"
        for name, data in [("train/a/2.png", JPEG), ("train/b/1.png", PNG)]
    ]
    expected = hashlib.sha256(b"".join(lines)).hexdigest()
    assert open_folders(tmp_path, "train").fingerprint() == expected


# ---- what is refused


def refusal(path: Path, split: str) -> str:
    with pytest.raises(SourceError) as caught:
        open_folders(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_folder_is_told(tmp_path: Path) -> None:
    looked_for = "folder: looked for class folders with images in "
    assert refusal(tmp_path / "x", "all") == f"{looked_for}{tmp_path / 'x'}; found no such folder"
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file", "all").endswith("found a file, not a folder")
    (tmp_path / "file").unlink()
    assert refusal(tmp_path, "all") == f"{looked_for}{tmp_path}; found nothing"
    write(tmp_path, {"a.png": PNG, ".hidden/b.png": PNG})
    assert refusal(tmp_path, "all") == f"{looked_for}{tmp_path}; found .hidden, a.png"


def test_a_split_without_classes_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"train/a.png": PNG})
    assert refusal(tmp_path, "train") == (
        f"folder: looked for class folders with images in {tmp_path / 'train'}; found a.png"
    )


def test_a_class_without_images_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"cat/a.png": PNG, "dog/readme.txt": b""})
    message = refusal(tmp_path, "all")
    assert message.startswith(f"folder: the class folder {tmp_path / 'dog'} has no images (.bmp ")
    assert message.endswith("; found readme.txt")


@pytest.mark.parametrize("split", ["val", "", "..", "train/cat", ".", "TRAIN"])
def test_an_unknown_split_is_told_with_those_there_are(tmp_path: Path, split: str) -> None:
    two_classes(tmp_path)
    assert refusal(tmp_path, split) == (
        f"folder: there is no split {split!r} in {tmp_path}: its folders are test, train"
        " (the split 'all' takes these for classes)"
    )


def test_a_class_of_no_printable_name_is_told(tmp_path: Path) -> None:
    write(tmp_path, {os.fsdecode(b"\xff") + "/a.png": PNG})
    assert "the class folder '\\udcff' has an unprintable name" in refusal(tmp_path, "all")


# ---- real photographs


def test_real_faces_are_read() -> None:
    root = real_data("celeba_hq_samples") / "celeba_hq"
    source = open_folders(root, "ref")
    assert source.class_names == ("female", "male")
    assert source.image_shape == (1024, 1024, 3)
    small = open_folders(root, "ref", size=(64, 64))
    block = small.read(0, len(small))
    assert block.bad == ()
    assert array(block.images).shape == (len(source), 64, 64, 3)
    assert set(block.labels.tolist()) == {0, 1}
    # a face scaled by averaging keeps its mean colour
    whole = array(source.read(0, 1).images)
    np.testing.assert_allclose(array(block.images)[0].mean((0, 1)), whole[0].mean((0, 1)), atol=1)


def test_real_photographs_of_two_shapes_are_read() -> None:
    source = open_folders(real_data("sod"), "all")
    assert source.class_names == ("GT", "Imgs")
    assert source.image_shape is None
    block = source.read(110, 130)  # masks in one bit or eight, then photographs
    assert block.bad == ()
    assert {image.shape for image in block.images} <= {(321, 481, 3), (481, 321, 3)}
    assert isinstance(source, ClassFolders)
