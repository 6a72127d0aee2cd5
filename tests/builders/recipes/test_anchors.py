"""Recipe `anchors`: who is chosen, whom else that concerns, the same bytes however it is built."""

import filecmp
import json
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BuildError, BundleError, RecipeError, SourceError
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.verify import verify
from quire.builders.draws import sample_rng
from quire.builders.engine.recipe import from_record, to_record
from quire.builders.engine.run import build, plan
from quire.builders.rebuild import rebuild
from quire.builders.recipes.anchor_order import farthest, nearest
from quire.builders.recipes.anchors import ANCHORS, Anchors, Strategy
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import Block, ImageSource
from quire.loaders.decode import raw
from tests.builders.real_data import real_data
from tests.feature_bundles import blocks_of, feature_bundle, features_of, some_features
from tests.same_folder import assert_same

THREE = Anchors(per_class=3, samples_per_shard=9)


@pytest.fixture(scope="module")
def digits() -> ImageSource:
    return open_source("digits:", split="train")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, digits: ImageSource) -> Path:
    folder = tmp_path_factory.mktemp("anchors") / "features"
    features_of(folder, digits)
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, digits: ImageSource) -> Path:
    folder = tmp_path_factory.mktemp("anchors") / "reference"
    build(THREE, digits, folder)
    return folder


def chosen(folder: Path) -> NDArray[np.int64]:
    """(C, K)."""
    with h5py.File(folder / ANCHORS) as file:
        return np.asarray(file["source_index"])


