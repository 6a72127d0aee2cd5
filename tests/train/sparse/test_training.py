"""Training of many networks: alone as together, and stopped as not stopped."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import quire
from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError, RunError
from quire.loaders.graphs import load_graphs
from quire.loaders.stream import stream
from quire.models.sparse import SparseNetwork
from quire.models.sparse_batch import SparseNetworks
from quire.models.sparse_init import INITIALISATIONS
from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import key
from quire.train.engine.runs import read_run
from quire.train.sparse.loading import trained
from quire.train.sparse.run import Sparse
from quire.train.sparse.training import train_networks
from tests.graph_bundles import graph_bundle
from tests.hostile_tables import with_table
from tests.train.hostile import Hostile
from tests.train.learnable import RARELY, epoch_losses, learnable_bundle
from tests.train.sparse.small import GRAPHS, QUICK, RUNNING, STEPS, Stop, bundles, stopping_at

TIMES = {"seconds", "images_per_second", "data_wait"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    bundles(folder)
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """A run that nothing stopped."""
    assert train(place, place / "whole")
    return place / "whole"


def train(place: Path, run: Path, config: Sparse = QUICK, **more: Any) -> bool:
    options = {"running": RUNNING, **more}
    return train_networks(config, str(place / "train"), place / "graphs", run, **options)


def without_times(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(run)]


def weights(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "networks").iterdir()}


def networks(run: Path) -> dict[tuple[str, str, int], SparseNetwork]:
    """Every network of a run by what it is."""
    found = {}
    for group in trained(run)[1]:
        together = group.networks()
        for index, member in enumerate(group.members):
            identity = member.graph, member.initialisation, member.seed
            found[identity] = together.member(index)
    return found


def assert_same(one: Path, other: Path) -> None:
    """Two runs ended alike, to the last bit."""
    assert weights(one) == weights(other)
    assert without_times(one) == without_times(other)
    assert (one / "networks.csv").read_bytes() == (other / "networks.csv").read_bytes()


def test_a_run_has_its_record_its_metrics_and_its_networks(whole: Path, place: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        *("run.json", "metrics.jsonl", "networks", "networks.csv", "lock")
    }
    assert weights(whole).keys() == {"00000-00003.safetensors", "00004-00005.safetensors"}
    lines = read_metrics(whole)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert all(0 < line["least"] < line["loss"] < line["most"] for line in steps)
    epochs = [line for line in lines if "train_accuracy" in line]
    assert [(line["group"], line["epoch"]) for line in epochs] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    run, groups = trained(whole)
    assert run.inputs == {"graphs": sha256(place / "graphs" / "manifest.json")}
    assert run.places == {"graphs": str(place / "graphs")}
    graphs = load_graphs(place / "graphs")
    wanted = [
        (graph.key, initialisation, 0, graph.parameters["connected"])
        for graph in graphs
        for initialisation in QUICK.initialisations
    ]
    members = [member for group in groups for member in group.members]
    assert [(m.graph, m.initialisation, m.seed, m.parameters) for m in members] == wanted
    assert [member.number for member in members] == list(range(6))
    rows = list(csv.DictReader((whole / "networks.csv").read_text().splitlines()))
    assert [row["graph"] for row in rows] == [member.graph for member in members]
    before = weights(whole)
    assert not train(place, whole)  # finished: nothing is done again
    assert weights(whole) == before


def test_networks_learn(place: Path, tmp_path: Path) -> None:
    """Of the loss of twelve networks .55 to .71 is left over six seeds."""
    recipe = replace(GRAPHS, sizes=(30, 40), nei=(3, 4), least=100, most=20_000, graphs=6, seed=3)
    graph_bundle(tmp_path / "graphs", recipe)
    config = replace(QUICK, epochs=40, together=60)
    train_networks(
        config, str(place / "train"), tmp_path / "graphs", tmp_path / "run", running=RARELY
    )
    first, *_, last = epoch_losses(tmp_path / "run")
    assert last < 0.95 * first
    epoch = [line for line in read_metrics(tmp_path / "run") if "train_accuracy" in line][-1]
    assert epoch["least_train_accuracy"] <= epoch["train_accuracy"]


def reference(place: Path, graph: int, initialisation: str, seed: int) -> SparseNetwork:
    """One network, trained alone by the plainest loop."""
    stored = load_graphs(place / "graphs")[graph]
    network = SparseNetwork(stored.edges, stored.size, inputs=64, outputs=10)
    generator = torch.Generator().manual_seed(key(seed, "weights", stored.key, initialisation))
    network.initialise(initialisation, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=QUICK.lr)
    batches = stream(place / "train", batch_size=8, shuffle=True, seed=seed)
    for _ in range(QUICK.epochs):
        for batch in batches:
            pixels = batch["image"].flatten(1).float() / 255
            logits = network((pixels - QUICK.mean) / QUICK.std)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, batch["label"]).backward()
            optimizer.step()
    return network


def assert_close(one: SparseNetwork, other: SparseNetwork) -> None:
    """Equal but for rounding, which Adam makes larger; a step is 0.01."""
    theirs = dict(other.named_parameters())
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter, theirs[name], rtol=0, atol=1e-3, msg=name)


@pytest.mark.slow
def test_a_network_is_what_it_would_be_alone(place: Path, tmp_path: Path) -> None:
    config = replace(QUICK, seeds=2, seed=3, together=5)
    train(place, tmp_path / "run", config)
    found = networks(tmp_path / "run")
    assert len(found) == 12
    for (graph, initialisation, seed), network in found.items():
        assert_close(network, reference(place, int(graph), initialisation, seed))
    other = found["00000000", "he_normal", 4].input.weight
    assert (found["00000000", "he_normal", 3].input.weight - other).abs().max() > 0.1


@pytest.mark.parametrize(
    "together", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 60)), 3]
)
def test_what_is_trained_beside_it_changes_nothing(
    together: int, whole: Path, place: Path, tmp_path: Path
) -> None:
    train(place, tmp_path / "run", replace(QUICK, together=together))
    theirs = networks(tmp_path / "run")
    for identity, network in networks(whole).items():
        assert_close(network, theirs[identity])


@pytest.mark.slow
def test_one_graph_and_one_seed_are_a_part_of_many(place: Path, tmp_path: Path) -> None:
    config = replace(QUICK, first=1, seeds=2, initialisations=("uniform",))
    train(place, tmp_path / "two", config)
    train(place, tmp_path / "second", replace(config, seeds=1, seed=1))
    names = set(weights(tmp_path / "two"))
    assert names == {"00000-00000.safetensors", "00001-00001.safetensors"}  # a seed, a group
    two, second = networks(tmp_path / "two"), networks(tmp_path / "second")
    assert list(two) == [("00000000", "uniform", 0), ("00000000", "uniform", 1)]
    (identity,) = second
    for mine, theirs in zip(two[identity].parameters(), second[identity].parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_only_connections_that_exist_are_on_disk_and_trained(whole: Path, place: Path) -> None:
    graphs = {graph.key: graph for graph in load_graphs(place / "graphs")}
    for group in trained(whole)[1]:
        tensors = load_file(group.path)
        for index, member in enumerate(group.members):
            prefix = f"{member.number:05d}."
            own = {n: t for n, t in tensors.items() if n.startswith(prefix)}
            edges = own.pop(f"{prefix}hidden.edges")
            assert torch.equal(edges, graphs[member.graph].edges)
            scale = [float(own.pop(f"{prefix}{name}")) for name in ("mean", "std")]
            assert scale == pytest.approx([0.1307, 0.3081])
            assert sum(tensor.numel() for tensor in own.values()) == member.parameters
            matrix = group.networks().member(index).hidden.matrix()
            mask = torch.zeros_like(matrix, dtype=torch.bool)
            mask[edges[:, 0], edges[:, 1]] = True
            assert (matrix[~mask] == 0).all() and (matrix[mask] != 0).all()


@pytest.mark.parametrize(
    "step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (1, 7, 10, 19)), 11]
)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    step: int, whole: Path, place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train(place, run, report=stopping_at(step))
    assert len([line for line in read_metrics(run) if "loss" in line]) == step
    with pytest.raises(RunError, match="is not finished"):
        trained(run)
    steps = []
    train(place, run, report=lambda done, total: steps.append(done))
    assert steps == list(range(step + 1, STEPS + 1))  # nothing twice
    assert_same(run, whole)


def test_steps_after_the_last_checkpoint_are_taken_again(
    whole: Path, place: Path, tmp_path: Path
) -> None:
    rare = replace(RUNNING, checkpoint_seconds=1e9)
    run = tmp_path / "run"
    for running, step in ((RUNNING, 13), (rare, 17)):
        with pytest.raises(Stop):
            train(place, run, running=running, report=stopping_at(step))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 18, "lo')  # a line that was being written
    train(place, run, running=rare)
    assert_same(run, whole)


def test_a_checkpoint_of_a_group_that_is_finished_is_not_gone_on_from(
    whole: Path, place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train(place, run, report=stopping_at(10))  # the last of the first group
    (run / "networks" / "00000-00003.safetensors").write_bytes(
        (whole / "networks" / "00000-00003.safetensors").read_bytes()
    )
    assert (run / "networks" / "00000-00003").is_dir()  # killed between the two
    train(place, run)
    assert_same(run, whole)
    (run / "networks.csv").unlink()  # killed before the very last
    assert train(place, run)
    assert_same(run, whole)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(place: Path, tmp_path: Path) -> None:
    command = [
        *("train", "sparse", "--data", str(place / "train")),
        *("--graphs", str(place / "graphs"), "--initialisations", "he_normal", "uniform"),
        *("--epochs", "20", "--batch-size", "8", "--together", "4", "--no-tensorboard"),
        *("--checkpoint-seconds", "0.1", "--log-every", "1"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[3]

    def begin(run: Path) -> "subprocess.Popen[bytes]":
        everything = [sys.executable, "-m", "quire", *command, "--out", str(run)]
        return subprocess.Popen(everything, env=environment, cwd=root, stdout=subprocess.DEVNULL)

    assert quire.main([*command, "--out", str(tmp_path / "whole")]) == 0
    run = tmp_path / "run"
    process, deadline = begin(run), time.monotonic() + 100
    while len(lines_of(run)) < 160:  # of 240: in the second group
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [*weights_there(run)] == ["00000-00003.safetensors"]
    assert begin(run).wait(100) == 0
    assert_same(run, tmp_path / "whole")
    assert not list(run.rglob("*checkpoint*"))


def weights_there(run: Path) -> list[str]:
    return [path.name for path in (run / "networks").glob("*.safetensors")]


def lines_of(run: Path) -> list[str]:
    path = run / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_folder_belongs_to_one_run(whole: Path, place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config.lr is 0.1 here, 0.01 there"):
        train(place, whole, replace(QUICK, lr=0.1))
    graph_bundle(tmp_path / "graphs", replace(GRAPHS, seed=2))
    with pytest.raises(RunError, match=r"inputs.graphs is"):
        data = str(place / "train")
        train_networks(QUICK, data, tmp_path / "graphs", whole, running=RUNNING)


def test_bundles_may_move(tmp_path: Path) -> None:
    bundles(tmp_path)
    with pytest.raises(Stop):
        train(tmp_path, tmp_path / "run", report=stopping_at(3))
    (tmp_path / "moved").mkdir()
    for name in ("train", "graphs"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert train(tmp_path / "moved", tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_network(
    place: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    wild = replace(QUICK, lr=1e30)
    message = r"loss of step \d+ is (nan|inf) of network \d \(0000000\d, \w+, seed 0\); its batch"
    with pytest.raises(RunError, match=message):
        train(place, run, wild, running=replace(RUNNING, log_every=4))
    failed = json.loads((run / "failed.json").read_text())
    finite = [line for line in read_metrics(run) if "loss" in line]
    assert len(finite) == failed["step"] - 1
    assert failed["network"].startswith("network ") and len(failed["keys"]) == 8


def test_the_networks_must_be_for_the_images(place: Path, tmp_path: Path) -> None:
    colour = learnable_bundle(tmp_path / "colour", channels=3)
    with pytest.raises(RunError, match=r"64 inputs and 10 outputs; .* 3 x 8 x 8 = 192 pixels"):
        train_networks(QUICK, str(colour), place / "graphs", tmp_path / "run")
    graph_bundle(tmp_path / "few", replace(GRAPHS, outputs=3))
    with pytest.raises(RunError, match=r"3 outputs; .* 64 pixels in 10 classes"):
        train_networks(QUICK, str(place / "train"), tmp_path / "few", tmp_path / "run")
    with pytest.raises(RunError, match=r"has 3 graphs; at least 4 are wanted"):
        train(place, tmp_path / "run", replace(QUICK, first=4))
    for wrong in ("train", "nothing"):
        with pytest.raises(BundleError):
            train_networks(QUICK, str(place / "train"), place / wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_bundle_that_lies_about_its_networks_is_found_out(place: Path, tmp_path: Path) -> None:
    graph_bundle(tmp_path / "graphs", GRAPHS)

    def lie(file: Any) -> None:
        file["parameters/connected"][1] += 1

    with_table(tmp_path / "graphs", "graphs.h5", lie)
    with pytest.raises(RunError, match=r"network 2 \(00000001, .* has \d+ parameters in truth"):
        data = str(place / "train")
        train_networks(QUICK, data, tmp_path / "graphs", tmp_path / "run", running=RUNNING)


def test_a_hostile_checkpoint_runs_nothing(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train(place, run, report=stopping_at(3))
    checkpoint = run / "networks" / "00000-00003" / "checkpoint-00000003"
    rest = torch.load(checkpoint / "rest.pt", weights_only=True)
    torch.save({"optimizer": Hostile(tmp_path / "touched")}, checkpoint / "rest.pt")
    with pytest.raises(RunError, match="cannot be read"):
        train(place, run)
    assert not (tmp_path / "touched").exists()
    for wrong in (
        {},
        {**rest, "correct": "many"},
        {**rest, "optimizer": 3},
        {**rest, "batches": {}},
    ):
        torch.save(wrong, checkpoint / "rest.pt")
        with pytest.raises(RunError, match="is not of this run"):
            train(place, run)


def test_a_checkpoint_of_other_graphs_is_refused(place: Path, tmp_path: Path) -> None:
    from quire.train.engine.checkpoint import save_weights

    run = tmp_path / "run"
    with pytest.raises(Stop):
        train(place, run, report=stopping_at(3))
    edges = torch.tensor([[1, 0]])
    others = SparseNetworks([SparseNetwork(edges, 2, inputs=64, outputs=10)])
    checkpoint = run / "networks" / "00000-00003" / "checkpoint-00000003"
    save_weights(checkpoint / "weights.safetensors", others)
    with pytest.raises(RunError, match=r"does not hold the weights|not of this run"):
        train(place, run)


def test_damaged_networks_are_named(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(place, run)
    second = run / "networks" / "00004-00005.safetensors"
    whole = second.read_bytes()
    second.write_bytes(whole[:-5])
    with pytest.raises(RunError, match=r"00004-00005.safetensors is no group of networks"):
        trained(run)
    second.unlink()
    with pytest.raises(RunError, match=r"are not those of its networks.csv"):
        trained(run)
    second.write_bytes((run / "networks" / "00000-00003.safetensors").read_bytes())
    with pytest.raises(RunError, match=r"are not those of its networks.csv"):
        trained(run)
    second.write_bytes(whole)
    assert len(trained(run)[1]) == 2
    (run / "networks.csv").write_text("number\n0\n")
    with pytest.raises(RunError, match=r"networks.csv is no list of networks"):
        trained(run)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"first": 0}, "first is 0"),
        ({"together": 0}, "together is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"images": 0}, "images is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"betas": (0.9, 1.0)}, "betas are"),
        ({"initialisations": ()}, "initialisations must be some"),
        ({"initialisations": ("normal", "normal")}, "initialisations must be some"),
        ({"initialisations": ("xavier",)}, "no initialisation 'xavier'"),
    ],
)
def test_a_wrong_field_is_refused_in_a_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        Sparse(**fields)


def test_the_defaults_are_all_initialisations_of_the_paper() -> None:
    assert Sparse().initialisations == tuple(INITIALISATIONS)


def test_a_run_of_before_has_no_further_bundles(whole: Path, tmp_path: Path) -> None:
    record = json.loads((whole / "run.json").read_text())
    del record["inputs"], record["places"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    run = read_run(tmp_path)
    assert not run.inputs and "inputs.graphs" in str(run.difference(read_run(whole)))
