"""The corruptions once more, written for one image and for the eye: what the fast ones must equal.

Each takes an image (H, W, C) uint8, a severity and a generator, and does what the definition says
with scikit-image, SciPy, OpenCV and Pillow, in float arithmetic and one step after the other. Where
the fast function draws other numbers than these, the part after the draw stands by itself, under
the same name with `_of`, so that both can be given the same numbers.

Definitions: Hendrycks & Dietterich (2019), CIFAR-10-C.
"""

import importlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage
from skimage import color, filters

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[Any]  # float32 or float64, as NumPy has it
Rng: TypeAlias = np.random.Generator

gaussian: Callable[..., Floats] = filters.gaussian

SIGMA = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1.0),
}
PHOTONS = (500, 250, 100, 75, 50)
IMPULSES = (0.01, 0.02, 0.03, 0.05, 0.07)
GLASS = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))


def floored(pixels: Floats) -> Image:
    """[0, 1] pixels as bytes."""
    return as_bytes(np.clip(pixels, 0, 1) * 255)


def as_bytes(values: Floats) -> Image:
    return np.asarray(values).astype(np.uint8)


def single(values: Any) -> Floats:
    """In float32, in which the definition computes here and there."""
    return np.asarray(values, np.float32)


# Noise


def gaussian_noise(image: Image, *, severity: int, rng: Rng) -> Image:
    return gaussian_noise_of(
        image, SIGMA["gaussian_noise"][severity - 1], rng.normal(size=image.shape)
    )


def gaussian_noise_sigma(image: Image, *, severity: float, rng: Rng) -> Image:
    return gaussian_noise_of(image, severity, rng.normal(size=image.shape))


def gaussian_noise_of(image: Image, sigma: float, normals: Floats) -> Image:
    return floored(image / 255 + sigma * normals)


def speckle_noise(image: Image, *, severity: int, rng: Rng) -> Image:
    return speckle_noise_of(image, severity, rng.normal(size=image.shape))


def speckle_noise_of(image: Image, severity: int, normals: Floats) -> Image:
    pixels = image / 255
    return floored(pixels + pixels * (SIGMA["speckle_noise"][severity - 1] * normals))


def shot_noise(image: Image, *, severity: int, rng: Rng) -> Image:
    return shot_noise_of(severity, rng.poisson(image / 255 * PHOTONS[severity - 1]))


def shot_noise_of(severity: int, counts: NDArray[Any]) -> Image:
    return floored(counts / PHOTONS[severity - 1])


def impulse_noise(image: Image, *, severity: int, rng: Rng) -> Image:
    hit = rng.random(image.shape) <= IMPULSES[severity - 1]
    white = rng.random(image.shape) <= 0.5
    return impulse_noise_of(image, hit & ~white, hit & white)


def impulse_noise_of(image: Image, black: NDArray[np.bool_], white: NDArray[np.bool_]) -> Image:
    pixels = image / 255
    pixels[black] = 0
    pixels[white] = 1
    return floored(pixels)


# Blur


def gaussian_blur(image: Image, *, severity: int, rng: Rng) -> Image:
    return gaussian_blur_sigma(image, severity=SIGMA["gaussian_blur"][severity - 1], rng=rng)


def gaussian_blur_sigma(image: Image, *, severity: float, rng: Rng) -> Image:
    return floored(gaussian(image / 255, sigma=severity, channel_axis=-1))


def defocus_blur(image: Image, *, severity: int, rng: Rng) -> Image:
    radius, alias = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1]
    x, y = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    disk = single(x**2 + y**2 <= radius**2)
    disk = cv2.GaussianBlur(disk / np.sum(disk), ksize=(3, 3), sigmaX=alias)
    planes = [cv2.filter2D(image[:, :, c] / 255, -1, disk) for c in range(image.shape[2])]
    return floored(np.stack(planes, axis=-1))


def glass_blur(image: Image, *, severity: int, rng: Rng) -> Image:
    height, width, _ = image.shape
    inner = (GLASS[severity - 1][1], max(height - 2, 0), max(width - 2, 0), 2)
    return glass_blur_of(image, severity, rng.integers(-1, 1, inner))


