"""What networks make of scenes, side by side: image, ground truth, and each network's answer.

Classes have the colours of Pascal VOC. Scenes of a bundle are shown as they are measured: the
square in their middle. Pictures of a folder, which nobody has labelled, are shown whole, as large
as the crops at most.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.errors import BundleError, RunError
from quire.artifacts.masks import voc_palette
from quire.loaders.stream import Stream, stream
from quire.train.engine.dataset_checks import check_classes
from quire.train.engine.options import Report, best_device
from quire.train.engine.subset import rows_of
from quire.train.report.printable import printable
from quire.train.report.sheet import Band, Line, Tile, draw
from quire.train.segmentation.measure import Predictor, centred, in_colour
from quire.train.segmentation.run import Answer, Segment, trained
from quire.train.segmentation.scenes import check_ids, check_members

SIDE = 240  # pixels that a picture has at most on the sheet, by its longer side
MOST = 100  # lines of a sheet
_MAX_PIXELS = 1 << 26
_SUFFIXES = {".jpg", ".jpeg", ".png"}
_EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}

Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Network:
    """A column of the sheet."""

    name: str
    predictor: Predictor
    classes: tuple[str, ...]
    answer: Answer  # which of its answers is shown
    told: bool  # whether the heading says which

    @property
    def config(self) -> Segment:
        """How it was trained."""
        return self.predictor.config

    @property
    def heading(self) -> str:
        """The answer comes first: what is too long is cut at its end."""
        return f"{self.answer}: {self.name}" if self.told else self.name

    def shown(self, images: Tensor) -> Image.Image:
        """What it makes of an image. (1, 3, H, W) uint8."""
        predicted = self.predictor.answers(images)[self.answer][0]
        return _painted(predicted.to(torch.uint8).cpu().numpy())

    def shown_whole(self, image: Tensor) -> Image.Image:
        """What it makes of an image of any size. (3, H, W) uint8."""
        predicted = self.predictor.of_whole(image, self.answer).argmax(dim=0)
        return _painted(predicted.to(torch.uint8).cpu().numpy())


def some_keys(data: str, images: int) -> list[str]:
    """The keys of so many scenes of a bundle, chosen at random once and for all, in its order.

    They are the scenes that `Measure.images` chooses; all, where there are not as many.

    Raises:
        RunError: the bundle has no scenes, or nothing tells which image a sample shows.
        BundleError: the bundle is damaged.
    """
    data = Location(data)
    whole = stream(data, columns=())
    check_members(whole, data, ("mask.png",), ())
    keys = whole.index.rows.keys[rows_of(whole, images)].tolist()
    return [key.decode(errors="surrogateescape") for key in keys]


def scene_panels(
    runs: Mapping[str, Path],
    data: str,
    keys: Sequence[str],
    *,
    answer: Answer = "target",
    device: str | None = None,
    report: Report | None = None,
) -> Image.Image:
    """Some scenes of a bundle by their keys, a line each, beside what runs make of them.

    Args:
        runs: folders of finished runs, by what is written above their column.
        data: the bundle of scenes: a folder, or an address.
        keys: of the scenes, in the order of the lines.
        answer: which of a network's is shown, where it has several (see `Measured`). If it is not
            the target, headings begin with it, or with "target" where a network has no other.
        device: a GPU where there is one, unless it is named.
        report: called with the lines that are done, and their number.

    Raises:
        RunError: a run is not finished; crops or classes of runs or of the bundle differ; a scene
            is not there or not in colour, or its mask has an id that is no class; or there are no
            keys, or more than `MOST`.
        BundleError: the bundle is damaged, or lacks what is asked for.
    """
    data = Location(data)
    _check_lines(len(keys), data, "scenes")
    networks = _networks(runs, answer, device)
    scenes = _scenes(data, keys, networks[0].classes)
    lines = []
    for key, batch in zip(keys, in_colour(scenes, data), strict=True):
        check_ids(batch["mask"], len(networks[0].classes), scenes, batch["row"])
        views = [centred(batch, one.config.test_crop, one.config) for one in networks]
        answers = [one.shown(images) for one, (images, _) in zip(networks, views, strict=True)]
        images, masks = views[0]
        truth = _painted(masks[0].numpy())
        lines.append((key, [_photograph(images[0].movedim(0, -1).numpy()), truth, *answers]))
        if report:
            report(len(lines), len(keys))
    return _sheet(["image", "ground truth", *(one.heading for one in networks)], lines)


def picture_panels(
    runs: Mapping[str, Path],
    folder: Path,
    *,
    answer: Answer = "target",
    device: str | None = None,
    report: Report | None = None,
) -> Image.Image:
    """The pictures of a folder, a line each, beside what runs make of them.

    They are JPEG or PNG files, for instance of objects out of their context; their names are
    written beside them. Hidden files are none of them. The other arguments are those of
    `scene_panels`.

    Raises:
        RunError: a run is not finished, crops or classes of runs differ, or there are no pictures,
            or more than `MOST`.
        BundleError: a picture cannot be read.
    """
    paths = _pictures(folder)
    _check_lines(len(paths), folder, "pictures")
    networks = _networks(runs, answer, device)
    side = networks[0].config.test_crop
    lines = []
    for path in paths:
        pixels = _upright(path, side)
        image = torch.from_numpy(pixels).movedim(-1, 0)
        shown = [_photograph(pixels), *(one.shown_whole(image) for one in networks)]
        lines.append((path.name, shown))
        if report:
            report(len(lines), len(paths))
    return _sheet(["image", *(one.heading for one in networks)], lines)


def _check_lines(number: int, place: object, what: str) -> None:
    if not number:
        raise RunError(f"no {what} of {place} are named")
    if number > MOST:
        raise RunError(f"{number:,} {what} of {place} are too many: a sheet shows {MOST} at most")


def _networks(runs: Mapping[str, Path], answer: Answer, device: str | None) -> list[_Network]:
    """The networks of runs that can be shown side by side."""
    where = best_device(device)
    found: list[_Network] = []
    for name, folder in runs.items():
        run, config, model = trained(folder)
        own = answer if answer in config.answers else "target"
        predictor = Predictor(model.to(where), config, where)
        network = _Network(name, predictor, run.classes, own, answer != "target")
        first = found[0] if found else network
        if config.test_crop != first.config.test_crop:
            raise RunError(
                f"{first.name} is measured in {first.config.test_crop} pixels, {name} in"
                f" {config.test_crop}: they are not shown side by side"
            )
        if run.classes != first.classes:
            raise RunError(f"{name} was trained on other classes than {first.name}")
        found.append(network)
    return found


def _scenes(data: str, keys: Sequence[str], classes: tuple[str, ...]) -> Stream:
    """Some scenes of a bundle in this order, one by one."""
    whole = stream(data, columns=())
    check_members(whole, data, ("mask.png",), ())
    check_classes(classes, whole, data)
    places = {key: row for row, key in enumerate(whole.index.rows.keys.tolist())}
    rows = [places.get(key.encode(errors="surrogateescape")) for key in keys]
    if None in rows:
        raise RunError(f"{data} has no scene {printable(keys[rows.index(None)])}")
    return stream(data, rows=[row for row in rows if row is not None], batch_size=1, columns=())


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name; what is hidden is not meant."""
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder of pictures")
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    if found := sorted(path for path in files if path.suffix.lower() in _SUFFIXES):
        return found
    raise RunError(f"{folder} has no pictures: {', '.join(sorted(_SUFFIXES))} are known")


