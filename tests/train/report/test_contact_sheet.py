"""What the contact sheet shows, found again in its pixels."""

import io
import shutil
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.members import raw_images
from quire.train.report.contact_sheet import class_names, contact_sheet, layout
from quire.train.report.corruption_cells import Cell
from tests.bundles import image_bundle, random_images, write_bundle
from tests.train.corrupted import CELLS, corrupted_bundle, with_manifest

Pixels = NDArray[np.uint8]


def drawn(bundle: Bundle, density: int = 1) -> Pixels:
    sheet = contact_sheet(bundle, density=density)
    assert sheet is not None and sheet.mode == "RGB"
    return np.asarray(sheet)


def places(sheet: Pixels, picture: Pixels, factor: int) -> list[tuple[int, int]]:
    """Where on a sheet (x, y) a picture stands, each of its pixels `factor` times as large."""
    large = np.broadcast_to(picture, (*picture.shape[:2], 3)).repeat(factor, 0).repeat(factor, 1)
    height, width = large.shape[:2]
    fits = np.ones((sheet.shape[0] - height, sheet.shape[1] - width), np.bool_)
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, 0), (0, width // 2)):
        for channel in range(3):  # a few pixels tell nearly all places apart
            part = sheet[y : y + fits.shape[0], x : x + fits.shape[1], channel]
            fits &= part == large[y, x, channel]
    return [
        (x, y)
        for y, x in np.argwhere(fits).tolist()
        if np.array_equal(sheet[y : y + height, x : x + width], large)
    ]


def is_paper(pixels: Pixels) -> bool:
    return bool((pixels == 255).all())


@pytest.mark.slow
@pytest.mark.parametrize("density", [1, 2])
@pytest.mark.parametrize("shape", [(8, 8, 3), (28, 20, 1), (96, 96, 3)])
def test_every_cell_shows_the_same_images_at_its_place(
    shape: tuple[int, int, int], density: int, tmp_path: Path
) -> None:
    bundle, images = corrupted_bundle(tmp_path / "b", shape=shape)
    sheet = drawn(bundle, density)
    factor = density * max(1, 64 // max(shape))
    found = {at: places(sheet, image, factor) for at, image in images.items()}
    chosen = sorted({source for (_, source), where in found.items() if where})
    assert 1 <= len(chosen) <= 3
    for (cell, source), where in found.items():
        assert len(where) == (source in chosen), (cell, source)
    for position, source in enumerate(chosen):
        at = {cell: found[cell, source][0] for cell in CELLS}
        lines = {name: {at[cell][1] for cell in CELLS if cell[0] == name} for name, _ in CELLS}
        assert all(len(y) == 1 for y in lines.values())  # a line for each corruption
        tops = [y.pop() for y in lines.values()]
        assert tops == sorted(tops) and len(set(tops)) == len(tops)  # in order, clean first
        for severity in (1, 2, 3):  # a column for each severity
            assert at["gaussian_noise", severity][0] == at["fog", severity][0]
        columns = [at["fog", severity][0] for severity in (1, 2, 3)]
        assert columns == sorted(columns) and len(set(columns)) == 3
        left = at["clean", 0][0] - found[("clean", 0), chosen[0]][0][0]
        assert left == position * (shape[1] * factor + 2 * density)


def test_labels_stand_left_of_their_lines_and_headings_above_their_columns(tmp_path: Path) -> None:
    bundle, images = corrupted_bundle(tmp_path / "b")
    sheet = drawn(bundle)
    labels = {}
    for name, severity in CELLS:
        x, y = places(sheet, images[(name, severity), 0], 8)[0]
        labels[name] = sheet[y : y + 64, 20 : places(sheet, images[CELLS[0], 0], 8)[0][0]]
        assert is_paper(sheet[y : y + 64, :18]) and is_paper(labels[name][:, -10:])
        if name == "fog":
            assert is_paper(sheet[y - 8 : y, x : x + 64])  # no heading of its own
        if name == "gaussian_noise":
            assert not is_paper(sheet[y - 25 : y - 5, x : x + 196])
    for name, label in labels.items():
        assert not is_paper(label[16:48]), name  # ink at the middle of the line
        assert is_paper(label[:10]) and is_paper(label[-10:])
        others = [other for other in labels if other != name]
        assert not any(np.array_equal(label, labels[other]) for other in others)


@pytest.mark.parametrize("name", ["x" * 500, "\x1b[31m\n\u202e", "蛇" * 40, " "])
def test_hostile_names_stay_in_their_place(name: str, tmp_path: Path) -> None:
    bundle, images = corrupted_bundle(tmp_path / "b", [("clean", 0), (name, 1)], sources=1)
    sheet = drawn(bundle)
    for image in images.values():
        assert len(places(sheet, image, 8)) == 1
    (x, _) = places(sheet, images[("clean", 0), 0], 8)[0]
    assert x <= 240 and is_paper(sheet[:, x - 10 : x]) and is_paper(sheet[:, :18])


@pytest.mark.slow
@given(
    cells=st.lists(
        st.tuples(st.sampled_from(["fog", "snow", "frost"]), st.integers(0, 60).map(float)),
        unique=True,
        min_size=1,
        max_size=60,
    ),
    width=st.integers(1, 400),
)
@settings(max_examples=25)
def test_every_cell_is_on_the_sheet_once(cells: list[Cell], width: int) -> None:
    with TemporaryDirectory() as folder:
        bundle, _ = corrupted_bundle(Path(folder) / "b", cells, sources=2, shape=(1, 1, 1))
    plan = layout(bundle.index, (), width)
    found: list[Cell] = []
    for band in plan.bands:
        for line in band.lines:
            for heading, tile in zip(band.headings, line.tiles, strict=True):
                assert tile is not None
                columns = bundle.index.rows.columns
                severities = columns["severity"][list(tile.rows)]
                assert {f"{severity:g}" for severity in severities} == {heading}
                assert {name.decode() for name in columns["corruption"][list(tile.rows)]} == {
                    line.label
                }
                found.append((line.label, float(heading)))
    assert sorted(found) == sorted(cells)
    assert plan.remark == ""


def test_thousands_of_cells_are_cut_with_a_remark(tmp_path: Path) -> None:
    cells = [(f"c{i}", float(j)) for i in range(250) for j in range(4)]
    bundle, _ = corrupted_bundle(tmp_path / "b", cells, sources=1, shape=(1, 1, 1))
    assert layout(bundle.index, (), 64).remark == "400 more cells are not shown"
    sheet = drawn(bundle)
    assert not is_paper(sheet[-40:])


def test_an_image_that_a_cell_lacks_is_not_the_one_to_show(tmp_path: Path) -> None:
    missing = [(CELLS[4], 0)]
    bundle, images = corrupted_bundle(tmp_path / "b", shape=(128, 128, 3), without=missing)
    sheet = drawn(bundle)
    assert not places(sheet, images[CELLS[0], 0], 1)
    assert [len(places(sheet, images[cell, 1], 1)) for cell in CELLS] == [1] * len(CELLS)


def test_a_cell_without_the_image_stays_blank(tmp_path: Path) -> None:
    missing = [(CELLS[4], 0), (CELLS[5], 1)]
    bundle, images = corrupted_bundle(
        tmp_path / "b", shape=(128, 128, 3), sources=2, without=missing
    )
    sheet = drawn(bundle)
    (x, _), (_, y) = (places(sheet, images[at, 0], 1)[0] for at in (CELLS[1], CELLS[5]))
    assert is_paper(sheet[y : y + 128, x : x + 128])
    assert not is_paper(sheet[y : y + 128, x + 138 :])


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "factor"), [((28, 28, 1), 2), ((32, 32, 3), 2), ((9, 5, 3), 7)])
def test_plain_bundles_show_samples_from_all_over_with_their_classes(
    shape: tuple[int, int, int], factor: int, tmp_path: Path
) -> None:
    images, _ = random_images(150, shape)
    labels = np.arange(150) // 30
    image_bundle(tmp_path / "b", images, labels, samples_per_shard=100)
    bundle = open_bundle(tmp_path / "b")
    sheet = drawn(bundle)
    found = {row: places(sheet, image, factor) for row, image in enumerate(images)}
    shown = [row for row, where in found.items() if where]
    assert 30 <= len(shown) <= 100
    assert {int(labels[row]) for row in shown} == {0, 1, 2, 3, 4}
    for row in shown:
        [(x, y)] = found[row]
        below = sheet[y + shape[0] * factor :, x : x + shape[1] * factor][:20]
        assert not is_paper(below), f"sample {row} has no caption"
    order = sorted(shown, key=lambda row: found[row][0][::-1])
    assert order == shown  # by lines, from left to right


