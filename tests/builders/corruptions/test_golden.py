"""Corruptions: the bytes of today, pinned."""

import hashlib
from pathlib import Path

import pytest

from quire.builders.corruptions.catalogue import CORRUPTIONS, SIGMA_CORRUPTIONS, corrupt, load_frost
from tests.builders.corruptions.corruption_images import generators, some_images, write_frost

# Bundles that were built once are rebuilt elsewhere and compared by digest. So these may change
# with a library that has a say in them (NumPy's streams and exp, SciPy's filters, OpenCV's codecs),
# or on purpose: then the change log must say which corruptions are new.
GOLDEN = {
    "gaussian_noise": "67b37b907d1b5314",
    "shot_noise": "1c97841b442415ee",
    "impulse_noise": "749be1013b98bece",
    "defocus_blur": "4779ca0ece1145ec",
    "glass_blur": "350a0a27d14a8314",
    "motion_blur": "bc646308c2abd580",
    "zoom_blur": "604c898992a32b66",
    "snow": "d334c356cd61a46a",
    "frost": "bae3d5d0773eb392",
    "fog": "ddffca7cd1c99729",
    "brightness": "ccfafafefdc0aa70",
    "contrast": "8b029561c5989dca",
    "elastic_transform": "278d436a2feb6af8",
    "pixelate": "a002844c1dc17484",
    "jpeg_compression": "1fdb285409aa52a5",
    "speckle_noise": "0a49ccba8a44d652",
    "gaussian_blur": "4984ba39ea7aebdc",
    "spatter": "0207630ea849ca50",
    "saturate": "06f04adb4fcd1eb3",
    "gaussian_noise_sigma": "46b6732bcd35c09c",
    "gaussian_blur_sigma": "2c765523b86cf438",
}


def digest(name: str, folder: Path) -> str:
    """Of four images at all five severities, or three sigmas."""
    severities = (0.1, 0.5, 2.0) if name in SIGMA_CORRUPTIONS else (1, 2, 3, 4, 5)
    images = some_images(4)
    digest = hashlib.sha256()
    for severity in severities:
        frames = load_frost(folder)
        out = corrupt(images, name, severity=severity, rngs=generators(4, seed=5), frames=frames)
        digest.update(out.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_still_makes_the_same_bytes(name: str, tmp_path: Path) -> None:
    assert digest(name, write_frost(tmp_path)) == GOLDEN[name]
