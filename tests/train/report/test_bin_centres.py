"""The centres of bins on a sheet and on a page."""

from pathlib import Path

import numpy as np
import pytest

import quire
from quire.artifacts.bins_table import read_bins
from quire.artifacts.bundle import open_bundle
from quire.builders.engine.run import build
from quire.builders.recipes.bins import ImageBins
from quire.builders.sources.samples import Digits
from quire.train.report.bin_centres import centres_sheet


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bins") / "b"
    build(ImageBins(split="test", bins=7, restarts=1), Digits("test"), folder)
    return folder


@pytest.mark.parametrize("density", [1, 2])
def test_each_centre_is_at_its_place(density: int, bundle: Path) -> None:
    bins = read_bins(open_bundle(bundle))
    sheet = np.asarray(centres_sheet(bins, density=density))
    side = 64 * density
    assert sheet.shape == (3 * side + 4, 3 * side + 4, 3)
    for number in range(7):
        row, column = divmod(number, 3)
        tile = sheet[row * (side + 2) :, column * (side + 2) :][:side, :side, 0]
        np.testing.assert_array_equal(
            tile[:: side // 8, :: side // 8], np.rint(bins.centres[number, ..., 0])
        )
    assert (sheet[-1, -1] == 255).all()  # where there is no centre


def test_a_page_of_bins_has_them(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert quire.main(["show", str(bundle), "--html", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "Centres" in text and "Means of the images of 7 bins" in text