@pytest.mark.parametrize(
    ("names", "label", "caption"),
    [
        (["cat", "dog"], 1, "dog"),
        (["cat"], 1, "class 1"),
        ([], 0, "class 0"),
        (None, 7, "class 7"),
        (["cat"], -1, "class -1"),
        ([["a", {"b": None}]], 0, "['a', {'b': None}]"),
    ],
)
def test_captions_name_the_class_where_it_has_a_name(
    names: object, label: int, caption: str, tmp_path: Path
) -> None:
    images, _ = random_images(1)
    image_bundle(tmp_path / "b", images, np.array([label]), samples_per_shard=1)
    with_manifest(tmp_path / "b", source={"class_names": names})
    bundle = open_bundle(tmp_path / "b")
    [tile] = layout(bundle.index, class_names(bundle), 64).bands[0].lines[0].tiles
    assert tile is not None and tile.caption == caption
    drawn(bundle)


def png(pixels: Pixels, palette: Sequence[int] | None = None) -> bytes:
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(list(palette))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("own_palette", [True, False])
def test_photographs_are_reduced_and_masks_stand_beside_them_in_their_colours(
    own_palette: bool, tmp_path: Path
) -> None:
    photograph = np.full((375, 500, 3), 200, np.uint8)
    mask = np.zeros((375, 500), np.uint8)
    mask[100:300, 200:400] = 15
    colours = {0: (10, 20, 30), 15: (200, 100, 50)} if own_palette else {0: (0, 0, 0)}
    palette = [0] * 768
    for number, colour in colours.items():
        palette[3 * number : 3 * number + 3] = colour
    masks = [png(mask, palette if own_palette else None)]
    write_bundle(
        tmp_path / "b",
        ["a"],
        {"png": [png(photograph)], "mask.png": masks},
        {},
        samples_per_shard=1,
    )
    sheet = drawn(open_bundle(tmp_path / "b"))
    place = np.argwhere((sheet == 200).all(-1))
    (top, left), (bottom, right) = place.min(0), place.max(0)
    assert (bottom - top + 1, right - left + 1) == (120, 160)
    beside = sheet[top : bottom + 1, right + 3 : right + 163]
    inside = (200, 100, 50) if own_palette else (192, 128, 128)  # VOC's colour of a person
    assert {tuple(pixel) for pixel in beside.reshape(-1, 3).tolist()} == {colours[0], inside}
    assert tuple(beside[64, 96]) == inside
    assert sheet.shape[1] == right + 163 + 20


