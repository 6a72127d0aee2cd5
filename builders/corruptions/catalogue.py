"""Every corruption by name, what each is defined for, and the one function that applies any."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from quire.artifacts.errors import RecipeError
from quire.builders.corruptions import blur, digital, elastic, noise, weather
from quire.builders.corruptions.images import Generators, Images

CORRUPTIONS: Mapping[str, Callable[..., Images]] = {
    function.__name__: function
    for function in (
        noise.gaussian_noise,  # the fifteen of the benchmark
        noise.shot_noise,
        noise.impulse_noise,
        blur.defocus_blur,
        blur.glass_blur,
        blur.motion_blur,
        blur.zoom_blur,
        weather.snow,
        weather.frost,
        weather.fog,
        digital.brightness,
        digital.contrast,
        elastic.elastic_transform,
        digital.pixelate,
        digital.jpeg_compression,
        noise.speckle_noise,  # its four extra ones
        blur.gaussian_blur,
        weather.spatter,
        digital.saturate,
        noise.gaussian_noise_sigma,  # those whose severity is sigma
        blur.gaussian_blur_sigma,
    )
}
SIGMA_CORRUPTIONS = frozenset({"gaussian_noise_sigma", "gaussian_blur_sigma"})

# Distributions whose version can change a byte of a corrupted image, besides numpy.
LIBRARIES = ("numba", "opencv-python-headless", "scipy", "simplejpeg")

load_frost = weather.load_frost
frost_fingerprint = weather.frost_fingerprint


class _Needs(NamedTuple):
    side: int | None = None  # the one height and width that the constants are made for
    square: bool = False
    least: int = 1  # pixels a side
    colour: bool = False


_NEEDS = {
    "zoom_blur": _Needs(square=True),
    "snow": _Needs(side=32, colour=True),
    "frost": _Needs(side=32, colour=True),
    "fog": _Needs(side=32),
    "brightness": _Needs(colour=True),
    "elastic_transform": _Needs(side=32),
    "pixelate": _Needs(least=2),
    "spatter": _Needs(colour=True),
    "saturate": _Needs(colour=True),
}

_RUN_BYTES = 1 << 17  # of images corrupted at once, so that their floats stay in the cache


def refusal(name: str, image_shape: tuple[int, int, int] | None) -> str | None:
    """Why a corruption is not defined for images of a shape (H, W, C), in one sentence, or None.

    A shape of None stands for images of several sizes, in colour.

    >>> refusal("fog", (28, 28, 1))
    'fog is defined for images of 32 x 32 pixels, not 28 x 28'
    >>> refusal("contrast", (28, 28, 1))
    """
    needs = _NEEDS.get(name, _Needs())
    if image_shape is None:
        wanted = f"of {needs.side} x {needs.side} pixels" if needs.side else "that are square"
        several = f"{name} is defined for images {wanted}, not for images of several sizes"
        return several if needs.side or needs.square else None
    height, width, channels = image_shape
    size = f"{height} x {width}"
    if channels not in (1, 3):
        return f"{name} is defined for images of 1 or 3 channels, not {channels}"
    if needs.side and (height, width) != (needs.side, needs.side):
        return f"{name} is defined for images of {needs.side} x {needs.side} pixels, not {size}"
    if needs.square and height != width:
        return f"{name} is defined for square images, not for {size} pixels"
    if min(height, width) < needs.least:
        return f"{name} is defined for images of {needs.least} pixels a side or more, not {size}"
    if needs.colour and channels != 3:
        return f"{name} is defined for images in colour, not in grey"
    return None


def corrupt(
    images: Images,
    name: str,
    *,
    severity: float,
    rngs: Generators,
    frames: weather.Frames | None = None,
) -> Images:
    """A block of images under one corruption. (N, H, W, C) uint8 -> (N, H, W, C) uint8.

    Each image depends on itself and its own generator alone, so any cut of a block into smaller
    ones gives the same bytes. `frames` is what `load_frost` returns, for frost alone.

    Raises:
        RecipeError: no such corruption or severity, one that is not defined for this size, or
            frost without its frames.
    """
    if name not in CORRUPTIONS:
        raise RecipeError(f"no corruption is called {name!r}; known: {', '.join(CORRUPTIONS)}")
    height, width, channels = images.shape[1:]
    if reason := refusal(name, (height, width, channels)):
        raise RecipeError(reason)
    if name == "frost" and frames is None:
        raise RecipeError("frost needs the pictures that load_frost reads")
    if len(rngs) != len(images):
        raise ValueError(f"there are {len(images)} images and {len(rngs)} generators")
    extra = {"frames": frames} if name == "frost" else {}
    run = max(1, _RUN_BYTES // (height * width * channels))
    out = np.empty(images.shape, np.uint8)
    for i in range(0, len(images), run):
        # A copy: compiled code is made anew for arrays that are read-only or lie otherwise.
        part = np.array(images[i : i + run], order="C")
        out[i : i + run] = CORRUPTIONS[name](
            part, severity=severity, rngs=rngs[i : i + run], **extra
        )
    return out
