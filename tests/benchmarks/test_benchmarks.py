"""The benchmarks run, measure what they say, and deliver the same samples by every road.

Nothing here is about how long anything takes.
"""

import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import bundles, loading, streaming, training, writing
from benchmarks.timing import Contender, Table, Timing, measure, on_cores, write_report
from quire.artifacts.members import class_ids, raw_images
from quire.artifacts.shards import Payloads, Samples, write_shard
from quire.artifacts.verify import verify
from quire.train.studies.mbsg.setting import VARIANTS
from tests.builders.real_data import real_data

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Run a benchmark as its own process, for worker processes leave warnings behind."""
    out = Path(arguments[-1])
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments[:-1], "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout, json.loads(out.read_text())


@pytest.mark.slow
def test_scale_tells_what_the_whole_costs(tmp_path: Path) -> None:
    out = tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--samples", "10000", "50000"]
    limits = ("--indexed", "10000", "--workers", "3", "--out", str(out))
    subprocess.run([*command, *limits], cwd=ROOT, check=True, capture_output=True)
    small, large = json.loads(out.read_text())
    assert (small["shards"], large["shards"]) == (2, 10)
    assert small["manifest_MB"] < large["manifest_MB"] and large["groups"] == 10
    assert small["index_MB"] > 0 and "index_MB" not in large


@pytest.mark.slow
def test_sharing_makes_the_same_bundle_in_every_way(tmp_path: Path) -> None:
    """The benchmark itself compares all files."""
    out = tmp_path / "sharing.json"
    data = ("--data", str(real_data("cifar10").parent), "--rounds", "1", "--out", str(out))
    command = [sys.executable, "-m", "benchmarks.sharing", *data]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    rows = json.loads(out.read_text())["rows"]
    ways = ["curl, unchecked", "pull", "pull --derive", "build --like"]
    assert [row["way"] for row in rows if row["line"] != "no limit"] == ways
    sent = [row["bytes"] for row in rows if row["line"] != "no limit"]
    assert sent[0] == sent[1] > 100 * sent[2] > 100 * sent[3]


@pytest.mark.slow
def test_distance_has_a_row_for_each_place(tmp_path: Path) -> None:
    sizes = ("--images", "192", "--slow", "4", "--rounds", "2", "--latency", "0.001")
    text, report = run("distance", *sizes, str(tmp_path / "distance.json"))
    places = ["in memory", "on the disk", "at a near address", "at an address 1 ms away"]
    rates = report["rates"]
    assert [name for name in rates if "," not in name and "S3" not in name] == places
    assert {f"webdataset, {place}" for place in places} < rates.keys()
    assert all(len(rates) == 2 and min(rates) > 0 for rates in report["rates"].values())
    assert all(name in text for name in report["rates"])


@pytest.mark.slow
def test_growth_has_a_point_for_each_size_and_draws_them(tmp_path: Path) -> None:
    figure = tmp_path / "growth.png"
    sizes = ("--samples", "300", "600", "--rounds", "2", "--figure", str(figure))
    text, report = run("growth", *sizes, str(tmp_path / "growth.json"))
    costs: Any = report
    assert [one["samples"] for one in costs] == [300, 300, 600, 600]
    assert text.count("to open") == 2 and figure.read_bytes()[1:4] == b"PNG"


@pytest.mark.slow
def test_mixing_describes_and_trains_every_order(tmp_path: Path) -> None:
    """Of what comes out of so short a training nothing is said."""
    data = real_data("cifar10").parent
    sizes = ("--images", "200", "--tests", "100", "--epochs", "1", "--seeds", "2")
    text, report = run(
        "mixing", "--data", str(data), *sizes, "--batch-size", "20", str(tmp_path / "mixing.json")
    )
    uniform, _, by_shard = report["orders"]
    assert uniform["classes"] > 7 and by_shard["classes"] < 2
    assert all(len(one["accuracy"]) == 2 for one in report["orders"])
    assert text.count("over 2 seeds") == 3


@pytest.mark.slow
def test_streaming_writes_every_table(tmp_path: Path) -> None:
    sizes = ("--images", "320", "--slow", "40", "--photographs", "20", "--rounds", "2")
    text, report = run("streaming", *sizes, str(tmp_path / "streaming.json"))
    rows = {table["title"]: [row["name"] for row in table["rows"]] for table in report["tables"]}
    raw, read, decoded, jpeg, photographs = rows.values()
    assert {"ours", "ours, 2 workers", "webdataset", "webdataset, 2 workers"} < set(raw)
    assert "array in memory" in raw
    assert ("litdata" in raw) == ("litdata is not installed" not in text)
    assert read == ["ShardWriter's", "our shards"]
    assert decoded == ["ShardWriter's, decoded", "our shards, decoded"]
    assert jpeg == ["array in memory", "ours, 1 thread", "ours, 2 threads", "webdataset"]
    assert photographs[-1] == "webdataset, 2 workers"
    for table in report["tables"]:
        assert table["title"] in text
        for row in table["rows"]:
            assert len(row["rates"]) == len(row["processor"]) == 2
            assert row["name"] in text
    one_core = {row["name"]: row["cores"] for row in report["tables"][-1]["rows"]}
    assert one_core["ours, 1 thread"] == one_core["webdataset"] == 1
    assert one_core["ours, 2 threads"] == 2


@pytest.mark.slow
def test_writing_writes_every_table(tmp_path: Path) -> None:
    sizes = ("--small", "300", "--large", "20", "--rounds", "2")
    text, report = run("writing", *sizes, str(tmp_path / "writing.json"))
    assert len(report["tables"]) == 2
    for table in report["tables"]:
        names = [row["name"] for row in table["rows"]]
        assert names[-2:] == ["tarfile, USTAR", "wds.ShardWriter"]
        assert all(name in text for name in names)
        assert all(row["MB/s"] > 0 and row["/ wds.ShardWriter"] > 0 for row in table["rows"])
    assert "numpy" in report["libraries"]


def ticking(*seconds: float) -> Callable[[], float]:
    """A clock that is asked twice for each run: it says how long each of them took."""
    times = itertools.accumulate(
        itertools.chain.from_iterable((0.5, second) for second in seconds), initial=0.0
    )
    next(times)
    return lambda: next(times)


def test_a_round_times_each_contender_once_and_the_first_is_apart() -> None:
    started = []

    def start() -> Callable[[], int]:
        started.append(1)
        return lambda: 10

    (timing,) = measure(
        [Contender("one", start)],
        rounds=3,
        clock=ticking(5, 2, 1),
        processor_clock=ticking(10, 20, 30),
    )
    assert len(started) == 1
    assert timing.first == 2
    assert timing.steady == (5, 10)
    assert timing.processor == (1, 2, 3)


def test_every_contender_runs_once_a_round_in_changing_order() -> None:
    calls: list[str] = []

    def contender(name: str) -> Contender:
        def run() -> int:
            calls.append(name)
            return 1

        return Contender(name, lambda: run)

    timings = measure([contender(name) for name in "abc"], rounds=20)
    rounds = [tuple(calls[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(round) == ["a", "b", "c"] for round in rounds)
    assert len(set(rounds)) > 1
    assert [timing.name for timing in timings] == ["a", "b", "c"]


def test_a_ratio_is_taken_within_rounds() -> None:
    fast = Timing("fast", None, (1, 20, 200, 2000), (0, 0, 0, 0))
    slow = Timing("slow", None, (9, 10, 50, 1000), (0, 0, 0, 0))
    assert fast.ratio(slow) == 2
    table = Table("both", [fast, slow], ("slow",), bytes_per_sample=1_000_000)
    rows = {row["name"]: row for row in table.record()["rows"]}
    assert rows["fast"]["/ slow"] == 2
    assert rows["fast"]["first"] == 1
    assert (rows["fast"]["min"], rows["fast"]["steady"], rows["fast"]["max"]) == (20, 200, 2000)
    assert rows["slow"]["MB/s"] == 50


def test_a_report_says_what_was_measured_by_what(tmp_path: Path) -> None:
    timing = Timing("one", 1, (3.0,), (0.25,))
    write_report(tmp_path / "report.json", [Table("some", [timing], ("one",))])
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tables"][0]["title"] == "some"
    assert report["tables"][0]["rows"][0]["rates"] == [3.0]
    assert report["libraries"]["torch"] == torch.__version__.partition("+")[0]


def test_one_core_is_one_core_and_only_for_as_long() -> None:
    before = os.sched_getaffinity(0)
    with on_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with on_cores(None):
        assert os.sched_getaffinity(0) == before


def test_small_images_repeat_and_their_jpegs_have_their_colours() -> None:
    images, labels = bundles.small_images(2_100, None)
    assert images.shape == (2_100, 32, 32, 3)
    assert np.array_equal(images[:100], images[2_000:])
    assert np.array_equal(labels[:100], labels[2_000:])
    decoded = np.asarray(Image.open(io.BytesIO(bundles.jpegs(images[:1])[0]))).astype(int)
    near, swapped = (np.abs(decoded - image).mean() for image in (images[0], images[0, ..., ::-1]))
    assert near < swapped / 4


@pytest.mark.parametrize("real", [False, True])
def test_photographs_have_one_size_and_masks_of_ids(real: bool) -> None:
    data = real_data("voc").parent if real else None
    files, masks = bundles.photographs(20, data)
    assert len(files) == len(masks) == 20
    for file, mask in zip(files, masks, strict=True):
        with Image.open(io.BytesIO(file)) as image, Image.open(io.BytesIO(mask)) as ids:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", bundles.SIZE)
            assert (ids.format, ids.mode, ids.size) == ("PNG", "P", bundles.SIZE)
            assert len(np.unique(np.asarray(ids))) > 1


def test_real_small_images_are_those_of_the_training_files() -> None:
    data = real_data("cifar10").parent
    images, labels = bundles.small_images(5, data)
    record = (data / "cifar10/cifar-10-batches-bin/data_batch_1.bin").read_bytes()[:3073]
    assert labels[0] == record[0]
    assert images[0].transpose(2, 0, 1).tobytes() == record[1:]


def test_what_is_written_is_a_sound_bundle_that_every_loader_reads_alike(tmp_path: Path) -> None:
    images, labels = bundles.small_images(60, None)
    members: dict[str, Payloads] = {"ppm": raw_images(images), "cls": class_ids(labels)}
    manifest = bundles.write_bundle(tmp_path / "b", members, labels, samples_per_shard=25)
    assert [shard.samples for shard in manifest.shards] == [25, 25, 10]
    assert verify(tmp_path / "b") == ()
    ours = loading.ours(tmp_path / "b", 16, labels=True, workers=0, threads=1)
    memory = loading.in_memory(images, labels, 16)
    for _ in range(2):
        for one, other in zip(ours(), memory(), strict=True):
            assert torch.equal(one["image"], other["image"])
            assert torch.equal(one["label"], other["label"])


def test_loaders_that_deliver_other_images_are_found_out(tmp_path: Path) -> None:
    images, labels = bundles.small_images(40, None)
    members: dict[str, Payloads] = {"ppm": raw_images(images), "cls": class_ids(labels)}
    bundles.write_bundle(tmp_path / "b", members, labels, samples_per_shard=20)
    other = images.copy()
    other[7, 3, 3, 1] ^= 1
    for wrong in (other, images[:0]):
        loader = {"wrong": lambda wrong=wrong: loading.in_memory(wrong, labels[: len(wrong)], 16)}
        with pytest.raises(RuntimeError, match="wrong delivers other images"):
            streaming._check(loader, streaming.Small(tmp_path / "b", "ppm", images, labels))


def test_writers_that_write_other_samples_are_found_out(tmp_path: Path) -> None:
    work = writing.work(9, 700)
    path = tmp_path / "shard.tar"
    for payloads in (work.array, work.files):
        path.write_bytes(bytes(40_000))  # longer than what goes over it
        writing.ours(work, payloads, path)
        assert writing._is_there(work, path)
    with path.open("wb") as file:
        part = {"ppm": work.files[:8], "cls": work.classes[:8]}
        write_shard(file, path.name, [Samples(work.keys[:8], part)])
    assert not writing._is_there(work, path)


def test_the_same_command_works_without_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        streaming.main(["--help"])
    assert stopped.value.code == 0
    assert "--photographs" in capsys.readouterr().out


@pytest.mark.slow
def test_graph_properties_writes_both_tables(tmp_path: Path) -> None:
    sizes = ("--sizes", "30", "--degrees", "2", "4", "--rounds", "2")
    text, report = run("graph_properties", *sizes, str(tmp_path / "graphs.json"))
    assert set(report["tables"]) == {"undirected", "acyclic"}
    for table in report["tables"].values():
        assert set(table["rates"]) == {"30 nodes, degree 2", "30 nodes, degree 4"}
        assert all(set(row) == {"ours", "networkx", "igraph"} for row in table["rates"].values())
    assert text.count("geometric mean") == 2


@pytest.mark.slow
def test_training_times_every_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "training.json"
    training.main(training.Options(out=out, encoder="resnet8", batch_size=8, size=8, rounds=2))
    text, report = capsys.readouterr().out, json.loads(out.read_text())
    steps, heads = ({row["name"]: row for row in table["rows"]} for table in report["tables"])
    assert list(steps) == list(heads) == list(VARIANTS)
    assert steps["baseline"]["/ baseline"] == 1
    assert "waiting for data" in text and "backward" in text
