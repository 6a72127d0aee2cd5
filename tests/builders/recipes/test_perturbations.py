"""Published perturbations as a bundle: axes and channels as they were said, bounds, bad files."""

import filecmp
import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BuildError, BundleError, RecipeError, SourceError
from quire.artifacts.perturbation_table import (
    PERTURBATIONS,
    Perturbation,
    named,
    read_perturbations,
    write_perturbations,
)
from quire.builders.engine.run import build
from quire.builders.recipes.perturbations import Perturbations
from quire.builders.sources.uap import open_perturbations
from tests.builders.real_data import real_data
from tests.hostile_tables import with_table

HEIGHT, WIDTH = 32, 40
REAL = ("LTS4_universal/precomputed", "GD-UAP/classification/perturbations")


def values(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float32]:
    """(3, H, W) in RGB, every value another one."""
    count = 3 * height * width
    drawn = np.random.default_rng(0).permutation(count).reshape(3, height, width)
    return (20 * drawn / (count - 1) - 10).astype(np.float32)


def write_mat(file: Path, delta: NDArray[Any], *, packed: bool = True, key: str = "r") -> None:
    """As LTS4/universal: (W, H, 3) in RGB."""
    savemat(file, {key: delta.transpose(2, 1, 0)}, do_compression=packed)


def write_npy(file: Path, delta: NDArray[Any]) -> None:
    """As GD-UAP: (1, H, W, 3) in BGR."""
    np.save(file, delta.transpose(1, 2, 0)[None, ..., ::-1])


def built(
    folder: Path, out: Path, recipe: Perturbations | None = None, *, skip_bad: bool = False
) -> tuple[Perturbation, ...]:
    source = open_perturbations(folder)
    build(recipe or Perturbations(), source, out, workers=0, skip_bad=skip_bad)
    return read_perturbations(open_bundle(out))


def test_axes_and_channels_are_those_of_each_kind_of_file(tmp_path: Path) -> None:
    delta = values()
    folder = tmp_path / "uap"
    folder.mkdir()
    write_mat(folder / "a.mat", delta)
    write_mat(folder / "b.mat", delta.astype(float), packed=False)
    write_npy(folder / "c.npy", delta)
    write_npy(folder / "d.npy", delta.astype(">f8"))
    np.save(folder / "e.npy", np.asfortranarray(delta.transpose(1, 2, 0)))  # RGB, three axes
    np.save(folder / "f.npy", delta.transpose(2, 1, 0)[..., ::-1])  # columns first
    savemat(folder / "g.MAT", {"r": delta.transpose(1, 2, 0)[..., ::-1]}, appendmat=False)
    (folder / "README.md").write_text("x")
    recipe = Perturbations(
        rgb=("e.npy",), columns_first=("f.npy",), rows_first=("g.MAT",), bgr=("g.MAT",)
    )
    found = built(folder, tmp_path / "out", recipe)
    assert [one.name for one in found] == list("abcdefg")
    for one in found:
        np.testing.assert_array_equal(one.delta, delta)
        assert one.delta.dtype == np.float32
        assert (one.origin, one.norm, one.xi, one.prior) == ("published", "linf", 10.0, "")
    assert [(one.channels, one.axes) for one in found] == [
        *(("rgb", "wh"), ("rgb", "wh"), ("bgr", "hw"), ("bgr", "hw")),
        *(("rgb", "hw"), ("bgr", "wh"), ("bgr", "hw")),
    ]
    assert named(found, "c").file == "c.npy"
    with pytest.raises(BundleError, match="no perturbation is called 'z'; there are a, b"):
        named(found, "z")


