"""Recipe `corrupted`: which cells, which keys, and what a change of the recipe leaves alone."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RecipeError, SourceError
from quire.builders.corruptions.catalogue import CORRUPTIONS, SIGMA_CORRUPTIONS, corrupt
from quire.builders.draws import sample_rng
from quire.builders.engine.recipe import from_record, to_record
from quire.builders.engine.run import build, plan
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import ImageSource
from quire.loaders.decode import raw
from tests.builders.corruptions.corruption_images import write_frost


@pytest.fixture(scope="module")
def digits() -> ImageSource:
    return open_source("digits:32", split="test")


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.tar")}


SOME = Corrupted(
    corruptions=("shot_noise", "fog", "gaussian_noise_sigma"),
    severities=(1, 3),
    sigmas=(0.1,),
    samples_per_shard=200,
)


def test_a_change_leaves_the_samples_that_it_does_not_concern_as_they_were(
    digits: ImageSource, tmp_path: Path
) -> None:
    build(SOME, digits, tmp_path / "some")
    some = digests(tmp_path / "some")
    for name, recipe in {
        "another severity": replace(SOME, severities=(1, 4)),
        "another sigma": replace(SOME, sigmas=(0.2,)),
        "one corruption fewer": replace(SOME, corruptions=("fog", "gaussian_noise_sigma")),
        "another order": replace(SOME, corruptions=("gaussian_noise_sigma", "fog", "shot_noise")),
    }.items():
        build(recipe, digits, tmp_path / name)
        others = digests(tmp_path / name)
        shared = some.keys() & others.keys()
        assert len(shared) >= 8
        assert {shard: some[shard] for shard in shared} == {s: others[s] for s in shared}
    build(replace(SOME, seed=1), digits, tmp_path / "seed")
    changed = {
        shard for shard, digest in digests(tmp_path / "seed").items() if digest != some[shard]
    }
    assert changed == {shard for shard in some if "clean" not in shard}


def test_shard_size_changes_no_sample(digits: ImageSource, tmp_path: Path) -> None:
    def samples(recipe: Corrupted, folder: Path) -> dict[bytes, dict[str, bytes]]:
        build(recipe, digits, folder)
        bundle = open_bundle(folder)
        return {
            key: dict(bundle.read(row)) for row, key in enumerate(bundle.index.rows.keys.tolist())
        }

    few = replace(SOME, corruptions=("shot_noise",), sigmas=())
    assert samples(few, tmp_path / "a") == samples(
        replace(few, samples_per_shard=77), tmp_path / "b"
    )


def test_every_image_is_in_every_cell_under_a_key_that_ends_in_its_number(
    digits: ImageSource, tmp_path: Path
) -> None:
    build(SOME, digits, tmp_path / "b")
    rows = open_bundle(tmp_path / "b").index.rows
    cells: dict[str, list[str]] = {}
    for key in rows.keys.tolist():
        cell, _, number = key.decode().rpartition("-")
        cells.setdefault(cell, []).append(number)
    assert list(cells) == [
        "clean",
        "shot_noise-1",
        "shot_noise-3",
        "fog-1",
        "fog-3",
        "gaussian_noise_sigma-0_1",
    ]
    assert all(numbers == [f"{i:08d}" for i in range(360)] for numbers in cells.values())
    assert rows.columns["source_index"].tolist() == list(range(360)) * 6
    assert rows.columns["severity"][::360].tolist() == [0, 1, 3, 1, 3, 0.1]
    assert rows.columns["corruption"][::360].tolist() == [
        b"clean",
        *[b"shot_noise"] * 2,
        *[b"fog"] * 2,
        b"gaussian_noise_sigma",
    ]
    assert np.array_equal(rows.columns["label"], np.tile(digits.read(0, 360).labels, 6))


def test_a_sample_is_what_the_pure_function_makes_of_the_image_with_its_own_generator(
    digits: ImageSource, tmp_path: Path
) -> None:
    build(SOME, digits, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    keys = bundle.index.rows.keys.tolist()
    clean = digits.read(0, 360).images
    for name, severity in (("shot_noise", 3), ("fog", 1)):
        for number in (0, 255, 256, 359):
            row = keys.index(f"{name}-{severity}-{number:08d}".encode())
            rng = sample_rng(0, f"{name}-{severity}", number)
            image = np.asarray(clean[number])[None]
            expected = corrupt(image, name, severity=severity, rngs=[rng])[0]
            assert np.array_equal(raw(bundle.read(row)["ppm"]), expected)


def test_by_default_all_is_built_that_is_defined_and_at_hand(
    digits: ImageSource, tmp_path: Path
) -> None:
    outside = {"frost", *SIGMA_CORRUPTIONS}
    assert set(Corrupted().resolve(digits).corruptions or ()) == CORRUPTIONS.keys() - outside
    assert len(Corrupted().resolve(digits).cells) == 18 * 5 + 1
    write_frost(tmp_path)
    everything = Corrupted(frost_dir=tmp_path, sigmas=(0.1, 0.2)).resolve(digits)
    assert everything.corruptions == tuple(CORRUPTIONS)
    assert len(everything.cells) == 19 * 5 + 2 * 2 + 1
    small = Corrupted().resolve(open_source("digits:", split="test")).corruptions or ()
    assert "gaussian_noise" in small and "fog" not in small and "saturate" not in small


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"corruptions": ("fog", "rain")}, "no corruption is called 'rain'"),
        ({"corruptions": ("fog", "fog")}, "corruptions holds a value twice"),
        ({"severities": (0,)}, "severity is 0"),
        ({"severities": (6,)}, "severity is 6"),
        ({"severities": (1, 1)}, "severities holds a value twice"),
        ({"sigmas": (-0.1,)}, "sigma is -0.1"),
        ({"sigmas": (float("nan"),)}, "sigma is nan"),
        ({"sigmas": (float("inf"),)}, "sigma is inf"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"samples_per_shard": 0}, "samples_per_shard at least 1"),
    ],
)
def test_what_is_wrong_whatever_the_source_is_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        Corrupted(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"corruptions": ("frost",)}, "frost needs the folder"),
        ({"corruptions": ("gaussian_blur_sigma",)}, "gaussian_blur_sigma needs sigmas"),
        ({"corruptions": ("fog",), "sigmas": (0.1,)}, "no corruption that takes them"),
        ({"corruptions": ("fog",), "frost_dir": Path("x")}, "frost is not among"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    digits: ImageSource, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        Corrupted(**fields).resolve(digits)  # type: ignore[arg-type]


def test_a_corruption_that_is_not_defined_for_the_size_is_refused_with_both_sizes() -> None:
    small = open_source("digits:", split="test")
    with pytest.raises(RecipeError, match="32 x 32 pixels, not 8 x 8"):
        Corrupted(corruptions=("fog",)).resolve(small)


def test_frost_is_known_by_its_files_and_not_by_their_place(
    digits: ImageSource, tmp_path: Path
) -> None:
    recipe = Corrupted(corruptions=("frost",), severities=(1,))
    for name in "ab":
        (tmp_path / name).mkdir()
        write_frost(tmp_path / name)
    one, other = (
        plan(replace(recipe, frost_dir=tmp_path / name), digits, tmp_path / "out").identity
        for name in "ab"
    )
    assert one == other
    assert str(tmp_path) not in str(one)
    (tmp_path / "b" / "frost2.png").unlink()
    with pytest.raises(SourceError, match=r"frost2\.png"):
        build(replace(recipe, frost_dir=tmp_path / "b"), digits, tmp_path / "out")


def test_a_record_gives_the_recipe_back() -> None:
    record = to_record(SOME)
    assert from_record(RECIPES, record, {}) == SOME
    with pytest.raises(RecipeError, match="recipe kind 'baked' is not known"):
        from_record(RECIPES, {**record, "kind": "baked"}, {})
    with pytest.raises(RecipeError, match="cannot have these fields"):
        from_record(RECIPES, {**record, "colour": 1}, {})


def test_images_of_several_sizes_keep_them(tmp_path: Path) -> None:
    sizes = [(40, 30), (33, 21), (40, 30)]
    for number, (width, height) in enumerate(sizes):
        (tmp_path / "in" / "cat").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), (number, 9, 200)).save(tmp_path / f"in/cat/{number}.png")
    source = open_source(f"folder:{tmp_path / 'in'}", split="all")
    recipe = Corrupted(split="all", corruptions=("contrast",), severities=(1,))
    build(recipe, source, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    shapes = [raw(bundle.read(row)["ppm"]).shape for row in range(6)]
    assert shapes == [(height, width, 3) for width, height in sizes] * 2


def test_golden_bundle(digits: ImageSource, tmp_path: Path) -> None:
    # A published bundle must come out the same from every later release: keys, tar, draws.
    recipe = Corrupted(corruptions=("shot_noise",), severities=(2,), samples_per_shard=360)
    build(recipe, digits, tmp_path / "b")
    golden = {
        "test-clean-000000.tar": "d26c3d7c1787ac63",
        "test-shot_noise-2-000000.tar": "91bed578d9efcb78",
    }
    assert {name: digest[:16] for name, digest in digests(tmp_path / "b").items()} == golden
