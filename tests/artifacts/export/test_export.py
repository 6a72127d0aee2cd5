"""Every form is read by its own tool, and holds the samples of the bundle."""

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import quire
from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError
from quire.artifacts.export.export import FORMATS, export
from quire.artifacts.export.samples import link
from quire.artifacts.sharing.pull import pull
from tests.bundles import image_bundle, random_images

CORRUPTED = ("corrupted", "--source", "digits:", "--corruptions", "contrast", "gaussian_noise")
SCENES = ("scenes", "--source", "shapes:12?size=64x48")


def built(folder: Path, *recipe: str) -> Bundle:
    assert quire.main(["build", *recipe, "--out", str(folder), "--workers", "0"]) == 0
    return open_bundle(folder)


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    cells = ("--severities", "1", "3", "--samples-per-shard", "200")
    return built(tmp_path_factory.mktemp("export") / "corrupted", *CORRUPTED, *cells)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return built(tmp_path_factory.mktemp("export") / "scenes", *SCENES)


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(data)))


def keys(bundle: Bundle) -> list[str]:
    return [key.decode() for key in bundle.index.rows.keys[:].tolist()]


def text_of(bundle: Bundle, column: str) -> list[str]:
    return [value.decode() for value in bundle.index.rows.columns[column].tolist()]


def exported(bundle: Bundle, form: str, out: Path) -> Path:
    export(str(bundle.place), form, out)
    return out


def test_shards_are_not_copied(corrupted: Bundle, tmp_path: Path) -> None:
    assert isinstance(corrupted.place, Path)
    for form in ("bagit", "croissant", "dali", "energon", "huggingface"):
        out = exported(corrupted, form, tmp_path / form)
        for shard in corrupted.manifest.shards:
            (found,) = out.rglob(shard.name)
            assert found.samefile(corrupted.place / shard.name)


def test_where_there_can_be_no_link_there_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a").write_bytes(b"abc")
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"abc"
    assert not (tmp_path / "b").samefile(tmp_path / "a")


@pytest.mark.filterwarnings("ignore")
def test_bagit_validates(corrupted: Bundle, tmp_path: Path) -> None:
    bagit = pytest.importorskip("bagit")
    out = exported(corrupted, "bagit", tmp_path / "bag")
    bag = bagit.Bag(str(out))
    assert bag.validate() and bag.version == "1.0"
    names = {path.name for path in Path(str(corrupted.place)).iterdir()}
    assert {path.name for path in (out / "data").iterdir()} == names
    assert open_bundle(out / "data").manifest == corrupted.manifest
    (out / "data" / "index.h5").unlink()
    with pytest.raises(bagit.BagValidationError):
        bag.validate()