def test_what_cannot_be_taken_is_left_out_and_named(tmp_path: Path) -> None:
    delta = values()
    folder = tmp_path / "uap"
    folder.mkdir()
    write_npy(folder / "sound.npy", delta)
    write_npy(folder / "beyond.npy", 1.1 * delta)
    write_npy(folder / "small.npy", values(31, 40))
    write_npy(folder / "nan.npy", np.where(delta > 9, np.nan, delta))
    np.save(folder / "grey.npy", delta[0][..., None])
    np.save(folder / "bytes.npy", np.zeros((32, 40, 3), np.uint8))
    np.save(folder / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (folder / "pickle.npy").write_bytes(pickle.dumps(delta))
    data = (folder / "sound.npy").read_bytes()
    (folder / "cut.npy").write_bytes(data[:-1])
    (folder / "longer.npy").write_bytes(data + b"x")
    (folder / "empty.npy").write_bytes(b"")
    header = io.BytesIO()
    huge = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20, 3)}
    np.lib.format.write_array_header_1_0(header, huge)
    (folder / "huge.npy").write_bytes(header.getvalue())
    write_mat(folder / "key.mat", delta, key="x")
    (folder / "broken.mat").write_bytes(b"MATLAB 5.0" + bytes(500))
    savemat(folder / "big.mat", {"r": np.zeros((2000, 2000, 3), np.float32)}, do_compression=True)
    (folder / "link.npy").symlink_to("/etc/hostname")
    (folder / "folder.npy").mkdir()
    with pytest.raises(SourceError, match=r"beyond\.npy: values up to 11"):  # the first by name
        built(folder, tmp_path / "none")
    found = built(folder, tmp_path / "out", skip_bad=True)
    assert [one.name for one in found] == ["sound"]
    left = {one.file: one.reason for one in open_bundle(tmp_path / "out").manifest.left_out}
    assert left.keys() == {path.name for path in folder.iterdir()} - {"sound.npy"}
    for name, reason in {
        "beyond.npy": "values up to 11, beyond the bound of 10",
        "small.npy": "has sides of (31, 40), not 32 to 1024",
        "nan.npy": "has values that are not finite",
        "grey.npy": "has an array of (32, 40, 1), not two sides and three channels",
        "bytes.npy": "has values of uint8, not float32 or float64",
        "objects.npy": "has values of object, not float32 or float64",
        "pickle.npy": "is no .npy file of numbers",
        "cut.npy": "is not as long as an array of",
        "longer.npy": "is not as long as an array of",
        "empty.npy": "is no .npy file of numbers",
        "huge.npy": "has an array of (1048576, 1048576, 3)",
        "key.mat": "has no array of floats called r",
        "broken.mat": "is not a little-endian MATLAB 5 file",
        "big.mat": "has an array of (2000, 2000, 3) called r",
        "link.npy": "is a link that leads outside the folder",
        "folder.npy": "is not a file",
    }.items():
        assert reason in left[name], name
        assert str(tmp_path) not in left[name] and "\n" not in left[name]


def test_rounding_beyond_the_bound_is_cut_off(tmp_path: Path) -> None:
    delta = values()
    delta[0, 0, 0] = 10.00005
    folder = tmp_path / "uap"
    folder.mkdir()
    write_npy(folder / "a.npy", delta)
    (found,) = built(folder, tmp_path / "out")
    assert np.abs(found.delta).max() == 10.0


