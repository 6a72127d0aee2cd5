"""Recipe `graphs`: the same graphs however they are built, and what there is to say of each."""

import hashlib
import json
import os
import signal
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BuildError, RecipeError, SourceError
from quire.artifacts.graph_table import GRAPHS, SCALARS
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.verify import verify
from quire.builders.draws import sample_rng
from quire.builders.engine import folder
from quire.builders.engine.recipe import from_record, to_record
from quire.builders.engine.run import build, plan
from quire.builders.graphs import search
from quire.builders.graphs.dag import directed, layer_nodes, masks, parameters
from quire.builders.graphs.graph import checked_graph
from quire.builders.graphs.properties import Properties, dag_properties, graph_properties
from quire.builders.rebuild import rebuild
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.recipes.graphs import Graphs
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.graphs import GraphFolder, open_graphs
from quire.builders.sources.source import Nothing
from tests.graph_bundles import SMALL, array, graph_bundle, samples
from tests.processes import started
from tests.same_folder import assert_same


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "reference"
    graph_bundle(folder)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_bytes_do_not_depend_on_workers(reference: Path, tmp_path: Path, workers: int) -> None:
    build(SMALL, Nothing(), tmp_path / "b", workers=workers)
    assert_same(reference, tmp_path / "b")


def killed(into: Path, after: int) -> None:
    """Build, and die after so many shards or when the first table is half written."""

    def report(done: int, total: int) -> None:
        if done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    write = folder.write_table

    def write_half(path: Path, *rest: Any) -> None:
        write(path, *rest)
        path.write_bytes(path.read_bytes()[:5000])
        os.kill(os.getpid(), signal.SIGKILL)

    folder.write_table = write_half  # type: ignore[assignment]
    build(SMALL, Nothing(), into, report=report)


@pytest.mark.parametrize(
    "after",
    [pytest.param(2, marks=pytest.mark.slow), 99],
    ids=["between shards", "in the midst of the table"],
)
def test_a_build_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    reference: Path, tmp_path: Path, after: int
) -> None:
    process = started(killed, tmp_path / "b", after)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "b" / MANIFEST).exists() and not (tmp_path / "b" / GRAPHS).exists()
    there = len(list((tmp_path / "b").glob("*.tar")))
    assert there == min(after, 3)
    assert len(plan(SMALL, Nothing(), tmp_path / "b").missing) == 3 - there
    graph_bundle(tmp_path / "b")
    assert_same(reference, tmp_path / "b")


