"""`quire show`: what it prints, what it writes, and what a hostile bundle gets."""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.graph_table import GRAPHS
from quire.artifacts.manifest import MANIFEST, LeftOut
from quire.train.report.contact_sheet import contact_sheet
from quire.train.report.graph_figures import distributions
from quire.train.report.plots.figure import plot
from quire.train.report.show import show
from tests.bundles import image_bundle, random_images, write_bundle
from tests.graph_bundles import graph_bundle
from tests.hostile_tables import with_table
from tests.train.corrupted import CELLS, corrupted_bundle, with_manifest
from tests.train.report.test_page import HOSTILE, Parsed

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    corrupted_bundle(tmp_path / "b")
    recipe = {
        "kind": "corrupted",
        "split": "test",
        "corruptions": ["fog"],
        "seed": 7,
        "sigma": None,
    }
    with_manifest(tmp_path / "b", recipe=recipe)
    return tmp_path / "b"


def printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The lines that `show` prints, each as its words."""
    show(folder)
    captured = capsys.readouterr()
    assert captured.err == ""
    return [line.split() for line in captured.out.splitlines()]


def test_everything_about_a_bundle_is_printed(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(bundle, capsys)
    manifest = open_bundle(bundle).manifest
    size = f"{sum(shard.bytes for shard in manifest.shards) / 1e6:.1f}"
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    for line in (
        ["kind", "corrupted"],
        ["source", "made"],
        ["split", "test"],
        ["samples", "36"],
        ["left", "out", "0"],
        ["shards", "1,", size, "MB"],
        ["members", "ppm", "(203", "B)"],
        ["columns", "corruption,", "label,", "severity,", "source_index"],
        ["manifest", "sha256", digest],
        ["corruptions", "fog"],
        ["seed", "7"],
        ["sigma", "none"],
    ):
        assert line in lines
    for name, severities, samples in (
        ("clean", ["0"], "4"),
        ("fog", ["1,", "2,", "3"], "12"),
        ("gaussian_blur_sigma", ["0.25,", "1.5"], "8"),
    ):
        assert [name, *severities, "4", samples] in lines
    for label in range(4):
        assert [str(label), str(label), "9"] in lines  # class, name, images


def test_what_is_piped_is_plain_and_never_wrapped(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    show(bundle)
    piped = capsys.readouterr().out
    assert "\x1b" not in piped and not any(line != line.rstrip() for line in piped.splitlines())
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    assert any(line.endswith(digest) for line in piped.splitlines())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    show(bundle)
    assert "\x1b[1m" in capsys.readouterr().out


def test_samples_left_out_are_named_with_their_reasons(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = tuple(LeftOut(i, f"cat/{i}.jpg", "the file is empty") for i in range(75))
    with_manifest(bundle, left_out=left_out[:2])
    lines = printed(bundle, capsys)
    assert ["left", "out", "2"] in lines
    assert ["1", "cat/1.jpg", "the", "file", "is", "empty"] in lines
    with_manifest(bundle, left_out=left_out)
    lines = printed(bundle, capsys)
    assert "the first 50 of 75".split() in lines
    assert [line[1] for line in lines if "cat/" in " ".join(line)] == [
        f"cat/{i}.jpg" for i in range(50)
    ]


def test_counts_that_differ_are_a_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corrupted_bundle(tmp_path / "b", without=[(CELLS[4], 0), (CELLS[4], 1)])
    assert "fog 1, 2, 3 2 to 4 10".split() in printed(tmp_path / "b", capsys)


def test_the_picture_is_the_contact_sheet(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    show(bundle, png=path)
    sheet = contact_sheet(open_bundle(bundle))
    assert sheet is not None
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(sheet))
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]


def test_the_page_has_the_picture_the_counts_and_every_digest(bundle: Path, tmp_path: Path) -> None:
    show(bundle, html=tmp_path / "page.html")
    parsed = Parsed((tmp_path / "page.html").read_text("utf-8"))
    assert parsed.tags.count("img") == 1
    manifest = open_bundle(bundle).manifest
    for file in manifest.files.values():
        assert {file.name, file.sha256, f"{file.bytes:,}"} <= set(parsed.texts)
    assert {"corrupted · made · test", "fog", "1, 2, 3"} <= set(parsed.texts)


def test_the_same_bundle_gives_the_same_page(bundle: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in pages:
        show(bundle, html=path, png=path.with_suffix(".png"))
    for suffix in (".html", ".png"):
        assert len({path.with_suffix(suffix).read_bytes() for path in pages}) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_wherever_they_stand(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [("clean", 0.0), (name.encode("ascii", "replace").decode(), 1.0)]
    for folder, text in (("plain", "x"), ("hostile", name)):
        bundle = tmp_path / folder
        corrupted_bundle(bundle, cells if folder == "hostile" else [("clean", 0), ("x", 1)])
        with_manifest(
            bundle,
            recipe={"kind": text, "split": [text], text: {text: text}},
            source={"kind": text, "class_names": [text, None, [text]], "sha256": text},
            left_out=(LeftOut(0, text, text),),
        )
        show(bundle, html=tmp_path / f"{folder}.html", png=tmp_path / f"{folder}.png")
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.splitlines())
    plain, hostile = (
        Parsed((tmp_path / f"{folder}.html").read_text("utf-8")) for folder in ("plain", "hostile")
    )
    assert hostile.tags == plain.tags


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {}, "source": {}},
        {"recipe": {"kind": None}, "source": {"class_names": 7}},
        {"recipe": {"kind": "x" * 100_000}, "source": {"class_names": ["y" * 100_000] * 10}},
        {"left_out": (LeftOut([1], {"a": 2}, None),)},  # type: ignore[arg-type]
    ],
)
def test_a_strange_manifest_is_shown_as_far_as_it_goes(
    changes: dict[str, object], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_manifest(bundle, **changes)
    show(bundle, html=tmp_path / "page.html", png=tmp_path / "sheet.png")
    assert "samples" in capsys.readouterr().out
    assert (tmp_path / "page.html").stat().st_size < 2_000_000


def test_a_bundle_without_pictures_has_a_page_but_no_contact_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "b", ["a"], {"json": [b"{}"]}, {}, samples_per_shard=1)
    show(tmp_path / "b", html=tmp_path / "page.html")
    assert "img" not in Parsed((tmp_path / "page.html").read_text()).tags
    with pytest.raises(BundleError, match="has no images for a contact sheet"):
        show(tmp_path / "b", png=tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
    assert "json (2 B)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_page_of_graphs_shows_how_their_properties_are_distributed(tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")
    show(tmp_path / "b", html=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "Distributions" in Parsed(text).texts
    png = base64.b64decode(text.partition("data:image/png;base64,")[2].partition('"')[0])
    panels = distributions(open_bundle(tmp_path / "b"))
    assert png == plot(panels, columns=3)


@pytest.mark.slow
def test_a_hostile_table_of_graphs_has_a_page(tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")

    def change(file: h5py.File) -> None:
        for number, value in enumerate((np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, 0, 1, 2)):
            file["dag/mean_closeness"][number] = value
        file["dag/density"][:] = np.nan
        file["parameters/connected"][:] = np.arange(-4, 5) * 2**60

    with_table(tmp_path / "b", GRAPHS, change)
    show(tmp_path / "b", html=tmp_path / "page.html")
    assert "img" in Parsed((tmp_path / "page.html").read_text("utf-8")).tags


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", ", html=folder / 'page.html'"])
def test_the_terminal_waits_for_no_plots(options: str, tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")
    code = (
        "import sys; from pathlib import Path; from quire.train.report.show import show; "
        f"folder = Path({str(tmp_path)!r}); show(folder / 'b'{options}); "
        "print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().split()[-2:] == [str(bool(options)), "False"]


def test_a_thousand_classes_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = random_images(120, (1, 1, 1))
    image_bundle(tmp_path / "b", images, np.arange(120), samples_per_shard=120)
    lines = printed(tmp_path / "b", capsys)
    assert "the first 50 of 120".split() in lines
    assert ["9", "9", "1"] in lines and ["10", "1"] in lines and ["50", "1"] not in lines


def test_a_damaged_bundle_is_not_shown(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / MANIFEST).write_text("{}")
    with pytest.raises(BundleError, match="is not a manifest"):
        show(bundle)
    assert capsys.readouterr().out == ""
