"""Bundles of features that no model made."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.feature_table import Block
from quire.artifacts.manifest import Identity, Manifest
from quire.builders.engine.run import identify
from quire.builders.recipes.anchors import Anchors
from quire.builders.recipes.features import write_features
from quire.builders.sources.source import ImageSource
from tests.bundles import IDENTITY


def some_features(labels: NDArray[np.int64], width: int = 6, seed: int = 0) -> NDArray[np.float32]:
    """Features around a centre for each class; the first five images are equal. -> (N, width)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(int(labels.max()) + 1, width))
    features = (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32)
    features[1:5] = features[0]
    return features


def blocks_of(*arrays: NDArray[np.generic], size: int = 100) -> Iterable[Block]:
    """Features, labels and numbers in blocks."""
    for start in range(0, len(arrays[0]), size):
        yield tuple(array[start : start + size] for array in arrays)  # type: ignore[misc]


def feature_bundle(
    folder: Path,
    blocks: Iterable[Block],
    *,
    images: Identity = IDENTITY,
    weights: str = "ab" * 32,
) -> Manifest:
    """Write features as a bundle."""
    return write_features(
        folder,
        blocks,
        images=images,
        bundle="cd" * 32,
        weights=weights,
        libraries={"torch": "9.9"},
    )


def features_of(
    folder: Path, source: ImageSource, features: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Write features of every image of a source. -> (N, F)."""
    labels = source.read_labels()
    features = some_features(labels) if features is None else features
    images = identify(Anchors(split=source.split), source)
    feature_bundle(folder, blocks_of(features, labels, np.arange(len(labels))), images=images)
    return features