def test_fewer_graphs_are_the_beginning_of_more(reference: Path, tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b", replace(SMALL, graphs=5, samples_per_shard=3))
    many, few = samples(reference), samples(tmp_path / "b")
    assert len(many) == 9 and len(few) == 5
    assert few.items() <= many.items()
    with h5py.File(reference / GRAPHS) as whole, h5py.File(tmp_path / "b" / GRAPHS) as part:

        def compare(name: str, one: Any) -> None:
            if isinstance(one, h5py.Dataset) and not name.startswith("cells/"):
                assert np.array_equal(
                    whole[name][: len(one)], one[()], equal_nan="f" in one.dtype.str
                )
                assert dict(whole[name].attrs) == dict(one.attrs)

        part.visititems(compare)


def test_a_change_leaves_the_graphs_that_it_does_not_concern_as_they_were(
    reference: Path, tmp_path: Path
) -> None:
    def changed(**change: Any) -> set[str]:
        folder = tmp_path / "-".join(change)
        graph_bundle(folder, replace(SMALL, **change))
        here, there = samples(reference), samples(folder)
        return {key for key in here if here[key] != there[key]}

    records = {key: json.loads(one["properties.json"]) for key, one in samples(reference).items()}
    large = {key for key, one in records.items() if one["parameters"]["connected"] > 4_000}
    assert 0 < len(large) < len(records)
    assert changed(most=4_000) == large
    assert len(changed(seed=1)) == 9
    assert len(changed(direction="up")) == 9


def test_a_sample_is_what_the_pure_functions_make_of_its_own_search(reference: Path) -> None:
    grid = SMALL.resolve(Nothing()).grid
    rows = open_bundle(reference).index.rows
    for number, (key, sample) in enumerate(samples(reference).items()):
        assert key == f"{number:08d}"
        found = search.find(grid, number, rng=sample_rng(0, "graphs", number))
        dag = directed(found.graph, "down")
        assert np.array_equal(array(sample["edges.npy"]), dag.arcs)
        record = json.loads(sample["properties.json"])
        assert record["drawn"] == {
            **grid.named(found.cells[-1]),
            "cell": found.cells[-1],
            "attempts": len(found.cells),
        }
        assert (
            record["parameters"]["connected"]
            == parameters(dag)
            == rows.columns["parameters"][number]
        )
        assert 2_500 <= parameters(dag) <= 4_500
        assert record["parameters"]["dense"] == parameters(dag, count="dense")
        for kind, properties in (
            ("dag", dag_properties(dag)),
            ("undirected", graph_properties(found.graph)),
        ):
            assert record[kind]["density"] == properties.density
            assert record[kind]["degree_counts"] == properties.degree_counts.tolist()
            assert record[kind].keys() == {*SCALARS, "degree_counts", "path_length_counts"}
        for name in ("cell", "attempts", "nei", "p", "size"):
            assert rows.columns[name][number] == record["drawn"][name]


def test_the_masks_between_layers_are_blocks_of_the_one_that_is_stored(reference: Path) -> None:
    pairs = 0
    for sample in samples(reference).values():
        layers, edges = array(sample["layers.npy"]), array(sample["edges.npy"])
        indptr, indices = array(sample["mask_indptr.npy"]), array(sample["mask_indices.npy"])
        whole = csr_array(
            (np.ones(len(indices), bool), indices, indptr), (len(layers),) * 2
        ).toarray()
        dag = directed(checked_graph(len(layers), edges[:, ::-1]), "down")
        ends = np.cumsum([0, *map(len, layer_nodes(dag))])
        for (first, later), mask in masks(dag).items():
            rows, columns = slice(ends[later], ends[later + 1]), slice(ends[first], ends[first + 1])
            assert np.array_equal(whole[rows, columns], mask.toarray())
            whole[rows, columns] = False
            pairs += 1
        assert not whole.any()
    assert pairs > 20


def test_h5py_alone_reads_every_graph_and_its_properties(reference: Path) -> None:
    with h5py.File(reference / GRAPHS) as file:
        table: dict[str, Any] = {}
        file.visititems(lambda name, one: table.update({name: one}))
        arrays = {name: one for name, one in table.items() if isinstance(one, h5py.Dataset)}
        assert all({"unit"} <= set(one.attrs) for one in arrays.values())
        edges, nodes = file["offsets/edges"][()], file["offsets/nodes"][()]
        for number, sample in enumerate(samples(reference).values()):
            arcs = file["edges"][edges[number] : edges[number + 1]]
            assert np.array_equal(arcs, array(sample["edges.npy"]))
            layers = file["layers"][nodes[number] : nodes[number + 1]]
            assert np.array_equal(layers, array(sample["layers.npy"]))
            start, stop = file["offsets/indptr"][number : number + 2]
            assert np.array_equal(
                file["masks/indptr"][start:stop], array(sample["mask_indptr.npy"])
            )
            dag = directed(checked_graph(len(layers), arcs[:, ::-1]), "down")
            check_properties(file["dag"], number, nodes, file["offsets/dag"], dag_properties(dag))
        for one in arrays.values():
            cut = one.attrs.get("offsets")
            rows = file[cut.decode()][-1] if cut is not None else None
            assert rows is None or len(one) == rows


def check_properties(
    group: h5py.Group,
    number: int,
    nodes: NDArray[np.int64],
    offsets: h5py.Group,
    properties: Properties,
) -> None:
    """Every field but the two that are the same for graph and DAG is in the table."""
    known = {field.name for field in fields(Properties)} - {"order", "num_edges"}
    for name in SCALARS:
        assert np.array_equal(group[name][number], getattr(properties, name), equal_nan=True)
    for name, column in group["nodes"].items():
        part = column[nodes[number] : nodes[number + 1]]
        assert np.array_equal(part, getattr(properties, name), equal_nan="f" in part.dtype.str)
    for name, column in group["counts"].items():
        start, stop = offsets[name][number : number + 2]
        assert np.array_equal(column[start:stop], getattr(properties, f"{name}_counts"))
    counts = {f"{name}_counts" for name in group["counts"]}
    assert known == {*SCALARS, *group["nodes"], *counts}


def test_the_table_counts_every_attempt(reference: Path) -> None:
    grid = SMALL.resolve(Nothing()).grid
    attempts, accepted = np.zeros((2, 12), int)
    for number in range(9):
        cells = search.find(grid, number, rng=sample_rng(0, "graphs", number)).cells
        np.add.at(attempts, np.array(cells), 1)
        accepted[cells[-1]] += 1
    with h5py.File(reference / GRAPHS) as file:
        cells = file["cells"]
        assert cells["attempts"][()].tolist() == attempts.tolist()
        assert cells["accepted"][()].tolist() == accepted.tolist()
        assert attempts.sum() > accepted.sum() == 9
        named = [grid.named(cell) for cell in range(12)]
        assert [
            dict(zip(("size", "nei", "p"), row, strict=True))
            for row in zip(
                *(cells[name][()].tolist() for name in ("size", "nei", "p")), strict=True
            )
        ] == named


@pytest.mark.filterwarnings("ignore")  # webdataset leaves files open
def test_plain_webdataset_reads_the_same(reference: Path) -> None:
    import webdataset

    shards = sorted(map(str, reference.glob("*.tar")))
    read = {s["__key__"]: s for s in webdataset.WebDataset(shards, shardshuffle=False).decode()}
    here = samples(reference)
    assert read.keys() == here.keys()
    for key, sample in here.items():
        assert np.array_equal(read[key]["edges.npy"], array(sample["edges.npy"]))
        assert read[key]["properties.json"] == json.loads(sample["properties.json"])


def test_verify_names_a_table_that_is_damaged(reference: Path, tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")
    path = tmp_path / "b" / GRAPHS
    whole = path.read_bytes()
    path.write_bytes(whole[:9_000] + bytes([whole[9_000] ^ 1]) + whole[9_001:])
    assert [problem.file for problem in verify(tmp_path / "b")] == [GRAPHS]
    path.unlink()
    assert [str(problem) for problem in verify(tmp_path / "b")] == [f"{GRAPHS}: missing"]


def test_an_audit_derives_shards_and_tables_anew(reference: Path, tmp_path: Path) -> None:
    outcome = rebuild(reference, None, outside={}, shards=2, seed=0)
    assert outcome.same and len(outcome.lines) == 2
    outcome = rebuild(reference, None, outside={}, shards=3)
    assert outcome.same and outcome.lines[-1] == f"{GRAPHS}: the same"
    with pytest.raises(SourceError, match="is not KIND:PATH with one of the kinds graphs"):
        rebuild(reference, "digits:", outside={}, shards=1)
    write(tmp_path, {"a.txt": "0 1"})
    with pytest.raises(RecipeError, match="all graphs of a source are kept"):
        rebuild(reference, f"graphs:{tmp_path}", outside={}, shards=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": ()}, "sizes is empty"),
        ({"p": (0.5, 0.5)}, "p is empty or holds a value twice"),
        ({"graphs": 0}, "graphs is 0; it must be at least 1"),
        ({"inputs": 0}, "inputs is 0"),
        ({"samples_per_shard": 0}, "samples_per_shard is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"least": 5_000}, "least is 5000, which is more than most, 4500"),
        ({"nei": (1, 6)}, "nei is 6; it must be at least 1, and 2 \\* nei less than size 12"),
        ({"p": (1.5,)}, "the probability p is 1.5"),
        ({"m": (2,)}, "m is given, but watts_strogatz has no such parameter"),
        ({"generator": "erdos_renyi", "nei": None, "p": None}, "erdos_renyi needs p"),
        ({"generator": "erdos_renyi"}, "nei is given, but erdos_renyi has no such parameter"),
        ({"sizes": range(12, 22_000)}, "the grid has 131,928 cells; 65,536 are possible"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused_before_anything_is_written(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    given = {name: tuple(v) if isinstance(v, range) else v for name, v in given.items()}
    with pytest.raises(RecipeError, match=message):
        build(replace(SMALL, **given), Nothing(), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_search_that_finds_nothing_ends_in_a_sentence() -> None:
    grid = replace(SMALL, least=10**8, most=10**9).resolve(Nothing()).grid
    message = "graph 7: none of 50 graphs of the grid has 100,000,000 to 1,000,000,000 parameters"
    with pytest.raises(RecipeError, match=rf"^{message}; they have 852 to [0-9],[0-9]+$"):
        search.find(grid, 7, rng=sample_rng(0, "graphs", 0), attempts=50)
    found = search.find(SMALL.resolve(Nothing()).grid, 7, rng=sample_rng(0, "graphs", 0))
    assert len(found.cells) <= search.ATTEMPTS


@pytest.mark.parametrize(
    "grid",
    [
        {"generator": "erdos_renyi", "p": (0.2, 0.4)},
        {"generator": "barabasi_albert", "m": (1, 2)},
        {"generator": "random_regular", "degree": (2, 4)},
    ],
    ids=lambda grid: grid["generator"],
)
def test_every_generator_has_its_grid(tmp_path: Path, grid: dict[str, Any]) -> None:
    recipe = Graphs(**grid, sizes=(8, 10), least=1, most=10**6, graphs=3, inputs=5, outputs=2)
    graph_bundle(tmp_path / "b", recipe)
    (name,) = grid.keys() - {"generator"}
    columns = open_bundle(tmp_path / "b").index.rows.columns
    assert set(columns[name].tolist()) <= set(grid[name])
    assert set(columns["size"].tolist()) <= {8, 10}
    assert rebuild(tmp_path / "b", None, outside={}, shards=9).same


def test_a_record_gives_the_recipe_back() -> None:
    for recipe in (SMALL, SMALL.resolve(Nothing()), Graphs(), Graphs().resolve(Nothing())):
        record = json.loads(json.dumps(to_record(recipe)))
        assert from_record(RECIPES, record, {}) == recipe
        assert recipe.resolve(Nothing()).resolve(Nothing()) == recipe.resolve(Nothing())


@pytest.mark.slow
def test_the_default_is_the_papers_grid() -> None:
    grid = Graphs().resolve(Nothing()).grid
    assert len(grid.cells) == 5 * 6 * 5
    assert grid.named(0) == {"size": 250, "nei": 2, "p": 0.5}
    assert (grid.least, grid.most, grid.inputs, grid.outputs) == (50_000, 91_000, 784, 10)
    found = [search.find(grid, n, rng=sample_rng(0, "graphs", n)) for n in range(12)]
    kept = [grid.named(one.cells[-1])["nei"] for one in found]
    assert kept.count(2) >= 10 and set(kept) <= {2, 4}


def test_golden_bundle(reference: Path) -> None:
    # A published bundle must come out the same from every later release: draws, tar, table.
    golden = {"graphs-000000.tar": "286358da3fb32749", GRAPHS: "ba15284be2866b4b"}
    digests = {n: hashlib.sha256((reference / n).read_bytes()).hexdigest()[:16] for n in golden}
    assert digests == golden


def write(folder: Path, files: dict[str, str]) -> GraphFolder:
    for name, text in files.items():
        (folder / name).write_text(text)
    return open_graphs(folder)


FILES = {
    "a.txt": "0 1\n1 2\n0 2\n3 4\n",
    "b.csv": "source,target\nx,y\ny,z\n",
    "bad.edges": "0 1\n1\n",
    "c.edges": "# a path\n5 9\n9 12\n",
}


def test_the_graphs_of_a_folder_are_all_kept(tmp_path: Path) -> None:
    source = write(tmp_path, FILES)
    recipe = Graphs(inputs=3, outputs=2, samples_per_shard=1)
    with pytest.raises(SourceError, match=r"^bad\.edges: line 2: an edge is two nodes.*skip-bad"):
        build(recipe, source, tmp_path / "b")
    manifest = build(recipe, source, tmp_path / "b", skip_bad=True)
    assert [sample.file for sample in manifest.left_out] == ["bad.edges"]
    assert str(tmp_path) not in (tmp_path / "b" / MANIFEST).read_text()
    assert [shard.name for shard in manifest.shards] == [f"graphs-00000{i}.tar" for i in (0, 1, 3)]
    assert verify(tmp_path / "b") == ()
    rows = open_bundle(tmp_path / "b").index.rows
    assert rows.columns["file"].tolist() == [b"a.txt", b"b.csv", b"c.edges"]
    assert rows.columns["size"].tolist() == [5, 3, 3]
    with h5py.File(tmp_path / "b" / GRAPHS) as file:
        assert "cells" not in file and "generator" not in file
        assert file["edges"][()].tolist() == [[1, 0], [2, 0], [2, 1], [4, 3], *[[1, 0], [2, 1]] * 2]
    assert rebuild(tmp_path / "b", f"graphs:{tmp_path}", outside={}, shards=9).same
    (tmp_path / "c.edges").write_text("1 2\n")
    with pytest.raises(BuildError, match="not what the bundle was built from; source sha256"):
        rebuild(tmp_path / "b", f"graphs:{tmp_path}", outside={}, shards=9)


def test_a_folder_where_nothing_can_be_read_gives_an_empty_bundle(tmp_path: Path) -> None:
    source = write(tmp_path, {"bad.txt": "0 0", "worse.txt": ""})
    manifest = build(Graphs(), source, tmp_path / "b", skip_bad=True)
    assert manifest.samples == 0 and len(manifest.left_out) == 2
    assert verify(tmp_path / "b") == ()
    with h5py.File(tmp_path / "b" / GRAPHS) as file:
        assert file["edges"].shape == (0, 2) and file["offsets/edges"][()].tolist() == [0]


@pytest.mark.parametrize("given", [{"graphs": 5}, {"seed": 0}, {"p": (0.5,)}, {"most": 9}])
def test_a_folder_has_no_grid(tmp_path: Path, given: dict[str, Any]) -> None:
    source = write(tmp_path, FILES)
    with pytest.raises(RecipeError, match="is given, but all graphs of a source are kept"):
        build(Graphs(**given), source, tmp_path / "b")


def test_one_recipe_needs_no_source_and_others_do() -> None:
    assert open_source(None, split="all", reads=Graphs.reads) == Nothing()
    with pytest.raises(
        SourceError, match="a source is needed: KIND:PATH with one of the kinds cif"
    ):
        open_source(None, split="test", reads=("images",))
    with pytest.raises(SourceError, match="'graphs:x' is not KIND:PATH with one of the kinds cif"):
        open_source("graphs:x", split="all")