def _upright(path: Path, side: int) -> Pixels:
    """A picture in RGB, no larger than `side`, turned as its camera was held. -> (H, W, 3)."""
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path, formats=["JPEG", "PNG"]) as picture,
        ):
            if picture.width * picture.height > _MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
            if picture.mode not in _EIGHT_BITS:
                raise ValueError(f"its mode is {picture.mode}, not eight bits a channel")
            picture.load()
            picture.info.pop("transparency", None)  # dropped anyway, but converting it may warn
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # a damaged file may lead a decoder to raise anything at all
        raise BundleError(f"{path} is not a sound picture ({printable(error)})") from error
    upright.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(upright)


def _photograph(pixels: Pixels) -> Image.Image:
    return _fitted(Image.fromarray(pixels), Image.Resampling.LANCZOS)


def _painted(ids: Pixels) -> Image.Image:
    """A mask in colours; ids are never mixed. (H, W)."""
    return _fitted(Image.fromarray(voc_palette()[ids]), Image.Resampling.NEAREST)


def _fitted(picture: Image.Image, smoothing: Image.Resampling) -> Image.Image:
    """Reduced to `SIDE`, or enlarged by whole pixels up to it."""
    factor = SIDE // max(picture.size)
    if factor > 1:
        size = picture.width * factor, picture.height * factor
        return picture.resize(size, Image.Resampling.NEAREST)
    picture.thumbnail((SIDE, SIDE), smoothing)
    return picture


def _sheet(
    headings: Sequence[str], lines: Sequence[tuple[str, Sequence[Image.Image]]]
) -> Image.Image:
    """A line of pictures for each scene, under the headings."""
    pictures: dict[int, tuple[Image.Image]] = {}
    drawn = []
    for label, shown in lines:
        start = len(pictures)
        pictures |= {start + place: (picture,) for place, picture in enumerate(shown)}
        drawn.append(Line(label, tuple(Tile((start + place,)) for place in range(len(shown)))))
    return draw([Band("", tuple(headings), tuple(drawn))], pictures)