@pytest.fixture
def mlcroissant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, which keeps what it unpacks in a temporary folder."""
    library = pytest.importorskip("mlcroissant")
    extract = "mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH"
    monkeypatch.setattr(extract, library._src.core.constants.epath.Path(tmp_path / "unpacked"))
    return library


@pytest.mark.filterwarnings("ignore")
def test_croissant_keeps_bundles_with_the_same_names_apart(
    tmp_path: Path, mlcroissant: Any
) -> None:
    for seed in (0, 1):
        images, labels = random_images(6, (5, 4, 3), seed=seed)
        image_bundle(tmp_path / f"b{seed}", images, labels, samples_per_shard=6)
        export(tmp_path / f"b{seed}", "croissant", tmp_path / f"c{seed}")
        loaded = mlcroissant.Dataset(tmp_path / f"c{seed}/croissant.json")
        found = [record["samples/ppm"] for record in loaded.records("samples")]
        assert sorted(np.asarray(image).tobytes() for image in found) == sorted(
            image.tobytes() for image in images
        )


@pytest.mark.filterwarnings("ignore")
def test_croissant_loads(
    corrupted: Bundle, scenes: Bundle, tmp_path: Path, mlcroissant: Any
) -> None:
    out = exported(corrupted, "croissant", tmp_path / "classes")
    loaded = mlcroissant.Dataset(out / "croissant.json")
    assert not loaded.metadata.ctx.issues.errors
    records = {record["samples/key"].decode(): record for record in loaded.records("samples")}
    assert sorted(records) == sorted(keys(corrupted))
    columns = corrupted.index.rows.columns
    for row in range(0, len(corrupted.index), 97):
        record = records[keys(corrupted)[row]]
        assert np.array_equal(record["samples/pgm"], pixels(corrupted.read(row)["pgm"]))
        for name in ("label", "severity", "source_index"):
            assert record[f"samples/{name}"] == columns[name][row]
        assert record["samples/corruption"] == columns["corruption"][row]
    classes = [record["classes/name"] for record in loaded.records("classes")]
    assert classes == corrupted.manifest.identity.source["class_names"]

    out = exported(scenes, "croissant", tmp_path / "scenes")
    loaded = mlcroissant.Dataset(out / "croissant.json")
    for extension in ("ppm", "mask.png"):
        name = extension.replace(".", "_")
        own = "samples" if extension == "ppm" else f"samples_{name}"
        found = {r[f"{own}/key"].decode(): r[f"{own}/{name}"] for r in loaded.records(own)}
        assert sorted(found) == sorted(keys(scenes))
        for row, key in enumerate(keys(scenes)):
            assert np.array_equal(found[key], pixels(scenes.read(row)[extension]))


def test_croissant_has_the_provenance_of_the_build(corrupted: Bundle, tmp_path: Path) -> None:
    text = (exported(corrupted, "croissant", tmp_path / "c") / "croissant.json").read_text()
    identity = corrupted.manifest.identity
    assert identity.source["sha256"] in text and corrupted.manifest.sha256 in text
    assert identity.versions["numpy"] in text and "samples_per_shard" in text
    assert str(corrupted.place) not in text


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`datasets`, which keeps what it makes in a temporary folder."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return datasets


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_has_a_configuration_for_each_corruption(
    corrupted: Bundle, tmp_path: Path, hub: Any
) -> None:
    out = exported(corrupted, "huggingface", tmp_path / "repository")
    assert (out / "README.md").read_bytes() == (
        Path(str(corrupted.place)) / "README.md"
    ).read_bytes()
    configurations = hub.get_dataset_config_names(str(out))
    assert configurations == ["clean", "contrast", "gaussian_noise"]
    for name in configurations:
        found = hub.load_dataset(str(out), name=name, split="test", cache_dir=str(tmp_path / "c"))
        rows = [row for row, own in enumerate(text_of(corrupted, "corruption")) if own == name]
        assert found["__key__"] == [keys(corrupted)[row] for row in rows]
        assert found.features["cls"].names == corrupted.manifest.identity.source["class_names"]
        assert found["cls"] == corrupted.index.rows.columns["label"][rows].tolist()
        assert np.array_equal(found[5]["pgm"], pixels(corrupted.read(rows[5])["pgm"]))


@pytest.mark.filterwarnings("ignore")
def test_the_hub_finds_its_metadata_in_every_card(corrupted: Bundle, scenes: Bundle) -> None:
    hub = pytest.importorskip("huggingface_hub")
    for bundle, task in ((corrupted, "classification"), (scenes, "segmentation")):
        data = hub.DatasetCard.load(Path(str(bundle.place)) / "README.md").data.to_dict()
        assert data["task_categories"] == [f"image-{task}"]
        assert data["tags"] == ["quire", "webdataset"]


@pytest.mark.filterwarnings("ignore")
def test_parquet_is_read_with_images_and_classes(
    corrupted: Bundle, scenes: Bundle, tmp_path: Path, hub: Any
) -> None:
    for bundle in (corrupted, scenes):
        out = exported(bundle, "parquet", tmp_path / str(len(bundle.index)))
        names = [str(out / f"{shard.name[:-4]}.parquet") for shard in bundle.manifest.shards]
        found = hub.load_dataset(
            "parquet", data_files=names, split="train", cache_dir=str(tmp_path / "c")
        )
        assert found["key"] == keys(bundle)
        files = bundle.read(7)
        image = files["pgm"] if "pgm" in files else files["ppm"]
        assert np.array_equal(found[7]["image"], pixels(image))
        if "mask.png" in files:
            assert np.array_equal(found[7]["mask"], pixels(files["mask.png"]))
            assert found[7]["json"] == files["json"].decode()
        else:
            assert found.features["label"].names == bundle.manifest.identity.source["class_names"]
            assert found["corruption"] == text_of(bundle, "corruption")
            assert found["severity"] == bundle.index.rows.columns["severity"].tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_energon_finds_what_its_own_preparation_makes(corrupted: Bundle, tmp_path: Path) -> None:
    prepare = pytest.importorskip("megatron.energon.flavors.webdataset.prepare")
    yaml = pytest.importorskip("yaml")
    out = exported(corrupted, "energon", tmp_path / "ours")
    theirs = exported(corrupted, "huggingface", tmp_path / "theirs")
    names = [shard.name for shard in corrupted.manifest.shards]
    patterns = [("train", "none"), ("val", "none"), ("test", r".*\.tar")]
    prepare.WebdatasetPreparator.prepare_dataset(
        theirs, names, split_parts_patterns=patterns, workers=1
    )
    for name in names:
        assert (out / f"{name}.idx").read_bytes() == (theirs / f"{name}.idx").read_bytes()
    for name in (".info.yaml", "split.yaml"):
        ours = yaml.safe_load((out / ".nv-meta" / name).read_text())
        assert ours == yaml.safe_load((theirs / ".nv-meta" / name).read_text())


@pytest.mark.slow
def test_energon_s_own_lint_is_content(tmp_path: Path) -> None:
    pytest.importorskip("megatron.energon")
    image_bundle(tmp_path / "b", *random_images(23, (8, 8, 3)), samples_per_shard=6)
    export(tmp_path / "b", "energon", tmp_path / "e")
    lint = ("-m", "megatron.energon.cli.main", "lint", str(tmp_path / "e"), "--split-parts", "test")
    done = subprocess.run([sys.executable, *lint], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100%" in done.stderr and "deprecated" not in done.stderr


def test_arrays_are_those_of_cifar_10_c(corrupted: Bundle, tmp_path: Path) -> None:
    out = exported(corrupted, "numpy", tmp_path / "arrays")
    columns = corrupted.index.rows.columns
    labels = np.load(out / "labels.npy")
    for name in ("clean", "contrast", "gaussian_noise"):
        rows = np.flatnonzero(columns["corruption"] == name.encode())
        images = np.load(out / f"{name}.npy", mmap_mode="r")
        assert images.dtype == np.uint8 and images.shape == (len(rows), 8, 8)
        assert (np.diff(columns["severity"][rows]) >= 0).all()
        assert np.array_equal(labels[: len(rows)], columns["label"][rows])
        for place in (0, 7, len(rows) - 1):
            assert np.array_equal(images[place], pixels(corrupted.read(int(rows[place]))["pgm"]))


def test_arrays_of_colour_images_are_one_file(tmp_path: Path) -> None:
    images, labels = random_images(23, (5, 4, 3))
    image_bundle(tmp_path / "b", images, labels, samples_per_shard=6)
    export(tmp_path / "b", "numpy", tmp_path / "arrays")
    assert np.array_equal(np.load(tmp_path / "arrays/images.npy"), images)
    assert np.array_equal(np.load(tmp_path / "arrays/labels.npy"), labels)


def test_images_lie_in_folders_of_their_classes(
    corrupted: Bundle, scenes: Bundle, tmp_path: Path
) -> None:
    out = exported(corrupted, "images", tmp_path / "classes")
    columns, names = corrupted.index.rows.columns, corrupted.manifest.identity.source["class_names"]
    assert sum(path.is_file() for path in out.rglob("*")) == len(corrupted.index)
    for row in range(0, len(corrupted.index), 97):
        cell = (columns["corruption"][row].decode(), f"{columns['severity'][row]:g}")
        place = out.joinpath(*cell, names[columns["label"][row]])
        assert (place / f"{keys(corrupted)[row]}.pgm").read_bytes() == corrupted.read(row)["pgm"]
    out = exported(scenes, "images", tmp_path / "scenes")
    for row, key in enumerate(keys(scenes)):
        assert (out / f"images/{key}.ppm").read_bytes() == scenes.read(row)["ppm"]
        assert (out / f"mask/{key}.png").read_bytes() == scenes.read(row)["mask.png"]


@pytest.mark.slow
def test_dali_reads_by_our_index(corrupted: Bundle, tmp_path: Path) -> None:
    """Its index has the lines of DALI's own `wds2idx`, and the samples come in their order."""
    fn = pytest.importorskip("nvidia.dali.fn", reason="DALI is not installed")
    pipeline_def = pytest.importorskip("nvidia.dali").pipeline_def
    out = exported(corrupted, "dali", tmp_path / "dali")
    names = [str(out / shard.name) for shard in corrupted.manifest.shards]
    for name in names:
        theirs = str(tmp_path / "theirs.idx")
        subprocess.run([sys.executable, "-m", "wds2idx", name, theirs], check=True)
        assert Path(theirs).read_text() == Path(f"{name[:-4]}.idx").read_text()

    @pipeline_def(batch_size=7, num_threads=1, device_id=None)  # type: ignore[untyped-decorator]
    def read() -> Any:
        index = [f"{name[:-4]}.idx" for name in names]
        return tuple(fn.readers.webdataset(paths=names, index_paths=index, ext=["pgm", "cls"]))

    pipeline = read()
    pipeline.build()
    row = 0
    while row < len(corrupted.index):
        images, labels = pipeline.run()
        for image, label in zip(images, labels, strict=True):
            if row < len(corrupted.index):
                files = corrupted.read(row)
                assert np.asarray(image).tobytes() == files["pgm"]
                assert np.asarray(label).tobytes() == files["cls"]
            row += 1


