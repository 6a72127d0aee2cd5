"""What networks make of scenes, side by side: image, ground truth, and each network's answer.

Classes have the colours of Pascal VOC. Scenes of a bundle are shown as they are measured: the
square in their middle. Pictures of a folder, which nobody has labelled, are shown whole, as large
as the crops at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from artifacts.errors import BundleError, RunError
from artifacts.masks import voc_palette
from loaders.stream import stream
from train.report.sheet import Band, Line, Tile, draw
from train.running import best_device
from train.segmentation.measure import Predictor, centred
from train.segmentation.run import trained
from train.segmentation.scenes import check_members

SIDE = 240  # pixels that a picture has at most on the sheet, by its longer side
_MAX_PIXELS = 1 << 26
_SUFFIXES = {".jpg", ".jpeg", ".png"}

Pixels: TypeAlias = NDArray[np.uint8]


def scene_panels(
    runs: Mapping[str, Path],
    data: str,
    keys: Sequence[str],
    *,
    answer: str = "target",
    device: str | None = None,
) -> Image.Image:
    """Some scenes of a bundle by their keys, a line each, beside what runs make of them.

    Args:
        runs: folders of finished runs, by what is written above their column.
        data: the bundle of scenes: a folder, or an address.
        keys: of the scenes, in the order of the lines.
        answer: which of a network's is shown, where it has several (see `Measured`).
        device: a GPU where there is one, unless it is named.

    Raises:
        RunError: a run is not finished, crops of runs differ in size, or a scene is not there.
        BundleError: the bundle is damaged, or lacks what is asked for.
    """
    predictors = _predictors(runs, device)
    first = next(iter(predictors.values())).config
    whole = stream(data, columns=())
    check_members(whole, data, ("mask.png",), ())
    rows = {key.decode(): row for row, key in enumerate(whole.index.rows.keys.tolist())}
    if lacking := [key for key in keys if key not in rows]:
        raise RunError(f"{data} has no scene {lacking[0]}")
    lines = []
    for key in keys:
        batch = next(iter(stream(data, rows=[rows[key]], columns=())))
        images, masks = centred(batch, first.crop, first.fill)
        pixels = images[0].movedim(0, -1).numpy()
        lines.append(
            (
                key,
                [
                    _photograph(pixels),
                    _painted(masks[0].numpy()),
                    *_shown(predictors, pixels, answer),
                ],
            )
        )
    return _sheet(["image", "ground truth", *runs], lines)


def picture_panels(
    runs: Mapping[str, Path],
    folder: Path,
    *,
    answer: str = "target",
    device: str | None = None,
) -> Image.Image:
    """The pictures of a folder, a line each, beside what runs make of them.

    They are JPEG or PNG files, for instance of objects out of their context; their names are
    written beside them. The other arguments are those of `scene_panels`.

    Raises:
        RunError: a run is not finished, crops of runs differ in size, or there are no pictures.
        BundleError: a picture cannot be read.
    """
    predictors = _predictors(runs, device)
    side = next(iter(predictors.values())).config.crop
    lines = [
        (name, [_photograph(pixels), *_shown(predictors, pixels, answer)])
        for name, pixels in _pictures(folder, side)
    ]
    if not lines:
        raise RunError(f"{folder} has no pictures: {', '.join(sorted(_SUFFIXES))} are known")
    return _sheet(["image", *runs], lines)


def _predictors(runs: Mapping[str, Path], device: str | None) -> dict[str, Predictor]:
    where, found = best_device(device), {}
    for name, folder in runs.items():
        _, config, model = trained(folder)
        found[name] = Predictor(model.to(where), config, where)
    if len({predictor.config.crop for predictor in found.values()}) != 1:
        raise RunError("networks are shown side by side that were trained on one size of crops")
    return found


def _shown(
    predictors: Mapping[str, Predictor], pixels: Pixels, answer: str
) -> Iterator[Image.Image]:
    """What each network makes of an image. (H, W, 3)."""
    images = torch.from_numpy(pixels).movedim(-1, 0)[None]
    for predictor in predictors.values():
        answers = predictor.answers(images)
        predicted = answers.get(answer, answers["target"])
        yield _painted(predicted[0].to(torch.uint8).cpu().numpy())


def _pictures(folder: Path, side: int) -> Iterator[tuple[str, Pixels]]:
    """The pictures of a folder by name, in RGB, no larger than `side`."""
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder of pictures")
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES):
        try:
            with Image.open(path, formats=["JPEG", "PNG"]) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
                upright = ImageOps.exif_transpose(picture).convert("RGB")
        except (OSError, ValueError, SyntaxError) as error:
            raise BundleError(f"{path} is not a sound picture ({error})") from error
        upright.thumbnail((side, side), Image.Resampling.LANCZOS)
        yield path.name, np.array(upright)


def _photograph(pixels: Pixels) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return picture


def _painted(ids: Pixels) -> Image.Image:
    """A mask in colours; ids are never mixed. (H, W)."""
    picture = Image.fromarray(voc_palette()[ids])
    picture.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
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
