"""Every picture of the sheet is what it says: the scene, its truth, and each network's answer."""

import io
import json
import shutil
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError, RunError
from quire.artifacts.masks import mask_file, voc_palette
from quire.models.deeplab import upsampled
from quire.train.engine.options import Running
from quire.train.engine.runs import MODEL
from quire.train.report.sheet import drawable
from quire.train.segmentation.measure import ANSWERS, Measure, count
from quire.train.segmentation.panels import MOST, picture_panels, scene_panels, some_keys
from quire.train.segmentation.run import Answer, Variant, trained
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from tests.bundles import image_bundle, random_images, write_bundle
from tests.hostile_tables import with_table
from tests.train.corrupted import with_manifest
from tests.train.segmentation.small import QUICK, SIDE, cooccurrence, of, scenes
from tests.train.segmentation.test_evaluate import VAL, opinionated

KEYS = [VAL.ids[5], VAL.ids[0], VAL.ids[2]]
ROWS = [5, 0, 2]
SHOWN = 240  # pixels of a picture on the sheet: six for each of a crop's
BETWEEN, BESIDE, ABOVE = 10, 20, 45  # pixels between pictures, at the right, above the first line

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline, a run of feature binding, and scenes; both networks say many classes."""
    folder = tmp_path_factory.mktemp("panels")
    given = Bundles(
        data=str(scenes(folder / "train")), cooccurrence=str(cooccurrence(folder / "cooccurrence"))
    )
    quiet = Running(tensorboard=False, checkpoint_seconds=1e9)
    for name, variant in (("baseline", "baseline"), ("binding", "binding-cm")):
        data = given if variant == "binding-cm" else Bundles(data=given.data)
        train_segmentation(of(variant, epochs=1), data, folder / name, running=quiet)
        opinionated(folder / name, MODEL)
    scenes(folder / "val", VAL)
    return folder


def runs(place: Path) -> dict[str, Path]:
    return {name: place / name for name in ("baseline", "binding")}


def with_record(place: Path, folder: Path, **fields: Any) -> Path:
    """The baseline, as if it had been trained otherwise."""
    shutil.copytree(place / "baseline", folder)
    record = json.loads((folder / "run.json").read_text())
    config = record["config"] | fields.pop("config", {})
    (folder / "run.json").write_text(json.dumps(record | fields | {"config": config}))
    return folder


def cell(sheet: Image.Image, line: int, column: int) -> Pixels:
    """A picture of the sheet; columns are counted from the right, for labels differ in width."""
    x = sheet.width - BESIDE - SHOWN - column * (SHOWN + BETWEEN)
    y = ABOVE + line * (SHOWN + BETWEEN)
    return np.asarray(sheet.crop((x, y, x + SHOWN, y + SHOWN)))


def enlarged(pixels: Pixels) -> Pixels:
    """Every pixel as a square that fills the place of a picture."""
    factor = SHOWN // len(pixels)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def scene(row: int, fill: Sequence[int]) -> tuple[Pixels, Pixels]:
    """The middle of a scene, and of its mask: cut at the sides, padded above and below."""
    image, mask = np.empty((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE), 255, np.uint8)
    image[:] = fill
    image[2:38] = VAL.scene(row).image[:, 3:43]
    mask[2:38] = VAL.scene(row).truth.mask[:, 3:43]
    return image, mask


def slow(run: Path, image: Pixels, answer: str) -> Pixels:
    """What a network says, in colours: of an image in the crops' size. (H, W, 3) -> (H, W, 3)."""
    _, config, model = trained(run)
    height, width = image.shape[:2]
    square = np.full((SIDE, SIDE, 3), config.fill, np.uint8)
    square[:height, :width] = image
    with torch.no_grad():
        scores: Any = model(torch.from_numpy(square).movedim(-1, 0)[None] / 255)
    own: Tensor = scores if isinstance(scores, Tensor) else getattr(scores, answer)
    ids = upsampled(own, (SIDE, SIDE))[0, :, :height, :width].argmax(dim=0).numpy()
    colours: Pixels = voc_palette()[ids]
    return colours


def test_the_answers_are_those_that_are_measured() -> None:
    assert get_args(Answer) == ANSWERS
    for variant in get_args(Variant):
        assert replace(QUICK, variant=variant).answers == ANSWERS[: 3 if "bind" in variant else 1]


