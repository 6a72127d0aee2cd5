"""Bundles of features: what a trained model makes of the images of another bundle.

The model runs where torch is; what it gives is handed over here in blocks. Such a bundle is one
table, laid out in quire.artifacts.feature_table, and no recipe makes it: its identity names the
bundle that the images came from and the weights, each by its sha256.
"""

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import h5py

from quire.artifacts.feature_table import FEATURES, Block, write_table
from quire.artifacts.manifest import MANIFEST, Identity, Manifest
from quire.builders.engine import folder as building
from quire.builders.engine.recipe import Part

KIND = "features"


def write_features(
    folder: Path,
    blocks: Iterable[Block],
    *,
    images: Identity,
    bundle: str,
    weights: str,
    libraries: Mapping[str, str],
) -> Manifest:
    """Write the features of a bundle's images as a bundle; a complete one is left as it is.

    Args:
        folder: where; one in which the same features were begun is begun anew.
        blocks: features (B, F) float32, labels (B,) int64 and source_index (B,) int64 of
            consecutive images, each image once and in the order of source_index. They are asked
            for only where the bundle is not complete.
        images: the identity of the bundle that the images came from.
        bundle: the sha256 of that bundle's manifest.
        weights: the sha256 of the model's weights.
        libraries: versions of the libraries that ran the model, torch above all.

    Raises:
        BuildError: the folder belongs to another build; no features, or such as are not finite, of
            no class, twice or out of order.
        ValueError: a block has arrays of other shapes.
    """
    folder = folder.absolute()
    identity = identify(images, bundle=bundle, weights=weights, libraries=libraries)
    names = tuple(map(str, images.source["class_names"]))

    def write(file: h5py.File, parts: Iterator[Part]) -> None:
        write_table(file, blocks, names)

    with building.claim(folder, identity):
        if (folder / MANIFEST).exists():
            manifest = Manifest.from_json((folder / MANIFEST).read_text("utf-8"))
        else:
            manifest = building.bind(folder, identity, (), {FEATURES: write}, skip_bad=False)
        building.clear(folder)
    return manifest


def identify(
    images: Identity, *, bundle: str, weights: str, libraries: Mapping[str, str]
) -> Identity:
    """Everything that decides the features of a bundle's images; see `write_features`.

    A GPU may give other last bits from run to run, which no identity tells.
    """
    return Identity(
        recipe={"kind": KIND, "split": images.recipe.get("split", images.source["split"])},
        source=images.source,
        inputs={"bundle": bundle, "weights": weights},
        versions={
            **libraries,
            "numpy": importlib.metadata.version("numpy"),
            "h5py": h5py.version.version,
            "hdf5": h5py.version.hdf5_version,
        },
    )
