"""CelebA's faces: the splits of its list, and lists that are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import SourceError
from quire.builders.engine.run import build
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.celeba import open_celeba
from tests.builders.real_data import real_data

PARTS = (0, 0, 0, 1, 2, 2)


def faces(folder: Path, *, below: str = "", size: tuple[int, int] = (178, 218)) -> Path:
    """Six images, each of a shade of its own, and their list."""
    images = folder / below / "img_align_celeba"
    images.mkdir(parents=True)
    lines = []
    for number, part in enumerate(PARTS, 1):
        name = f"{number:06d}.jpg"
        Image.new("RGB", size, (40 * number,) * 3).save(images / name)
        lines.append(f"{name} {part}\n")
    (folder / below / "list_eval_partition.txt").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("below", ["", "celeba"])
@pytest.mark.parametrize(
    ("split", "shades"),
    [
        ("train", [40, 80, 120]),
        ("valid", [160]),
        ("test", [200, 240]),
        ("all", [40, 80, 120, 160, 200, 240]),
    ],
)
def test_a_split_is_what_the_list_says(
    below: str, split: str, shades: list[int], tmp_path: Path
) -> None:
    source = open_source(f"celeba:{faces(tmp_path, below=below)}", split=split)
    block = source.read(0, len(source))
    images = np.array(block.images)
    assert images.shape == (len(shades), 218, 178, 3)
    assert source.image_shape == (218, 178, 3) and len(source) == len(shades)
    assert images[:, 100, 100, 0].tolist() == pytest.approx(shades, abs=1)
    assert block.labels.tolist() == [0] * len(shades)
    assert (source.kind, source.split, source.class_names) == ("celeba", split, ("face",))


def test_a_size_crops_the_middle(tmp_path: Path) -> None:
    faces(tmp_path)
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[20:198] = 255  # the square in the middle, which is what is kept
    Image.fromarray(pixels).save(tmp_path / "img_align_celeba/000004.jpg", quality=100)
    source = open_source(f"celeba:{tmp_path}?size=64", split="valid")
    image = np.array(source.read(0, 1).images)[0]
    assert image.shape == (64, 64, 3) and image.min() > 200


def test_it_makes_a_bundle_of_a_size_that_differs_from_another(tmp_path: Path) -> None:
    faces(tmp_path / "faces")
    for size in (32, 64):
        source = open_source(f"celeba:{tmp_path / 'faces'}?size={size}", split="train")
        build(Corrupted(split="train", corruptions=()), source, tmp_path / str(size))
    found = [open_bundle(tmp_path / size).manifest.identity.source for size in ("32", "64")]
    assert found[0]["kind"] == "celeba" and found[0]["sha256"] != found[1]["sha256"]


def test_an_image_that_is_listed_and_not_there_is_a_bad_sample(tmp_path: Path) -> None:
    (faces(tmp_path) / "img_align_celeba/000002.jpg").unlink()
    source = open_source(f"celeba:{tmp_path}?size=64", split="train")
    bad = source.read(0, len(source)).bad
    assert [(one.index, one.file, one.reason) for one in bad] == [
        (1, "img_align_celeba/000002.jpg", "no such file")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("000001.jpg 3\n", "line 1 is no file name and 0, 1 or 2"),
        ("000001.jpg 0\nhello\n", "line 2 is no file name"),
        ("../000001.jpg 0\n", "line 1 is no file name"),
        ("/etc/passwd 0\n", "line 1 is no file name"),
        ("000001.jpg 0\n000001.jpg 1\n", "line 2 names 000001.jpg a second time"),
        ("000001.jpg 1\n", "has no images of the split 'train'"),
        ("", "has no images of the split 'train'"),
        ("\x00\xff", "line 1 is no file name"),
    ],
)
def test_a_list_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    faces(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=said):
        open_celeba(tmp_path, "train")


def test_what_is_not_in_the_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="looked for img_align_celeba and list_eval_"):
        open_celeba(tmp_path, "train")
    with pytest.raises(SourceError, match="celeba"):
        open_celeba(tmp_path / "nothing", "train")
    faces(tmp_path)
    with pytest.raises(SourceError, match="val"):
        open_celeba(tmp_path, "val")
    with pytest.raises(SourceError, match="celeba: the option 'size=0' is not size=N"):
        open_source(f"celeba:{tmp_path}?size=0", split="train")


def test_real_faces_are_brought_to_64(tmp_path: Path) -> None:
    """CelebA-HQ's samples in CelebA's layout."""
    samples = sorted(real_data("celeba_hq_samples").rglob("*.jpg"))[:6]
    faces(tmp_path)
    for number, path in enumerate(samples, 1):
        target = tmp_path / "img_align_celeba" / f"{number:06d}.jpg"
        target.write_bytes(path.read_bytes())
    source = open_source(f"celeba:{tmp_path}?size=64", split="train")
    images = np.array(source.read(0, 3).images)
    assert images.shape == (3, 64, 64, 3) and images.std() > 20