@pytest.mark.parametrize(
    "answer",
    [*ANSWERS[:1], *(pytest.param(one, marks=pytest.mark.slow) for one in ANSWERS[1:])],
)
def test_a_line_is_the_scene_its_truth_and_each_answer(place: Path, answer: Answer) -> None:
    done: list[tuple[int, int]] = []
    sheet = scene_panels(
        runs(place),
        str(place / "val"),
        KEYS,
        answer=answer,
        report=lambda *progress: done.append(progress),
    )
    assert done == [(1, 3), (2, 3), (3, 3)]
    for line, row in enumerate(ROWS):
        image, mask = scene(row, QUICK.fill)
        baseline, binding = place / "baseline", place / "binding"
        wanted = [image, voc_palette()[mask], slow(baseline, image, "target")]
        for column, pixels in enumerate([slow(binding, image, answer), *reversed(wanted)]):
            assert np.array_equal(cell(sheet, line, column), enlarged(pixels)), (line, column)
    said = [cell(sheet, line, 0) for line in range(3)]
    assert len(np.unique(np.concatenate(said).reshape(-1, 3), axis=0)) > 2


def test_each_network_sees_its_own_colour_beside_a_scene(place: Path, tmp_path: Path) -> None:
    means = {"mean": [0.0, 1.0, 0.0]}
    other = with_record(place, tmp_path / "other", config=means)
    assert trained(other)[1].fill == (0, 255, 0)
    sheet = scene_panels(
        {"baseline": place / "baseline", "other": other}, str(place / "val"), KEYS[:1]
    )
    grey, green = (scene(5, fill)[0] for fill in (QUICK.fill, (0, 255, 0)))
    assert np.array_equal(cell(sheet, 0, 0), enlarged(slow(other, green, "target")))
    assert not np.array_equal(slow(other, green, "target"), slow(other, grey, "target"))
    assert np.array_equal(cell(sheet, 0, 3), enlarged(grey))


def test_large_crops_are_reduced_and_classes_are_never_mixed(place: Path, tmp_path: Path) -> None:
    large = with_record(place, tmp_path / "large", config={"crop": 300})
    sheet = scene_panels({"large": large}, str(place / "val"), KEYS)
    palette = {tuple(colour) for colour in voc_palette().tolist()}
    for line, row in enumerate(ROWS):
        for column in (0, 1):
            found = np.unique(cell(sheet, line, column).reshape(-1, 3), axis=0).tolist()
            assert {tuple(colour) for colour in found} <= palette
        truth = np.full((300, 300), 255, np.uint8)
        truth[132:168, 127:173] = VAL.scene(row).truth.mask
        middles = (np.arange(SHOWN) * 2 + 1) * 300 // (2 * SHOWN)
        wanted = voc_palette()[truth[np.ix_(middles, middles)]]
        assert np.array_equal(cell(sheet, line, 1), wanted)


def heading(sheet: Image.Image, column: int) -> Pixels:
    """What is written above a column."""
    x = sheet.width - BESIDE - SHOWN - column * (SHOWN + BETWEEN)
    return np.asarray(sheet.crop((x, 0, x + SHOWN, ABOVE)))


def test_headings_say_which_answer_is_shown_even_of_long_names(place: Path) -> None:
    binding, baseline = place / "binding", place / "baseline"

    def sheet(answer: Answer, **named: Path) -> Image.Image:
        return scene_panels(named, str(place / "val"), KEYS[:1], answer=answer)

    def same(one: Image.Image, other: Image.Image, column: int = 0) -> bool:
        return np.array_equal(heading(one, column), heading(other, column))

    bound = sheet("bound", **{"a": baseline, "b": binding})
    plain = sheet("target", **{"target: a": baseline, "bound: b": binding})
    assert same(bound, plain, 0) and same(bound, plain, 1)
    long = sheet("bound", **{"x" * 90: binding})
    assert not same(long, sheet("phantom", **{"x" * 90: binding}))
    assert not same(long, sheet("target", **{"x" * 90: binding}))


