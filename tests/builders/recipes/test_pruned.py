"""Recipe `pruned`: the same masks however they are built, each within the one before it."""

import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RecipeError
from quire.artifacts.graph_table import GRAPHS, read_graphs
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.verify import verify
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.recipe import from_record, to_record
from quire.builders.engine.run import build
from quire.builders.rebuild import rebuild
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.recipes.pruned import Pruned, fully_connected, remaining
from quire.builders.sources.graphs import open_graphs
from quire.builders.sources.source import Nothing
from tests.graph_bundles import PRUNED, array, graph_bundle, samples
from tests.same_folder import assert_same


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned") / "reference"
    graph_bundle(folder, PRUNED)
    return folder


def edges_of(sample: dict[str, bytes]) -> set[tuple[int, int]]:
    return {(int(tail), int(head)) for tail, head in array(sample["edges.npy"])}


def one_sample(recipe: Pruned, index: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A sample by itself, and its record."""
    (run,) = recipe.samples(Nothing(), ShardTask("x", "pruned", index, index + 1, bytes=None))
    files = {extension: bytes(data[0]) for extension, data in run.samples.members.items()}
    return files, json.loads(files["properties.json"])


def test_the_network_of_the_paper_before_and_after_it_is_pruned() -> None:
    _, first = one_sample(Pruned(), 0)
    assert first["parameters"] == {"connected": 60_010, "dense": 60_010}
    assert (first["size"], first["num_edges"], first["num_layers"]) == (300, 20_000, 4)
    assert first["dag"]["density"] == pytest.approx(0.222965, abs=1e-6)
    assert first["dag"]["path_length_reachable"] == pytest.approx(1.461538, abs=1e-6)
    assert first["dag"]["path_length_all_pairs"] == pytest.approx(0.529543, abs=1e-6)
    assert first["dag"]["mean_eccentricity"] == 1.5
    left = 20_000
    for _ in range(20):
        left -= round(left / 10)
    _, last = one_sample(Pruned(), 5 * 21 + 20)
    assert last["drawn"] == {"pruning": 5, "step": 20}
    assert last["num_edges"] == left == 2_431
    assert last["parameters"] == {"connected": 784 * 50 + left + 500 + 300 + 10, "dense": 60_010}


def test_the_first_orders_have_not_changed() -> None:
    # whoever trained on a bundle wants the same masks from a later version
    digest = hashlib.sha256(one_sample(PRUNED, 2 * 6 + 3)[0]["edges.npy"]).hexdigest()
    assert digest.startswith("08fe71a5edfbae9b")


def test_a_step_leaves_part_of_what_the_one_before_it_left(reference: Path) -> None:
    found = samples(reference)
    assert list(found) == [f"{p:04d}-{s:04d}" for p in range(3) for s in range(6)]
    whole = {(tail, head) for tail in range(3) for head in range(3, 8)}
    whole |= {(tail, head) for tail in range(3, 8) for head in range(8, 12)}
    for pruning in range(3):
        steps = [edges_of(found[f"{pruning:04d}-{step:04d}"]) for step in range(6)]
        assert steps[0] == whole
        assert [len(edges) for edges in steps] == [35, 25, 17, 12, 8, 6]
        assert all(later < earlier for earlier, later in pairwise(steps))
    assert len({frozenset(edges_of(found[f"{pruning:04d}-0003"])) for pruning in range(3)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
def test_bytes_do_not_depend_on_workers(reference: Path, tmp_path: Path, workers: int) -> None:
    build(PRUNED, Nothing(), tmp_path / "b", workers=workers)
    assert_same(reference, tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"samples_per_shard": 7}, 18),
        ({"prunings": 2}, 12),
        ({"steps": 3}, 12),
        ({"inputs": 9}, 0),  # of which the record has the parameters
    ],
)
def test_a_change_leaves_what_it_does_not_concern_as_it_was(
    reference: Path, tmp_path: Path, change: dict[str, Any], same: int
) -> None:
    graph_bundle(tmp_path / "b", replace(PRUNED, **change))
    here, there = samples(reference), samples(tmp_path / "b")
    assert sum(here.get(key) == sample for key, sample in there.items()) == same


def test_another_seed_prunes_in_other_orders() -> None:
    edges = [edges_of(one_sample(replace(PRUNED, seed=seed), 2)[0]) for seed in (0, 1)]
    assert edges[0] != edges[1]


@pytest.mark.slow
def test_every_connection_has_the_same_chance_to_stay() -> None:
    recipe = replace(PRUNED, layers=(2, 3, 2), prunings=900)
    stays = np.zeros((7, 7))
    for pruning in range(900):
        for tail, head in edges_of(one_sample(recipe, pruning * 6 + 2)[0]):
            stays[tail, head] += 1
    chance = remaining(12, 0.3, 2)[-1] / 12
    assert np.count_nonzero(stays) == 12
    spread = (chance * (1 - chance) / 900) ** 0.5
    assert abs(stays[stays > 0] / 900 - chance).max() < 4 * spread


def test_a_neuron_that_hears_nothing_any_more_is_no_source(reference: Path) -> None:
    """Sources, sinks, layers and parameters are the network's; properties are the graph's."""
    orphans = 0
    for key, sample in samples(reference).items():
        record, edges = json.loads(sample["properties.json"]), edges_of(sample)
        assert array(sample["layers.npy"]).tolist() == [0] * 3 + [1] * 5 + [2] * 4
        assert (record["num_sources"], record["num_sinks"], record["num_layers"]) == (3, 4, 3)
        connected = 6 * 3 + len(edges) + 4 * 2 + 12 + 2
        assert record["parameters"] == {"connected": connected, "dense": 6 * 3 + 35 + 8 + 14}
        graph = networkx.DiGraph(sorted(edges))
        graph.add_nodes_from(range(12))
        lengths = dict(networkx.all_pairs_shortest_path_length(graph))
        far = [max(reached.values()) for reached in lengths.values()]
        assert record["dag"]["mean_eccentricity"] == pytest.approx(sum(far) / 12), key
        assert record["dag"]["density"] == pytest.approx(len(edges) / (12 * 11))
        assert sum(record["dag"]["degree_counts"]) == 12
        orphans += sum(graph.in_degree(node) == 0 for node in range(3, 12))
    assert orphans > 3


def test_the_mask_between_two_layers_is_a_block_of_the_one_that_is_stored(reference: Path) -> None:
    ends = [0, 3, 8, 12]
    for sample in samples(reference).values():
        indptr, indices = array(sample["mask_indptr.npy"]), array(sample["mask_indices.npy"])
        values = np.ones(len(indices), bool)
        whole = csr_array((values, indices, indptr), (12, 12)).toarray()
        wanted = np.zeros((12, 12), bool)
        for tail, head in edges_of(sample):
            wanted[head, tail] = True
        assert np.array_equal(whole, wanted)
        for first, second, third in ((0, 1, 2), (1, 2, 3)):
            whole[ends[second] : ends[third], ends[first] : ends[second]] = False
        assert not whole.any()


def test_the_tables_say_what_they_hold(reference: Path) -> None:
    table = read_graphs(open_bundle(reference))
    assert table.parameters["connected"].tolist() == [
        one_sample(PRUNED, index)[1]["parameters"]["connected"] for index in range(18)
    ]
    rows = open_bundle(reference).index.rows.columns
    with h5py.File(reference / GRAPHS) as file:
        for name, wanted in (("pruning", np.arange(18) // 6), ("step", np.arange(18) % 6)):
            assert np.array_equal(file[f"generator/{name}"][()], wanted)
            assert np.array_equal(rows[name], wanted)
        described: list[str] = []
        file.visititems(lambda name, one: described.append(name) if "unit" in one.attrs else None)
        assert {"generator/step", "layers", "dag/density"} <= set(described)
        assert b"they alone hear all inputs" in file["num_sources"].attrs["definition"]
        assert "cells" not in file


def test_an_audit_derives_shards_and_tables_anew(reference: Path, tmp_path: Path) -> None:
    assert verify(reference) == ()
    outcome = rebuild(reference, None, outside={}, shards=9)
    assert outcome.same and outcome.lines[-1] == f"{GRAPHS}: the same"
    (tmp_path / "a.txt").write_text("0 1")
    with pytest.raises(RecipeError, match="pruned reads no source, but graphs is given"):
        build(PRUNED, open_graphs(tmp_path), tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": (5,)}, r"layers is \(5,\); at least two layers"),
        ({"layers": ()}, "layers is"),
        ({"layers": (5, 0, 5)}, r"layers is \(5, 0, 5\)"),
        ({"alpha": 0.0}, "alpha is 0.0; it must be above 0 and below 1"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"prunings": 0}, "prunings is 0"),
        ({"inputs": 0}, "inputs is 0"),
        ({"outputs": -1}, "outputs is -1"),
        ({"samples_per_shard": 0}, "samples_per_shard is 0"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(PRUNED, **given)


def test_a_record_gives_the_recipe_back(reference: Path) -> None:
    for recipe in (Pruned(), PRUNED):
        assert from_record(RECIPES, json.loads(json.dumps(to_record(recipe))), {}) == recipe
    text = (reference / MANIFEST).read_text()
    assert from_record(RECIPES, json.loads(text)["recipe"], {}) == PRUNED


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_each_layer_is_joined_to_the_next_and_to_no_other(widths: list[int]) -> None:
    layer = np.repeat(np.arange(len(widths)), widths)
    graph = fully_connected(tuple(widths))
    size = sum(widths)
    pairs = {(u, v) for u in range(size) for v in range(size) if layer[v] == layer[u] + 1}
    assert graph.size == size
    assert graph.edges.tolist() == sorted(map(list, pairs))


@given(st.integers(1, 10**6), st.floats(0.001, 0.999), st.integers(1, 40))
def test_each_step_takes_its_share_of_what_is_left(
    connections: int, share: float, steps: int
) -> None:
    left = remaining(connections, share, steps)
    assert left[0] == connections and len(left) == steps + 1
    for before, after in pairwise(left):
        assert 0 <= after <= before
        assert abs(before - after - share * before) <= 0.5


def test_the_command_line_builds_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "b")
    options = ["--layers", "3", "4", "--steps", "2", "--prunings", "2", "--workers", "0"]
    assert quire.main(["build", "pruned", "--out", folder, *options]) == 0
    assert "6 samples, 1 shards" in capsys.readouterr().out
    assert quire.main(["show", folder]) == 0
    assert "generator/step" not in (shown := capsys.readouterr().out) and "pruning" in shown
    assert quire.main(["rebuild", folder]) == 0
    assert quire.main(["build", "pruned", "--out", str(tmp_path / "c"), "--alpha", "2"]) == 1
    assert capsys.readouterr().err.startswith("quire: alpha is 2.0")
