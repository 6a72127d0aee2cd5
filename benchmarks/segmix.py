"""How fast SegMix's blends are built, beside the plain way, and delivered in either form.

    python -m benchmarks.segmix --data ../shared/data --out segmix.json

Everything on one core. The plain way is what one writes first with Pillow and numpy: open both
scenes, scale, crop and mirror them whole, blend in floating point, save. Both make the same blends,
of 513 pixels: all those of the first scenes, as a bundle has them that is built without a limit,
where one scene of each pair is that of the pair before; and as many chosen at random. Delivered is
a bundle of the random ones, decoded, or blended while it is read.
"""

import gc
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tyro
from PIL import Image, ImageOps

from benchmarks.bundles import photographs
from benchmarks.timing import Contender, Run, Table, measure, write_report
from quire.artifacts.blend import PARTS
from quire.artifacts.crop import FILL, Crop
from quire.artifacts.masks import VOID
from quire.artifacts.shards import write_shard
from quire.builders.engine.run import build
from quire.builders.recipes.segmix import BlendTask, Form, SegMix
from quire.builders.recipes.segmix_pairs import Blend, Ranges, blends_of
from quire.builders.sources.voc import Voc
from quire.builders.sources.voc_lists import open_voc
from quire.loaders.segmix import stream_pairs
from quire.loaders.stream import Stream, stream

OURS, PLAIN = "ours", "plain"
STORED: Form = "materialised"
VIRTUAL: Form = "virtual"
FORMS: tuple[Form, ...] = (STORED, VIRTUAL)
_SCENES = 200
_QUALITY = 95
_BATCH = 16

Files: TypeAlias = dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Build and deliver blends of 513x513, and print how many a second it took."""

    data: Path | None = None
    """Folder that holds voc, for real photographs; else made ones."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    blends: int = 150
    """Blends that are made in a run."""
    crop: int = 513
    """Pixels of a side."""
    rounds: int = 5
    """Runs of each; the first is kept apart."""


def write_scenes(folder: Path, data: Path | None) -> Voc:
    """Photographs with their masks as a VOCdevkit."""
    root = folder / "VOCdevkit/VOC2012"
    for name in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    ids = []
    for number, (image, mask) in enumerate(zip(*photographs(_SCENES, data), strict=True)):
        ids.append(f"{number:06d}")
        (root / "JPEGImages" / f"{ids[-1]}.jpg").write_bytes(image)
        (root / "SegmentationClassAug" / f"{ids[-1]}.png").write_bytes(mask)
    (root / "ImageSets/Segmentation/train_aug.txt").write_text("\n".join(ids) + "\n")
    return open_voc(folder, "train_aug")


def task_of(recipe: SegMix, source: Voc, blends: int) -> BlendTask:
    """The first blends of a recipe, as one shard."""
    task = recipe.plan(source)[0]
    assert isinstance(task, BlendTask)
    return replace(task, pairs=task.pairs.part(0, blends), stop=min(blends, task.stop))


def ours(recipe: SegMix, source: Voc, task: BlendTask) -> int:
    """Make the blends of a task as a build does."""
    runs = (run.samples for run in recipe.samples(source, task) if run.samples.keys)
    with open(os.devnull, "wb") as nowhere:
        shard, _, _ = write_shard(nowhere, task.name, runs)
    return shard.samples


