"""A small bundle, and no waiting before what failed is tried again."""

from pathlib import Path

import pytest

from quire.artifacts import address as addresses
from tests.bundles import image_bundle, random_images

FILES = 4 + 2
"""Of the bundle that travel: shards, index, card."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits."""
    monkeypatch.setattr(addresses, "_PAUSE", 0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Of 23 images in 4 shards."""
    image_bundle(tmp_path / "bundle", *random_images(23, (5, 4, 3)), samples_per_shard=6)
    return tmp_path / "bundle"