def test_the_same_bundle_gives_the_same_picture(tmp_path: Path) -> None:
    bundle, _ = corrupted_bundle(tmp_path / "b")
    elsewhere = open_bundle(Path(shutil.copytree(tmp_path / "b", tmp_path / "c")))
    assert np.array_equal(drawn(bundle), drawn(elsewhere))


def test_a_bundle_without_pictures_has_no_sheet(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", ["a"], {"json": [b"{}"]}, {}, samples_per_shard=1)
    assert contact_sheet(open_bundle(tmp_path / "b")) is None


def empty_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "none of JPEG, PNG, PPM"),
        (b"GIF89a", "none of JPEG, PNG, PPM"),
        (empty_png(60_000, 60_000), "decompression bomb"),
        (empty_png(9_000, 9_000), "9000 x 9000 pixels are too many"),
        (empty_png(0, 5), "0 x 5|none of"),
        (png(random_images(1, (40, 40, 3))[0][0])[:2000], "truncated"),
        (b"P5\n9 9\n255\n1", "truncated"),
        (b"P5\n9000 9000\n255\n1", "too many"),
        (b"P5\n0 0\n255\n", "0 x 0|none of"),
    ],
)
def test_a_picture_that_is_none_is_named_with_the_reason(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "b", ["k"], {"png": [data]}, {}, samples_per_shard=1)
    with pytest.raises(
        BundleError, match=rf"^k\.png is not a sound image \(.*({reason})"
    ) as caught:
        contact_sheet(open_bundle(tmp_path / "b"))
    assert str(caught.value).isprintable() and " at 0x" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 1)])
def test_images_of_any_shape_fit(shape: tuple[int, int, int], tmp_path: Path) -> None:
    files = raw_images(np.zeros((1, *shape), np.uint8))
    extension = "ppm" if shape[2] == 3 else "pgm"
    write_bundle(tmp_path / "b", ["k"], {extension: files}, {}, samples_per_shard=1)
    sheet = drawn(open_bundle(tmp_path / "b"))
    assert (sheet == 0).all(-1).any() and max(sheet.shape) < 400