def glass_blur_of(image: Image, severity: int, moves: NDArray[Any]) -> Image:
    sigma, rounds = GLASS[severity - 1]
    glass = floored(gaussian(image / 255, sigma=sigma, channel_axis=-1))
    height, width, _ = glass.shape
    for i in range(rounds):
        for j, y in enumerate(range(height - 1, 1, -1)):
            for k, x in enumerate(range(width - 1, 1, -1)):
                across, down = moves[i, j, k]
                here, there = (y, x), (y + down, x + across)
                # Rows of an array are views: the second one is read when it is overwritten.
                glass[here], glass[there] = glass[there], glass[here]
    return floored(gaussian(glass / 255, sigma=sigma, channel_axis=-1))


def motion_blur(image: Image, *, severity: int, rng: Rng) -> Image:
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    return smear(image, radius, sigma, rng.uniform(-45, 45))


def smear_by_hand(image: Image, radius: int, sigma: float, angle: float) -> Image:
    """ImageMagick's motion blur: half a Gaussian of whole pixels, on 16 bits, cut off to 8."""
    width = 2 * radius + 1
    weights = np.array([np.exp(-(i**2) / (2 * sigma**2)) for i in range(width)])
    total = np.zeros(image.shape)
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    for i, weight in enumerate(weights / weights.sum()):
        across = int(np.ceil(i * np.cos(np.radians(angle)) - 0.5))
        down = int(np.ceil(i * np.sin(np.radians(angle)) - 0.5))
        y = np.clip(rows + down, 0, image.shape[0] - 1)
        x = np.clip(columns + across, 0, image.shape[1] - 1)
        total += weight * (257.0 * image[y][:, x])
    return as_bytes(np.floor(total + 0.5) // 257)


def smear_by_magick(image: Image, radius: int, sigma: float, angle: float) -> Image:
    """The same by ImageMagick itself."""
    magick = importlib.import_module("wand.image")
    file = BytesIO()
    Pillow.fromarray(image.squeeze()).save(file, "PNG")
    with magick.Image(blob=file.getvalue()) as picture:
        picture.motion_blur(radius=radius, sigma=sigma, angle=angle)
        code = np.frombuffer(picture.make_blob(), np.uint8)
    decoded = cv2.imdecode(code, cv2.IMREAD_UNCHANGED)
    assert decoded is not None and decoded.dtype == np.uint8
    # ImageMagick writes a picture without colour as a grey one.
    planes = decoded.reshape(*image.shape[:2], -1)[..., ::-1]
    return as_bytes(np.broadcast_to(planes, image.shape))


def has_magick() -> bool:
    """Whether Wand is there, and the ImageMagick that it looks for."""
    try:
        importlib.import_module("wand.image")
    except ImportError:
        return False
    return True


smear = smear_by_magick if has_magick() else smear_by_hand


def zoom_blur(image: Image, *, severity: int, rng: Rng) -> Image:
    pixels = single(image / 255)
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)
    total = np.zeros_like(pixels)
    for factor in factors:
        total += magnified(pixels, factor)
    return floored((pixels + total) / (len(factors) + 1))


def magnified(pixels: Floats, factor: float) -> Floats:
    """The middle of a square picture, so much larger, at the old size."""
    side = pixels.shape[0]
    crop = int(np.ceil(side / factor))
    start = (side - crop) // 2
    middle = pixels[start : start + crop, start : start + crop]
    larger = ndimage.zoom(middle, (factor, factor, 1), order=1)
    start = (larger.shape[0] - side) // 2
    return larger[start : start + side, start : start + side]


# Weather


