"""Bins: what a plain computation makes of the same images, by any number of workers."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from quire.artifacts.bins_table import BINS, Bins, read_bins
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError, RecipeError, SourceError
from quire.artifacts.verify import verify
from quire.builders.engine.run import build
from quire.builders.rebuild import rebuild
from quire.builders.recipes.bins import ImageBins
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.samples import Digits
from tests.builders.real_data import real_data
from tests.hostile_tables import with_table
from tests.same_folder import assert_same

DIGITS = Digits("train")
RECIPE = ImageBins(bins=12, images=500, restarts=2, images_per_shard=64)


def made(folder: Path, recipe: ImageBins = RECIPE, source: Digits = DIGITS) -> Bins:
    build(recipe, source, folder)
    assert verify(folder) == ()
    return read_bins(open_bundle(folder))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bins") / "b"
    build(RECIPE, DIGITS, folder)
    return folder


def test_centres_are_the_means_of_their_images(bundle: Path) -> None:
    bins = read_bins(open_bundle(bundle))
    images = DIGITS.read(0, len(DIGITS)).images
    assert len(bins.source_index) == 500 and len(bins) == 12
    assert bins.image_shape == (8, 8, 1) and bins.dimensions.tolist() == [*range(64)]
    for number, centre in enumerate(bins.centres):
        of_bin = np.array(images)[bins.source_index[bins.bin == number]]
        assert len(of_bin) == bins.counts[number]
        np.testing.assert_allclose(centre, of_bin.mean(axis=0), rtol=1e-14)
    assert (np.diff(bins.counts) <= 0).all() and bins.counts.sum() == 500
    np.testing.assert_array_equal(bins.proportions, bins.counts / 500)
    with h5py.File(bundle / BINS) as file:
        np.testing.assert_array_equal(file["proportions"], bins.proportions)
        assert file["centres"].attrs["unit"] == b"grey levels, 0 to 255"


def test_each_image_is_in_the_nearest_bin(bundle: Path) -> None:
    bins = read_bins(open_bundle(bundle))
    images = np.array(DIGITS.read(0, len(DIGITS)).images)[bins.source_index].reshape(500, -1)
    distances = ((images[:, None] - bins.centres.reshape(1, 12, -1)) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == bins.bin).mean() > 0.99  # but for what is equally near


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_tasks_change_no_byte(workers: int, bundle: Path, tmp_path: Path) -> None:
    build(RECIPE, DIGITS, tmp_path / "b", workers=workers)
    assert_same(tmp_path / "b", bundle)
    build(replace(RECIPE, images_per_shard=7), DIGITS, tmp_path / "c", workers=workers)
    assert (tmp_path / "c" / BINS).read_bytes() == (bundle / BINS).read_bytes()


def test_it_can_be_derived_again(bundle: Path) -> None:
    assert rebuild(bundle, "digits:", shards=2, outside={}).same


def test_of_large_images_a_sixth_of_the_values_decides(tmp_path: Path) -> None:
    source = Digits("test", side=32)
    bins = made(tmp_path, ImageBins(split="test", bins=5, restarts=1), source)
    assert len(bins.dimensions) == 3 * 32 * 32 // 6
    assert bins.centres.shape == (5, 32, 32, 3)
    assert len(bins.source_index) == len(source)


def test_whitening_makes_faint_values_count(tmp_path: Path) -> None:
    """Images that differ by 3 levels in one value, and by noise of 30 in all others."""
    rng = np.random.default_rng(0)
    for number in range(120):
        pixels = rng.normal(128, 30, (4, 4, 3)).round().clip(0, 255).astype(np.uint8)
        pixels[0, 0] = 100 + 3 * (number % 2)
        path = tmp_path / "images" / "a" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    source = open_source(f"folder:{tmp_path / 'images'}", split="all")
    recipe = ImageBins(split="all", bins=2, restarts=5)
    build(recipe, source, tmp_path / "plain")
    build(replace(recipe, whiten=True), source, tmp_path / "white")
    plain, white = (read_bins(open_bundle(tmp_path / name)) for name in ("plain", "white"))
    odd = np.arange(120) % 2

    def agree(bins: Bins) -> float:
        same = (bins.bin == odd).mean()
        return float(max(same, 1 - same))

    assert agree(white) == 1 and agree(plain) < 0.8
    np.testing.assert_allclose(white.scale[:3], 1.5)
    assert (plain.scale == 1).all()


def test_bad_images_are_refused_or_left_out(tmp_path: Path) -> None:
    for number in range(30):
        path = tmp_path / "images" / "a" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 8 * number, np.uint8)).save(path)
    (tmp_path / "images/a/007.png").write_bytes(b"no image")
    source = open_source(f"folder:{tmp_path / 'images'}?size=4", split="all")
    recipe = ImageBins(split="all", bins=3, restarts=1)
    with pytest.raises(SourceError, match=r"007\.png"):
        build(recipe, source, tmp_path / "b")
    manifest = build(recipe, source, tmp_path / "b", skip_bad=True)
    assert [left.index for left in manifest.left_out] == [7]
    assert 7 not in read_bins(open_bundle(tmp_path / "b")).source_index


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (replace(RECIPE, bins=501), "bins is 501, but there are 500 images"),
        (replace(RECIPE, dimensions=65), "dimensions is 65; an image has 64 values"),
    ],
)
def test_what_a_source_has_not_is_refused(recipe: ImageBins, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        build(recipe, DIGITS, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    for number, side in enumerate((4, 5)):
        path = tmp_path / "images" / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(path)
    source = open_source(f"folder:{tmp_path / 'images'}", split="all")
    with pytest.raises(RecipeError, match=r"images differ in size.*\?size=64"):
        build(ImageBins(split="all", bins=1), source, tmp_path / "b")


@pytest.mark.parametrize("name", ["bins", "images", "dimensions", "restarts", "rounds"])
def test_numbers_must_be_at_least_one(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} is 0; it must be at least 1"):
        ImageBins(**{name: 0})  # type: ignore[arg-type]


def _set(name: str, index: object, value: object) -> object:
    def change(file: h5py.File) -> None:
        file[name][index] = value

    return change


def _without(name: str) -> object:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def _shorter(file: h5py.File) -> None:
    counts = file["counts"][:-1]
    del file["counts"]
    file["counts"] = counts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("centres"), "centres is missing"),
        (_set("centres", 0, np.nan), "centres are not in 0..255"),
        (_set("centres", 0, 256), "centres are not in 0..255"),
        (_set("scale", 0, 0), "scale is not above 0"),
        (_set("dimensions", -1, 64), "dimensions are not some of an image's"),
        (_set("dimensions", 0, 1), "dimensions are not some of an image's"),
        (_set("source_index", 0, -1), "source_index does not rise"),
        (_set("counts", 0, 1), "counts are not those of its bins"),
        (_set("bin", 0, 12), "counts are not those of its bins"),
        (_shorter, "arrays are of different lengths"),
    ],
)
def test_a_table_that_cannot_be_is_refused(change: object, said: str, tmp_path: Path) -> None:
    build(RECIPE, DIGITS, tmp_path / "b")
    with_table(tmp_path / "b", BINS, change)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=said):
        read_bins(open_bundle(tmp_path / "b"))


@pytest.mark.slow
def test_real_images_are_clustered_as_well_as_scikit_learn_does(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans

    source = open_source(f"cifar10:{real_data('cifar10')}", split="train")
    recipe = ImageBins(bins=40, images=2_000, restarts=3)
    build(recipe, source, tmp_path / "b")
    bins = read_bins(open_bundle(tmp_path / "b"))
    images = np.array(source.read(0, len(source)).images)[bins.source_index]
    used = images.reshape(2_000, -1)[:, bins.dimensions].astype(float)
    centres = bins.centres.reshape(40, -1)[:, bins.dimensions]
    ours = ((used - centres[bins.bin]) ** 2).sum()
    theirs = KMeans(40, n_init=3, max_iter=100, random_state=0).fit(used).inertia_
    assert ours <= 1.01 * theirs
