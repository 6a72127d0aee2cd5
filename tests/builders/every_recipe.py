"""A small bundle of every recipe, for comparing what other processors and library versions make.

Run as a script it builds in a folder and prints a digest for each file as JSON; it needs nothing
that only training needs.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from quire.artifacts.digest import sha256
from quire.artifacts.manifest import MANIFEST, SUMS
from quire.builders.engine.run import build
from quire.builders.recipes.anchors import Anchors
from quire.builders.recipes.bins import ImageBins
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.recipes.perturbations import Perturbations
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.recipes.subsets import Subsets
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import Nothing
from quire.builders.sources.uap import open_perturbations
from tests.builders.corruptions.corruption_images import some_images, write_frost
from tests.feature_bundles import features_of
from tests.graph_bundles import PRUNED, SMALL

# The manifest tells the versions of libraries, and so do its digest and the card.
TELLING = {MANIFEST, SUMS, "README.md"}


def bundles(
    folder: Path, images: str, scenes: str, frost: Path, *, few: bool
) -> Iterator[tuple[Path, Any, Any]]:
    """Folder, recipe and source of each bundle, in an order in which they can be built.

    Args:
        folder: for the bundles.
        images: a source of images of 32 x 32 pixels in colour, with the split test.
        scenes: a source of scenes, with the split train.
        frost: the folder of the pictures of frost.
        few: leave out what takes long to compile: graphs, and most corruptions.
    """
    pictures = open_source(images, split="test")
    drawn = open_source(scenes, split="train", reads=Scenes.reads)
    corrupted = Corrupted(sigmas=(0.5, 1.0), frost_dir=frost, samples_per_shard=100_000)
    if few:
        corrupted = Corrupted(corruptions=_QUICK)
    yield folder / "corrupted", corrupted, pictures
    features_of(folder / "features", pictures)
    anchors = Anchors(split="test", per_class=2)
    yield folder / "anchors-uniform", anchors, pictures
    by_features = replace(anchors, strategy="nearest", features=str(folder / "features"))
    yield folder / "anchors-nearest", by_features, pictures
    yield folder / "anchors-farthest", replace(by_features, strategy="farthest"), pictures
    bins = ImageBins(split="test", bins=4, restarts=3)
    yield folder / "bins", bins, pictures
    yield folder / "bins-whitened", replace(bins, whiten=True, images=12), pictures
    yield folder / "perturbations", Perturbations(), open_perturbations(_perturbations(folder))
    if not few:
        for generator in ("watts_strogatz", "erdos_renyi", "barabasi_albert", "random_regular"):
            yield folder / f"graphs-{generator}", replace(SMALL, **_GRAPHS[generator]), Nothing()
        yield folder / "pruned", PRUNED, Nothing()
    yield folder / "scenes", Scenes(), drawn
    yield folder / "cooccurrence", Cooccurrence(split="train"), drawn
    yield (
        folder / "subsets",
        Subsets(split="train", cooccurrence=str(folder / "cooccurrence")),
        drawn,
    )
    blends = SegMix(split="train", crop=48, limit=len(drawn) * 3)
    yield folder / "segmix-jpeg", blends, drawn
    yield folder / "segmix-png", replace(blends, quality=None), drawn
    yield folder / "segmix-virtual", replace(blends, form="virtual"), drawn


def _perturbations(folder: Path) -> Path:
    """A folder of two perturbations beside that of the bundles; the same wherever it is."""
    place = folder.with_name(f"{folder.name}-published")
    place.mkdir(parents=True)
    values = (np.arange(3 * 32 * 40).reshape(1, 32, 40, 3) % 21 - 10).astype(np.float32)
    np.save(place / "a.npy", values)
    np.save(place / "b.npy", values.astype(np.float64) / 3)
    return place


_QUICK = ("elastic_transform", "gaussian_blur", "pixelate", "jpeg_compression")
_GRAPHS: Mapping[str, Mapping[str, Any]] = {
    "watts_strogatz": {},
    "erdos_renyi": {"generator": "erdos_renyi", "nei": None, "p": (0.2, 0.3)},
    "barabasi_albert": {"generator": "barabasi_albert", "nei": None, "p": None, "m": (2, 3)},
    "random_regular": {"generator": "random_regular", "nei": None, "p": None, "degree": (2, 4)},
}


def digests(folder: Path) -> dict[str, str]:
    """The digest of every file that is made of a recipe and a source alone."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): sha256(f) for f in files if f.name not in TELLING}


def inputs(folder: Path) -> tuple[str, str, str]:
    """Images, scenes and frost to build from; all read the same ones. -> what the script takes."""
    for number, image in enumerate(some_images(16)):
        path = folder / "test" / f"class{number % 4}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (folder / "frost").mkdir()
    return f"folder:{folder}?size=32", "shapes:30?size=64x48", str(write_frost(folder / "frost"))


def main(extent: str, folder: Path, images: str, scenes: str, frost: str) -> None:
    """Build `all` of them or a `few`, and print the digests."""
    few = {"few": True, "all": False}[extent]
    for where, recipe, source in bundles(folder, images, scenes, Path(frost), few=few):
        build(recipe, source, where)
    print(json.dumps(digests(folder)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