def plainly(source: Voc, blends: Sequence[Blend]) -> int:
    """Make blends one after the other by Pillow and numpy, and put them into a tar."""
    with open(os.devnull, "wb") as nowhere, tarfile.open(fileobj=nowhere, mode="w") as tar:
        for number, one in enumerate(blends):
            for extension, data in plain_files(source, one).items():
                entry = tarfile.TarInfo(f"{number:08d}.{extension}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return len(blends)


def plain_files(source: Voc, one: Blend) -> Files:
    """What is stored of a blend, by extension."""
    names = source.ids[one.dominant], source.ids[one.partner]
    crops = one.crop, one.partner_crop
    image, other = (
        np.asarray(_image(source.root.place(f"JPEGImages/{name}.jpg"), crop), np.float64)
        for name, crop in zip(names, crops, strict=True)
    )
    delta = one.parts / PARTS
    blend = (delta * image + (1 - delta) * other).round().astype(np.uint8)
    mask, phantom = (
        _saved(_mask(source.root.place(f"SegmentationClassAug/{name}.png"), crop), "PNG")
        for name, crop in zip(names, crops, strict=True)
    )
    image_file = _saved(Image.fromarray(blend), "JPEG", quality=_QUALITY)
    return {"jpg": image_file, "mask.png": mask, "phantom.png": phantom}


def _image(file: str, crop: Crop) -> Image.Image:
    with Image.open(file) as picture:
        return _seen(picture.convert("RGB"), crop, Image.Resampling.BILINEAR, FILL)


def _mask(file: str, crop: Crop) -> Image.Image:
    with Image.open(file) as picture:
        return _seen(picture, crop, Image.Resampling.NEAREST, VOID)


def _seen(
    picture: Image.Image,
    crop: Crop,
    filter: Image.Resampling,
    fill: int | tuple[int, int, int],
) -> Image.Image:
    """Scaled as a whole, on a square."""
    scaled = picture.resize((crop.width, crop.height), filter)
    square = Image.new(picture.mode, (crop.size, crop.size), fill)
    if picture.mode == "P":
        palette = picture.getpalette()
        assert palette is not None
        square.putpalette(palette)
    square.paste(scaled, (-crop.left, -crop.top))
    return ImageOps.mirror(square) if crop.mirrored else square


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def building(title: str, recipe: SegMix, source: Voc, options: Options) -> Table:
    """Ours beside the plain way."""
    task = task_of(recipe, source, options.blends)
    ranges = Ranges(delta=recipe.delta, scale=recipe.scale, crop=recipe.crop, flip=recipe.flip)
    drawn = list(blends_of(task.pairs, seed=recipe.seed, num_classes=21, ranges=ranges))
    runs: dict[str, Run] = {
        OURS: partial(ours, recipe, source, task),
        PLAIN: partial(plainly, source, drawn),
    }
    contenders = [Contender(name, partial(_given, run), cores=1) for name, run in runs.items()]
    return Table(title, measure(contenders, rounds=options.rounds), (PLAIN,))


def delivering(recipe: SegMix, source: Voc, folder: Path, options: Options) -> Table:
    """Both forms of the same bundle."""
    for form in FORMS:
        build(replace(recipe, form=form), source, folder / form)
        size = sum(file.stat().st_size for file in (folder / form).iterdir())
        print(f"{form}: {size / 1e6:.1f} MB for {options.blends:,} blends")
    streams: dict[str, Callable[[], Stream]] = {
        STORED: lambda: stream(folder / STORED, columns=["parts"], batch_size=_BATCH, threads=1),
        VIRTUAL: lambda: stream_pairs(folder / VIRTUAL, batch_size=_BATCH, threads=1),
    }
    contenders = [Contender(name, partial(_epoch, made), cores=1) for name, made in streams.items()]
    title = f"delivering batches of {_BATCH}, images with both masks"
    return Table(title, measure(contenders, rounds=options.rounds), (VIRTUAL,))


def _given(run: Run) -> Run:
    return run


def _epoch(made: Callable[[], Stream]) -> Run:
    batches = made()
    return lambda: sum(len(batch["image"]) for batch in batches)


def main(argv: Sequence[str] | None = None) -> None:
    """Time building and delivering, and print the tables."""
    options = tyro.cli(Options, args=argv)
    every = SegMix(crop=options.crop, quality=_QUALITY, samples_per_shard=options.blends)
    some = replace(every, limit=options.blends)
    with tempfile.TemporaryDirectory() as scratch:
        source = write_scenes(Path(scratch) / "scenes", options.data)
        tables = [
            building("building, all blends of the first scenes", every, source, options),
            building("building, blends chosen at random", some, source, options),
            delivering(some, source, Path(scratch), options),
        ]
        gc.collect()  # nothing is mapped any more when the folder goes
    for table in tables:
        print(table)
    if options.out:
        write_report(options.out, tables)


if __name__ == "__main__":
    main()