def test_the_bundle_holds_the_images_of_the_split_class_after_class(
    reference: Path, digits: ImageSource
) -> None:
    assert verify(reference) == ()
    bundle = open_bundle(reference)
    whole = digits.read(0, len(digits))
    numbers = bundle.index.rows.columns["source_index"]
    assert bundle.index.rows.columns["label"].tolist() == [i // 3 for i in range(30)]
    assert len(set(numbers.tolist())) == 30
    for row, number in enumerate(numbers.tolist()):
        sample = bundle.read(row)
        np.testing.assert_array_equal(raw(sample["pgm"]), whole.images[number])
        assert int(sample["cls"]) == whole.labels[number] == row // 3
        assert bundle.index.rows.keys[row] == b"anchor-%08d" % number


def test_the_table_says_who_they_are(reference: Path) -> None:
    numbers = open_bundle(reference).index.rows.columns["source_index"]
    np.testing.assert_array_equal(chosen(reference), numbers.reshape(10, 3))
    with h5py.File(reference / ANCHORS) as file:
        assert file["source_index"].dtype == file["label"].dtype == np.int64
        assert file["label"][()].tolist() == list(range(10))
        assert json.loads(file["label"].attrs["class_names"]) == list("0123456789")
        assert file["source_index"].attrs["strategy"] == b"uniform"


def test_a_draw_is_the_first_of_a_permutation_of_the_class(
    reference: Path, digits: ImageSource
) -> None:
    labels = digits.read_labels()
    for label, row in enumerate(chosen(reference)):
        members = np.flatnonzero(labels == label)
        permutation = sample_rng(0, "anchors", label).permutation(len(members))
        assert row.tolist() == members[permutation[:3]].tolist()


def with_features(recipe: Anchors, strategy: Strategy, features: Path) -> Anchors:
    path = None if strategy == "uniform" else str(features)
    return replace(recipe, strategy=strategy, features=path)


@pytest.mark.parametrize("strategy", ["uniform", "nearest", "farthest"])
def test_fewer_anchors_are_the_first_of_more(
    digits: ImageSource, features: Path, tmp_path: Path, strategy: Strategy
) -> None:
    many = {}
    for per_class in (1, 3, 5, 108):  # no class of the digits has fewer than 142
        recipe = with_features(Anchors(per_class=per_class), strategy, features)
        build(recipe, digits, tmp_path / str(per_class))
        many[per_class] = chosen(tmp_path / str(per_class))
        assert len(np.unique(many[per_class])) == 10 * per_class
    for fewer in (1, 3, 5):
        np.testing.assert_array_equal(many[fewer], many[108][:, :fewer])


@pytest.mark.parametrize("order", [nearest, farthest])
def test_features_choose_within_each_class(
    digits: ImageSource, features: Path, tmp_path: Path, order: Any
) -> None:
    strategy = order.__name__
    build(with_features(THREE, strategy, features), digits, tmp_path / "b")
    labels = digits.read_labels()
    values = some_features(labels)
    for label, row in enumerate(chosen(tmp_path / "b")):
        members = np.flatnonzero(labels == label)
        assert row.tolist() == members[list(order(values[members]))[:3]].tolist()
    with h5py.File(tmp_path / "b" / ANCHORS) as file:
        assert file["source_index"].attrs["strategy"] == strategy.encode()


@pytest.mark.parametrize("strategy", ["nearest", "farthest"])
def test_of_equal_features_the_lowest_number_is_chosen(
    digits: ImageSource, tmp_path: Path, strategy: Strategy
) -> None:
    features_of(tmp_path / "f", digits, np.ones((len(digits), 4), np.float32))
    build(with_features(THREE, strategy, tmp_path / "f"), digits, tmp_path / "b")
    labels = digits.read_labels()
    expected = [np.flatnonzero(labels == label)[:3] for label in range(10)]
    np.testing.assert_array_equal(chosen(tmp_path / "b"), expected)


class Labelled:
    """A source of images that are their own numbers, with any labels."""

    kind, split, image_shape = "made", "train", (1, 2, 1)
    class_names = ("a", "b", "c")

    def __init__(self, labels: list[int]) -> None:
        self.labels = np.array(labels, np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, start: int, stop: int) -> Block:
        numbers = np.arange(start, stop)
        images = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
        return Block(numbers, images.reshape(-1, 1, 2, 1), self.labels[start:stop])

    def read_labels(self) -> NDArray[np.int64]:
        return self.labels

    def fingerprint(self) -> str:
        return "0"


def numbers_of(source: ImageSource, recipe: Anchors) -> list[list[int]]:
    """The anchors of each class, by the recipe's own samples."""
    (task,) = recipe.resolve(source).plan(source)
    return [run.part["source_index"][0].tolist() for run in recipe.samples(source, task)]


@settings(max_examples=40)
@given(labels=st.lists(st.integers(0, 2), max_size=30), seed=st.integers(0, 3))
def test_a_class_is_drawn_whatever_the_other_classes_are(labels: list[int], seed: int) -> None:
    labels = [0, 1, 2, 0, 1, 2, *labels]
    others = [label if label == 1 else 2 - label for label in labels]
    recipe = Anchors(per_class=2, seed=seed)
    ours, theirs = (numbers_of(Labelled(some), recipe) for some in (labels, others))
    assert ours[1] == theirs[1]
    shifted = numbers_of(Labelled([0, 0, 2, *labels]), recipe)  # more of others before it
    assert [number - 3 for number in shifted[1]] == ours[1]


def test_another_seed_draws_others_and_every_image_can_be_drawn() -> None:
    source = Labelled([0, 1, 2] * 4)
    drawn = [numbers_of(source, Anchors(seed=seed)) for seed in range(40)]
    assert {classes[1][0] for classes in drawn} == {1, 4, 7, 10}


# ---- how it is built


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_bytes_do_not_depend_on_workers(
    reference: Path, digits: ImageSource, tmp_path: Path, workers: int
) -> None:
    build(THREE, digits, tmp_path / "b", workers=workers)
    assert_same(reference, tmp_path / "b")


def test_a_plan_is_whole_classes_and_knows_its_bytes(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    planned = plan(THREE, digits, tmp_path / "none")
    assert planned == plan(THREE, digits, tmp_path / "none")
    assert [(task.start, task.stop) for task in planned.tasks] == [
        (0, 9),
        (9, 18),
        (18, 27),
        (27, 30),
    ]
    assert planned.bytes == sum(file.stat().st_size for file in reference.glob("*.tar"))


def test_the_size_of_shards_changes_no_anchor(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    build(replace(THREE, samples_per_shard=5000), digits, tmp_path / "b")
    assert len(list((tmp_path / "b").glob("*.tar"))) == 1
    assert filecmp.cmp(reference / ANCHORS, tmp_path / "b" / ANCHORS, shallow=False)


def test_an_audit_derives_anchors_and_table_anew(
    reference: Path, digits: ImageSource, features: Path, tmp_path: Path
) -> None:
    outcome = rebuild(reference, "digits:", outside={}, shards=4)
    assert outcome.same and "anchors.h5: the same" in outcome.lines
    build(with_features(THREE, "nearest", features), digits, tmp_path / "b")
    outcome = rebuild(tmp_path / "b", "digits:", outside={"features": features}, shards=4)
    assert outcome.same and len(outcome.lines) == 5
    with pytest.raises(RecipeError, match="the strategy nearest needs features"):
        rebuild(tmp_path / "b", "digits:", outside={}, shards=4)


def test_other_features_are_another_build(
    digits: ImageSource, features: Path, tmp_path: Path
) -> None:
    features_of(tmp_path / "f", digits, some_features(digits.read_labels(), seed=1))
    build(with_features(THREE, "nearest", features), digits, tmp_path / "b")
    with pytest.raises(BuildError, match="belongs to another build; inputs features"):
        build(with_features(THREE, "nearest", tmp_path / "f"), digits, tmp_path / "b")


def test_clean_images_are_those_of_a_corrupted_bundle(reference: Path, tmp_path: Path) -> None:
    recipe = Corrupted(split="train", corruptions=("contrast",), severities=(1,))
    build(recipe, open_source("digits:", split="train"), tmp_path / "c")
    ours, theirs = open_bundle(reference), open_bundle(tmp_path / "c")
    keys = theirs.index.rows.keys.tolist()
    for row, number in enumerate(ours.index.rows.columns["source_index"].tolist()):
        assert ours.read(row) == theirs.read(keys.index(b"clean-%08d" % number))


def test_the_command_line_builds_and_shows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "b")
    arguments = ["--source", "digits:", "--per-class", "3", "--out", out, "--workers", "0"]
    assert quire.main(["build", "anchors", *arguments]) == 0
    assert quire.main(["show", out, "--png", str(tmp_path / "sheet.png")]) == 0
    printed = capsys.readouterr().out
    assert "30 samples, 1 shards" in printed and "strategy           uniform" in printed
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500


# ---- photographs: of any size, some of which cannot be read


def photographs(root: Path, *, damaged: tuple[str, ...] = ()) -> ImageSource:
    rng = np.random.default_rng(0)
    for number in range(12):
        label = "cat" if number < 6 else "dog"
        (root / label).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (5 + number, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / label / f"{number:02d}.png")
    for name in damaged:
        (root / name).write_bytes(b"")
    return open_source(f"folder:{root}", split="all")


PHOTOGRAPHS = Anchors(split="all", per_class=2)


def test_photographs_keep_their_sizes(tmp_path: Path) -> None:
    source = photographs(tmp_path / "images")
    build(PHOTOGRAPHS, source, tmp_path / "b")
    assert verify(tmp_path / "b") == ()
    bundle = open_bundle(tmp_path / "b")
    for row, number in enumerate(bundle.index.rows.columns["source_index"].tolist()):
        image = raw(bundle.read(row)["ppm"])
        assert image.shape == (5 + number, 9, 3)
        np.testing.assert_array_equal(image, source.read(number, number + 1).images[0])


def test_an_anchor_that_cannot_be_read_is_replaced_by_the_next(
    tmp_path: Path, scheduler: str
) -> None:
    build(replace(PHOTOGRAPHS, per_class=6), photographs(tmp_path / "sound"), tmp_path / "all")
    cats, dogs = chosen(tmp_path / "all").tolist()
    damaged = f"cat/{cats[1]:02d}.png", f"dog/{dogs[5]:02d}.png"
    source = photographs(tmp_path / "damaged", damaged=damaged)
    with pytest.raises(SourceError, match=rf"^{damaged[0]}: .*skip-bad"):
        build(PHOTOGRAPHS, source, tmp_path / "b0")
    for name, address in {"b0": None, "b2": scheduler}.items():
        folder = tmp_path / name
        manifest = build(PHOTOGRAPHS, source, folder, scheduler=address, skip_bad=True)
        # the dog that nobody chose is not looked at
        assert [sample.file for sample in manifest.left_out] == [damaged[0]]
        assert chosen(folder).tolist() == [[cats[0], cats[2]], dogs[:2]]
    assert_same(tmp_path / "b0", tmp_path / "b2")
    assert rebuild(tmp_path / "b0", f"folder:{tmp_path}/damaged", outside={}, shards=1).same


def test_a_class_with_too_few_readable_images_is_told(tmp_path: Path) -> None:
    damaged = ("cat/00.png", "cat/01.png")
    source = photographs(tmp_path / "images", damaged=damaged)
    five = replace(PHOTOGRAPHS, per_class=5)
    with pytest.raises(
        RecipeError, match=r"^class cat has 4 readable images in folder all; 5 anchors were asked"
    ):
        build(five, source, tmp_path / "b", skip_bad=True)
    with pytest.raises(SourceError, match=r"^cat/0[01]\.png"):
        build(five, source, tmp_path / "c")


# ---- what is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"per_class": 0}, "per_class must be at least 1"),
        ({"seed": -1}, "seed at least 0"),
        ({"per_class": 6, "samples_per_shard": 5}, "samples_per_shard is 5, fewer than the 6"),
        ({"strategy": "nearest"}, "the strategy nearest needs features"),
        ({"strategy": "farthest"}, "the strategy farthest needs features"),
        ({"features": Path("x")}, "the strategy uniform takes no features"),
    ],
)
def test_fields_that_do_not_fit_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Anchors(**fields)


