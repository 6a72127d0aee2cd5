"""Frost: the six pictures it needs, and which of them it draws."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from quire.artifacts.errors import SourceError
from quire.builders.corruptions.catalogue import corrupt, frost_fingerprint, load_frost
from tests.builders.corruptions.corruption_images import generators, write_frost
from tests.builders.real_data import real_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_frost(tmp_path)


def paint(path: Path, colour: tuple[int, ...]) -> None:
    """One colour, 200 x 200, with an alpha of nothing where there are four channels."""
    Pillow.fromarray(np.full((200, 200, len(colour)), colour, np.uint8)).save(path, quality=100)


def test_pictures_are_read_at_a_fifth_in_rgb_and_alpha_is_ignored(folder: Path) -> None:
    paint(folder / "frost1.png", (10, 200, 60, 0))
    frames = load_frost(folder)
    assert [frame.shape for frame in frames[1:]] == [(40 + i, 38 + i, 3) for i in range(2, 7)]
    assert frames[0].shape == (40, 40, 3) and (frames[0] == (10, 200, 60)).all()


def test_a_picture_cannot_be_written_to(folder: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_frost(folder)[0][:] = 0


def test_pictures_are_kept_until_a_file_changes(folder: Path) -> None:
    first = load_frost(folder)
    assert load_frost(folder)[0] is first[0]
    paint(folder / "frost2.png", (1, 2, 3))
    os.utime(folder / "frost2.png", ns=(1, 1))
    assert (load_frost(folder)[1] == (1, 2, 3)).all()


def test_missing_pictures_are_named(folder: Path) -> None:
    (folder / "frost2.png").unlink()
    (folder / "frost6.jpg").unlink()
    for read in (load_frost, frost_fingerprint):
        with pytest.raises(SourceError, match=r"lacks frost2\.png, frost6\.jpg of the six"):
            read(folder)


def test_a_folder_that_is_not_there_lacks_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere lacks frost1\.png, "):
        load_frost(tmp_path / "nowhere")


def test_what_is_not_an_image_is_refused(folder: Path) -> None:
    (folder / "frost4.jpg").write_bytes(b"GIF89a, or so it says")
    with pytest.raises(SourceError, match=r"frost4\.jpg cannot be read as an image"):
        load_frost(folder)


def test_a_picture_without_room_for_an_image_is_refused(folder: Path) -> None:
    Pillow.new("RGB", (400, 160)).save(folder / "frost5.jpg")
    with pytest.raises(SourceError, match=r"frost5\.jpg is too small"):
        load_frost(folder)


def test_the_fingerprint_is_of_the_bytes_alone(folder: Path) -> None:
    before = frost_fingerprint(folder)
    for path in folder.iterdir():
        os.utime(path, ns=(1, 1))
    assert frost_fingerprint(folder) == before
    paint(folder / "frost6.jpg", (0, 0, 0))
    assert frost_fingerprint(folder) != before


def test_the_first_five_are_drawn_alike_and_the_sixth_never(folder: Path) -> None:
    """As in the reference script, and so in the published data set."""
    for i in range(1, 7):
        paint(folder / f"frost{i}.{'png' if i <= 3 else 'jpg'}", (40 * i, 40 * i, 40 * i))
    images = np.zeros((500, 32, 32, 3), np.uint8)
    out = corrupt(images, "frost", severity=3, rngs=generators(500), frames=load_frost(folder))
    seen, counts = np.unique(out.max(axis=(1, 2, 3)), return_counts=True)
    assert seen.tolist() == [int(0.4 * 40 * i) for i in range(1, 6)]
    assert counts.min() > 70


def test_the_real_pictures_are_read() -> None:
    folder = real_data("imagenet_c_frost")
    frames = load_frost(folder)
    assert len(frames) == 6 and min(min(frame.shape[:2]) for frame in frames) > 32
    assert frost_fingerprint(folder) == (
        "e1229136d6fcca51881c8b44d63599e8f95cc51f9e609bcba2d7a4ba58e8d646"
    )