def test_a_folder_of_bad_files_alone_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(BuildError, match="no perturbation can be read"):
        built(tmp_path, tmp_path / "out", skip_bad=True)
    with pytest.raises(SourceError, match=r"uap: looked for perturbations \(.mat .npy\) in .*"):
        open_perturbations(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="uap has no split 'train'"):
        open_perturbations(tmp_path, "train")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"xi": 0.0}, "xi is 0.0"),
        ({"xi": float("nan")}, "xi is nan"),
        ({"rgb": ("a.npy",), "bgr": ("a.npy",)}, "a.npy is named for rgb and for bgr"),
        ({"rgb": ("a.mat",)}, "rgb: a.mat is no .npy file of the source"),
        ({"rows_first": ("a.npy",)}, "rows_first: a.npy is no .mat file of the source"),
        ({}, "2 files are called a, which a perturbation is called by"),
    ],
)
def test_a_recipe_that_cannot_be_is_told(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    write_npy(tmp_path / "a.npy", values())
    write_mat(tmp_path / "a.mat", values())
    with pytest.raises(RecipeError, match=reason):
        Perturbations(**fields).resolve(open_perturbations(tmp_path))


def test_the_same_bytes_twice_and_by_workers(tmp_path: Path) -> None:
    folder = tmp_path / "uap"
    folder.mkdir()
    for name in "abc":
        write_npy(folder / f"{name}.npy", values())
    source = open_perturbations(folder)
    for out, workers in (("one", 0), ("two", 2)):
        build(Perturbations(), source, tmp_path / out, workers=workers)
    compared = filecmp.dircmp(tmp_path / "one", tmp_path / "two")
    assert not (compared.left_only or compared.right_only or compared.diff_files)
    before = source.fingerprint()
    (folder / "c.npy").write_bytes((folder / "b.npy").read_bytes()[:-4] + bytes(4))
    assert source.fingerprint() != before


def test_as_it_is_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "uap"
    folder.mkdir()
    write_npy(folder / "googlenet.npy", values())
    write_npy(folder / "universal.npy", values())
    out, html = str(tmp_path / "out"), tmp_path / "page.html"
    where = ["--source", f"uap:{folder}", "--out", out, "--workers", "0"]
    assert quire.main(["build", "perturbations", *where, "--rgb", "universal.npy"]) == 0
    assert quire.main(["verify", out]) == 0
    capsys.readouterr()
    assert quire.main(["show", out, "--html", str(html)]) == 0
    assert quire.main(["show", out]) == 0
    said = capsys.readouterr().out
    assert "bgr, hw" in said and "rgb, hw" in said and f"{WIDTH}x{HEIGHT}" in said
    assert "universal perturbations" in html.read_text("utf-8")
    assert quire.main(["build", "corrupted", *where[:2], "--out", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"xi": 5.0}, "'a' has values beyond its bound of 5"),
        ({"xi": 0.0}, "'a' has a bound of 0.0"),
        ({"origin": "found"}, "'a' has 'found' for origin"),
        ({"delta": np.zeros((1, 4, 4), np.float32)}, r"has shape \(1, 4, 4\), not \(3, H, W\)"),
        ({"delta": np.zeros((3, 4, 4))}, "is float64, not float32"),
        ({"delta": np.full((3, 4, 4), np.nan, np.float32)}, "has values beyond its bound"),
        ({"name": "b"}, "two perturbations have one name"),
    ],
)
def test_a_table_that_cannot_be_is_told(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    write_npy(tmp_path / "a.npy", values())
    built(tmp_path, tmp_path / "out")
    sound = Perturbation(name="a", delta=values(), xi=10.0, origin="crafted")

    def change(file: h5py.File) -> None:
        for name in list(file):
            del file[name]
        write_perturbations(file, [replace(sound, **fields), replace(sound, name="b")])

    with_table(tmp_path / "out", PERTURBATIONS, change)
    with pytest.raises(BundleError, match=reason):
        read_perturbations(open_bundle(tmp_path / "out"))


@pytest.mark.parametrize("which", REAL)
def test_the_published_files_are_within_their_bound(which: str, tmp_path: Path) -> None:
    folder = real_data("uap") / which
    found = built(folder, tmp_path / "out")
    assert len(found) == 6 and not open_bundle(tmp_path / "out").manifest.left_out
    for one in found:
        assert one.delta.shape[1] in (224, 227) and 9.99 < np.abs(one.delta).max() <= 10
        at_bound = (np.abs(one.delta) > 9.999).mean()
        assert (0.01 < at_bound < 0.14) if one.file.endswith(".mat") else (0.6 < at_bound < 0.91)