def snow(image: Image, *, severity: int, rng: Rng) -> Image:
    mean, deviation, factor, threshold, radius, sigma, left = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]
    flakes = rng.normal(mean, deviation, image.shape[:2])[..., np.newaxis]
    flakes = magnified(flakes, factor)
    flakes[flakes < threshold] = 0
    fallen = smear(floored(flakes), int(radius), sigma, rng.uniform(-135, -45)) / 255
    pixels = single(image) / 255
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    pixels = left * pixels + (1 - left) * np.maximum(pixels, grey * 1.5 + 0.5)
    return floored(pixels + fallen + np.rot90(fallen, 2))


def frost(image: Image, *, severity: int, rng: Rng, folder: Path) -> Image:
    ours, its = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    names = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
    picture = cv2.imread(str(folder / names[rng.integers(5)]))
    assert picture is not None
    picture = cv2.resize(picture, (0, 0), fx=0.2, fy=0.2)
    y = rng.integers(0, picture.shape[0] - 32)
    x = rng.integers(0, picture.shape[1] - 32)
    piece = picture[y : y + 32, x : x + 32, ::-1]
    return as_bytes(np.clip(ours * image + its * piece, 0, 255))


def fog(image: Image, *, severity: int, rng: Rng) -> Image:
    amount, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    pixels = image / 255
    brightest = pixels.max()
    pixels = pixels + amount * plasma(32, decay, rng)[..., np.newaxis]
    return floored(pixels * brightest / (brightest + amount))


def plasma(side: int, decay: float, rng: Rng) -> Floats:
    """A fractal map in 0..1 by the diamond-square algorithm, whose edges meet."""
    field = np.zeros((side, side))
    step, wibble = side, 100.0

    def shaken(total: Floats) -> Floats:
        return total / 4 + wibble * rng.uniform(-wibble, wibble, total.shape)

    while step >= 2:
        corners, half = field[::step, ::step], step // 2
        pairs = corners + np.roll(corners, -1, 0)
        field[half::step, half::step] = shaken(pairs + np.roll(pairs, -1, 1))
        middles = field[half::step, half::step]
        above = middles + np.roll(middles, 1, 0)
        field[::step, half::step] = shaken(above + (corners + np.roll(corners, -1, 1)))
        beside = middles + np.roll(middles, 1, 1)
        field[half::step, ::step] = shaken(beside + (corners + np.roll(corners, -1, 0)))
        step, wibble = half, wibble / decay
    field -= field.min()
    return np.asarray(field / field.max())


def spatter(image: Image, *, severity: int, rng: Rng) -> Image:
    mean, deviation, blur, threshold, edge = (
        (0.62, 0.1, 0.7, 0.7, 0.5),
        (0.65, 0.1, 0.8, 0.7, 0.5),
        (0.65, 0.3, 1, 0.69, 0.5),
        (0.65, 0.1, 0.7, 0.69, 0.6),
        (0.65, 0.1, 0.5, 0.68, 0.6),
    )[severity - 1]
    liquid = gaussian(rng.normal(mean, deviation, image.shape[:2]), sigma=blur)
    liquid[liquid < threshold] = 0
    pixels = single(image) / 255
    return mud(pixels, liquid > threshold, edge) if severity > 3 else water(pixels, liquid, edge)


def water(pixels: Floats, liquid: Floats, opacity: float) -> Image:
    drops = as_bytes(liquid * 255)
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    distance = cv2.equalizeHist(as_bytes(cv2.blur(distance, (3, 3))))
    kernel = single([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    relief = cv2.blur(cv2.filter2D(distance, cv2.CV_8U, kernel), (3, 3))
    layer = single(cv2.cvtColor(drops * single(relief), cv2.COLOR_GRAY2BGRA))
    layer /= np.max(layer, axis=(0, 1))
    layer *= opacity
    turquoise = np.ones_like(layer) * single([175 / 255, 238 / 255, 238 / 255, 1])
    wet = cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA) + layer * turquoise
    return floored(cv2.cvtColor(np.clip(wet, 0, 1), cv2.COLOR_BGRA2BGR))


def mud(pixels: Floats, covered: NDArray[np.bool_], edge: float) -> Image:
    cover = gaussian(single(covered), sigma=edge)
    cover[cover < 0.8] = 0
    cover = cover[..., np.newaxis]
    brown = np.ones_like(pixels) * single([63 / 255, 42 / 255, 20 / 255])
    return floored(pixels * (1 - cover) + brown * cover)


# Digital


def brightness(image: Image, *, severity: int, rng: Rng) -> Image:
    hsv = color.rgb2hsv(image / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1], 0, 1)
    return floored(color.hsv2rgb(hsv))