def test_a_class_with_too_few_images_is_told(digits: ImageSource, tmp_path: Path) -> None:
    counts = np.bincount(digits.read_labels())
    least = int(counts.argmin())
    build(Anchors(per_class=int(counts.min())), digits, tmp_path / "all")
    message = (
        f"^class {least} has {counts.min()} images in digits train;"
        f" {counts.min() + 1} anchors were asked for$"
    )
    with pytest.raises(RecipeError, match=message):
        build(Anchors(per_class=int(counts.min()) + 1), digits, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(RecipeError, match=r"^class b has 0 images in made train; 1 anchors"):
        Anchors().resolve(Labelled([0, 2]))


def test_features_of_other_images_are_told(digits: ImageSource, tmp_path: Path) -> None:
    labels = digits.read_labels()
    count = len(labels)
    values = some_features(labels)
    numbers = np.arange(count)
    others = {
        "short": (values[:-1], labels[:-1], numbers[:-1]),
        "gap": (values[1:], labels[1:], numbers[1:]),
        "swapped": (
            values,
            np.concatenate([labels[:7], [(labels[7] + 1) % 10], labels[8:]]),
            numbers,
        ),
    }
    there = "has features of 1,436 images, the last of them number"
    messages = {
        "short": f"{there} 1,435; digits train has 1,437",
        "gap": f"{there} 1,436; digits train has 1,437",
        "swapped": "has another class for image 7 than digits train",
    }
    for name, arrays in others.items():
        feature_bundle(tmp_path / name, blocks_of(*arrays))
        with pytest.raises(RecipeError, match=messages[name]):
            build(with_features(THREE, "nearest", tmp_path / name), digits, tmp_path / "b")
    test = open_source("digits:", split="test")
    features_of(tmp_path / "train", digits)
    with pytest.raises(RecipeError, match="has features of 1,437 images"):
        build(
            with_features(replace(THREE, split="test"), "nearest", tmp_path / "train"),
            test,
            tmp_path / "b",
        )
    assert not (tmp_path / "b").exists()


def test_what_is_no_bundle_of_features_is_told(
    digits: ImageSource, reference: Path, tmp_path: Path
) -> None:
    choose = partial(with_features, THREE, "farthest")
    with pytest.raises(BundleError, match="it is no bundle of features"):
        build(choose(reference), digits, tmp_path / "b")
    with pytest.raises(BundleError, match="does not exist"):
        build(choose(tmp_path / "none"), digits, tmp_path / "b")


def test_a_record_comes_back_without_the_path(features: Path) -> None:
    recipe = with_features(THREE, "nearest", features)
    record = to_record(recipe)
    assert str(features) not in json.dumps(record)
    assert from_record(RECIPES, record, {"features": str(features)}) == recipe


def test_the_bundle_tells_no_path(digits: ImageSource, features: Path, tmp_path: Path) -> None:
    build(with_features(THREE, "nearest", features), digits, tmp_path / "b")
    found = subprocess.run(
        ["grep", "-rc", str(tmp_path.parent), tmp_path / "b"], capture_output=True
    )
    assert found.returncode == 1
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_text())
    assert list(manifest["inputs"]) == ["features"]


# ---- the real images


def test_the_real_cifar10_has_anchors(tmp_path: Path) -> None:
    source = open_source(f"cifar10:{real_data('cifar10')}", split="train")
    build(Anchors(per_class=5), source, tmp_path / "b")
    bundle = open_bundle(tmp_path / "b")
    numbers = bundle.index.rows.columns["source_index"].tolist()
    assert len(numbers) == 50
    for row, number in enumerate(numbers):
        block = source.read(number, number + 1)
        np.testing.assert_array_equal(raw(bundle.read(row)["ppm"]), block.images[0])
        assert block.labels[0] == row // 5