def test_some_scenes_are_those_that_are_measured(place: Path) -> None:
    data = str(place / "val")
    measured = count(place / "baseline", data, how=Measure(images=4)).rows.tolist()
    assert some_keys(data, 4) == [VAL.ids[row] for row in measured]
    assert set(some_keys(data, 2)) < set(some_keys(data, 4))
    assert some_keys(data, 99) == list(VAL.ids)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"config": {"crop": 48}}, "baseline is measured in 40 pixels, other in 48"),
        ({"classes": ["x", *(str(one) for one in range(20))]}, "other was trained on other clas"),
        ({"method": "classify"}, "is a run of classify, not of segment"),
    ],
)
def test_networks_that_do_not_go_together_are_refused(
    place: Path, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    other = with_record(place, tmp_path / "other", **fields)
    both = {"baseline": place / "baseline", "other": other}
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(RunError, match=message):
        scene_panels(both, str(place / "val"), KEYS)
    with pytest.raises(RunError, match=message):
        picture_panels(both, tmp_path)


def made(folder: Path, mode: str = "RGB", worst: int = 0) -> Path:
    """A bundle of scenes as another program might write it."""
    file = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(file, "PNG")
    masks = [mask_file(np.full((SIDE, SIDE), top, np.uint8)) for top in (0, worst)]
    members = {"png": [file.getvalue()] * 2, "mask.png": masks}
    columns = {"source_index": np.arange(2)}
    write_bundle(folder, ["s0", "s1"], members, columns, samples_per_shard=2)
    with_manifest(folder, source={"class_names": ["background", *VAL.class_names[1:]]})
    return folder


def test_scenes_that_cannot_be_shown_are_told(place: Path, tmp_path: Path) -> None:
    baseline = {"baseline": place / "baseline"}

    def refused(data: Path, message: str, keys: Sequence[str] = ("s0", "s1")) -> None:
        with pytest.raises(RunError, match=message):
            scene_panels(baseline, str(data), keys)

    refused(made(tmp_path / "gray", "L"), "has an image that is not in colour")
    refused(made(tmp_path / "beyond", worst=21), "mask of s1 has an id beyond its 21 classes")
    image_bundle(tmp_path / "images", *random_images(2), samples_per_shard=2)
    refused(tmp_path / "images", "no bundle of scenes")
    refused(place / "val", r"has no scene s\\x1b\[2J$", ["s\x1b[2J"])
    refused(place / "val", r"has no scene \\udcff$", ["\udcff"])
    refused(place / "val", "no scenes of", [])
    refused(place / "val", "101 scenes of .* are too many", KEYS[:1] * (MOST + 1))
    with_manifest(tmp_path / "gray", source={"class_names": ["a", "b"]})
    refused(tmp_path / "gray", "has other classes than the run was trained on")
    with pytest.raises(RunError, match="no bundle of scenes"):
        some_keys(str(tmp_path / "images"), 3)


def test_a_key_of_any_bytes_is_shown(place: Path, tmp_path: Path) -> None:
    data = made(tmp_path / "data")
    with_table(data, "index.h5", lambda file: file["key"].__setitem__(1, b"\xff"))
    assert open_bundle(data).index.rows.keys[1] == b"\xff"
    keys = some_keys(str(data), 2)
    assert drawable(keys[1]) == "?"
    sheet = scene_panels({"baseline": place / "baseline"}, str(data), keys)
    assert sheet.height > 2 * SHOWN


def test_pictures_are_shown_whole_and_upright(place: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, SIDE, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x112] = 6  # the camera was held upright: turn by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.PNG", exif=turned)
    Image.fromarray(pixels).resize((400, 300), 0).save(tmp_path / "b.png")
    (tmp_path / "._b.png").write_bytes(b"what another system leaves beside a picture")
    done: list[tuple[int, int]] = []
    sheet = picture_panels(
        runs(place), tmp_path, answer="bound", report=lambda *progress: done.append(progress)
    )
    assert done == [(1, 2), (2, 2)]
    upright = np.rot90(pixels, -1)
    baseline, binding = place / "baseline", place / "binding"
    answers = slow(binding, upright, "bound"), slow(baseline, upright, "target"), upright
    for column, wanted in enumerate(answers):
        shown = cell(sheet, 0, column)
        assert np.array_equal(shown[:, : 6 * 30], enlarged(wanted)), column
        assert (shown[:, 6 * 30 :] == 255).all()
    assert sheet.height == ABOVE + SHOWN + BETWEEN + SHOWN * 3 // 4 + 20


def claims(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and no more."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""))
    sums = ((kind, data, struct.pack(">I", zlib.crc32(kind + data))) for kind, data in chunks)
    parts = [struct.pack(">I", len(data)) + kind + data + check for kind, data, check in sums]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.filterwarnings("default")  # as for a user: Pillow's warning would be printed
@pytest.mark.parametrize(
    ("width", "reason"),
    [(8_000, "8000 x 9000 pixels are too many"), (10_000, "bomb"), (30_000, "bomb")],
)
def test_a_picture_that_would_fill_the_memory_is_refused(
    place: Path, tmp_path: Path, width: int, reason: str, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "a.png").write_bytes(claims(width, 9_000))
    with pytest.raises(BundleError, match=rf"a\.png is not a sound picture \(.*({reason})"):
        picture_panels(runs(place), tmp_path)
    assert not recwarn.list


def test_pictures_that_cannot_be_shown_are_told(place: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 9_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(BundleError, match=r"a\.png .* not eight bits a channel"):
        picture_panels(runs(place), tmp_path)
    (tmp_path / "a.png").unlink()
    palette = Image.new("P", (1, 1))
    palette.putpalette(range(9))
    palette.save(tmp_path / "a.png", transparency=b"\x00\x09\x12")  # Pillow warns of converting it
    assert picture_panels({"baseline": place / "baseline"}, tmp_path).height > SHOWN
    for number in range(MOST):
        (tmp_path / f"b{number}.jpg").touch()
    with pytest.raises(RunError, match=r"101 pictures of .* are too many: a sheet shows 100"):
        picture_panels(runs(place), tmp_path)