def saturate(image: Image, *, severity: int, rng: Rng) -> Image:
    factor, shift = ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))[severity - 1]
    hsv = color.rgb2hsv(image / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + shift, 0, 1)
    return floored(color.hsv2rgb(hsv))


def contrast(image: Image, *, severity: int, rng: Rng) -> Image:
    pixels = image / 255
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return floored((pixels - mean) * (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1] + mean)


def pixelate(image: Image, *, severity: int, rng: Rng) -> Image:
    height, width, _ = image.shape
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    picture = Pillow.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
    small = picture.resize((int(width * share), int(height * share)), Pillow.Resampling.BOX)
    return np.array(small.resize((width, height), Pillow.Resampling.BOX)).reshape(image.shape)


def jpeg_compression(image: Image, *, severity: int, rng: Rng) -> Image:
    picture = Pillow.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
    file = BytesIO()
    picture.save(file, "JPEG", quality=(80, 65, 58, 50, 40)[severity - 1])
    return np.array(Pillow.open(file)).reshape(image.shape)


def elastic_transform(image: Image, *, severity: int, rng: Rng) -> Image:
    height, width, reach = (
        (0, 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    )[severity - 1]
    corners = single([[26, 26], [26, 6], [6, 6]])
    moved = corners + single(rng.uniform(-reach, reach, corners.shape))
    matrix = cv2.getAffineTransform(corners, moved)
    sheared = sheared_by(matrix, single(image) / 255).reshape(image.shape)
    across = bumps(height, width, rng)
    down = bumps(height, width, rng)
    x, y, z = np.meshgrid(np.arange(32), np.arange(32), np.arange(image.shape[2]))
    points = [y + down, x + across, z]
    return floored(ndimage.map_coordinates(sheared, points, order=1, mode="reflect"))


def sheared_by(matrix: Floats, pixels: Floats) -> Floats:
    """cv2.warpAffine as CIFAR-10-C had it: that of OpenCV 3 and 4, which looks up 32nds of a pixel.

    OpenCV 5 has another arithmetic there, but its remap still takes positions in 32nds.
    """
    mode = cv2.BORDER_REFLECT_101
    if int(cv2.__version__.split(".")[0]) < 5:
        return np.asarray(cv2.warpAffine(pixels, matrix, (32, 32), borderMode=mode))
    back = cv2.invertAffineTransform(matrix)
    columns, rows = np.arange(32), np.arange(32)[:, np.newaxis]
    by_column, by_row = back[:, :1, np.newaxis] * columns, back[:, 1:2, np.newaxis] * rows
    steps = [np.rint(part * 1024) for part in (by_column, by_row + back[:, 2:, np.newaxis])]
    at = np.floor((sum(steps) + 16) / 32).astype(int)  # (2, 32, 32): across, down
    whole = (at // 32).transpose(1, 2, 0).astype(np.int16)
    part = (at % 32)[1] * 32 + (at % 32)[0]
    return np.asarray(
        cv2.remap(pixels, whole, part.astype(np.uint16), cv2.INTER_LINEAR, borderMode=mode)
    )


def bumps(height: float, width: float, rng: Rng) -> Floats:
    """Smooth random offsets. -> (32, 32, 1) float32."""
    rough = rng.uniform(-1, 1, (32, 32))
    smooth = gaussian(rough, sigma=width, mode="reflect", truncate=3)
    return single(smooth * height)[..., np.newaxis]


PLAIN: dict[str, Callable[..., Image]] = {
    function.__name__: function
    for function in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
        speckle_noise,
        gaussian_blur,
        spatter,
        saturate,
        gaussian_noise_sigma,
        gaussian_blur_sigma,
    )
}
