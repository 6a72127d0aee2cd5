"""Bundles at an address of this machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quire.artifacts import address, pieces
from quire.loaders.reading import remote
from tests.bundles import image_bundle, random_images
from tests.loaders.served import Server
from tests.serving import serving

N = 23


@pytest.fixture
def served_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What `server` serves."""
    return random_images(N, (5, 4, 3))


@pytest.fixture
def server(
    tmp_path: Path,
    served_images: tuple[NDArray[np.uint8], NDArray[np.int64]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    """Of 23 images in 4 shards, of pieces of two."""
    monkeypatch.setattr(address, "_PAUSE", 0)
    monkeypatch.setattr(pieces, "PIECE", 4096)
    image_bundle(tmp_path / "bundle", *served_images, samples_per_shard=6)
    with serving(Server(tmp_path / "bundle")) as running:
        yield running


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle is small, so all are fetched in pieces."""
    monkeypatch.setattr(remote, "_SMALL", 0)


PLACES = [pytest.param("whole", marks=pytest.mark.slow), "pieces"]


@pytest.fixture(params=PLACES)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How shards are fetched."""
    if request.param == "pieces":
        monkeypatch.setattr(remote, "_SMALL", 0)
    return str(request.param)