def no_images(folder: Path) -> str:
    built(folder, "cooccurrence", "--source", "shapes:12?size=64x48", "--split", "train")
    return "has no samples, only tables"


def several_sizes(folder: Path) -> str:
    images = random_images(4, (5, 4, 3))[0]
    from tests.bundles import write_bundle

    files = [b"P6 4 5 255\n" + images[0].tobytes(), b"P6 5 4 255\n" + images[1].tobytes()]
    write_bundle(folder, ["a", "b"], {"ppm": files}, {}, samples_per_shard=2)
    return "images of several sizes or kinds are no array"


@pytest.mark.parametrize(("make", "form"), [(no_images, "dali"), (several_sizes, "numpy")])
def test_what_a_form_cannot_hold_is_refused_and_nothing_is_left(
    tmp_path: Path, make: Callable[[Path], str], form: str
) -> None:
    said = make(tmp_path / "b")
    with pytest.raises(BundleError, match=said):
        export(tmp_path / "b", form, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"b"}


def test_only_a_sound_and_whole_bundle_goes_to_an_empty_folder(
    corrupted: Bundle, tmp_path: Path
) -> None:
    pull(str(corrupted.place), tmp_path / "part", choose=lambda index: [0])
    with pytest.raises(BundleError, match="is a part of a bundle"):
        export(tmp_path / "part", "dali", tmp_path / "out")
    with pytest.raises(BundleError, match="pull the bundle first"):
        export("https://example.org/b", "dali", tmp_path / "out")
    with pytest.raises(BundleError, match="there is no form 'zip'; there are: bagit, "):
        export(str(corrupted.place), "zip", tmp_path / "out")
    with pytest.raises(BundleError, match="is not empty"):
        export(str(corrupted.place), "dali", tmp_path / "part")
    (tmp_path / "empty").mkdir()
    export(str(corrupted.place), "dali", tmp_path / "empty")
    assert any((tmp_path / "empty").iterdir())


def test_the_command_line_names_every_form(
    corrupted: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        quire.main(["export", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"{form}:" in said for form in FORMATS)
    place, out = str(corrupted.place), str(tmp_path / "out")
    assert quire.main(["export", place, "--as", "bagit", "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}: {place} as bagit\n"
    assert sha256(tmp_path / "out/data/index.h5") == corrupted.manifest.files["index.h5"].sha256
