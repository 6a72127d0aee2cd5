"""What a CNN2Graph looks at, against loops over images, and how far its proxies are apart."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.stream import stream
from quire.models.cnn2graph import CNN2Graph, CNN2GraphConfig, Kind
from quire.train.classify.attention import analyse, attention_to_classes, separation
from quire.train.classify.run import trained
from quire.train.classify.training import train
from tests.train.learnable import PROXY, QUICK, RUNNING, anchor_bundle, learnable_bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    learnable_bundle(place / "train")
    anchors = str(anchor_bundle(place / "anchors", of_class=2))
    kinds: tuple[Kind, ...] = ("gnn", "transformer", "mean")
    for kind in kinds:
        config = replace(PROXY, cnn2graph=CNN2GraphConfig(kind=kind, heads=2, proxies=3))
        train(config, str(place / "train"), place / kind, anchors=anchors, running=RUNNING)
    train(replace(QUICK, epochs=1), str(place / "train"), place / "graph", running=RUNNING)
    return place


def slow_means(weights: list[Tensor], labels: list[int], of_nodes: Tensor) -> list[list[float]]:
    """Of each class of images, the mean attention to each of ten classes of nodes."""
    rows = []
    for label in range(10):
        own = [w for w, of in zip(weights, labels, strict=True) if of == label]
        means = []
        for node in range(10):
            to_class = [head[of_nodes == node].sum().item() for w in own for head in w]
            means.append(sum(to_class) / len(to_class) if to_class else math.nan)
        rows.append(means)
    return rows


@pytest.mark.parametrize("kind", ["gnn", pytest.param("transformer", marks=pytest.mark.slow)])
def test_matrices_are_means_over_images_and_heads(kind: str, place: Path) -> None:
    found = analyse(place / kind, str(place / "train"))
    _, _, model = trained(place / kind)
    assert isinstance(model, CNN2Graph)
    known = next(iter(stream(place / "anchors")))
    proxy_set = model.prepare(known["image"].float() / 255)
    to_proxies, to_anchors, labels = [], [], []
    for batch in stream(place / "train", batch_size=1):
        with torch.no_grad():
            look = model.look(batch["image"].float() / 255, proxy_set)
        to_proxies.append(look.proxy_attention[0])
        to_anchors.append(look.anchor_attention[0])
        labels.append(int(batch["label"]))
    assert 0 < len(set(labels)) < 10  # a class without images is among them
    hits: list[float] = []
    for matrix, weights, of_nodes in (
        (found.proxy_attention, to_proxies, model.head.proxy_labels),
        (found.anchor_attention, to_anchors, known["label"]),
    ):
        told = [torch.zeros(10).index_add(0, of_nodes, one.mean(0)) for one in weights]
        own = [int(one.argmax()) == label for one, label in zip(told, labels, strict=True)]
        hits.append(sum(own) / len(own))
        slow = torch.tensor(slow_means(weights, labels, of_nodes), dtype=torch.float64)
        torch.testing.assert_close(matrix, slow, rtol=1e-4, atol=1e-6, equal_nan=True)
        assert matrix.nansum(dim=1).tolist() == pytest.approx(
            [float(label in labels) for label in range(10)]
        )
    # where two classes are attended to alike, rounding says which is first
    assert [found.proxy_hits, found.anchor_hits] == pytest.approx(hits, abs=0.11)


def test_heads_without_attention_have_none_and_lie_somewhere(place: Path) -> None:
    found = analyse(place / "mean", str(place / "train"))
    assert found.proxy_attention.isnan().all() and found.anchor_attention.isnan().all()
    assert math.isnan(found.proxy_hits) and math.isnan(found.anchor_hits)
    assert found.images.embeddings.shape == (40, 64)


def test_embeddings_are_those_of_the_chosen_images(place: Path) -> None:
    data = str(place / "train")
    every, some = analyse(place / "gnn", data), analyse(place / "gnn", data, sample=7)
    other = analyse(place / "gnn", data, sample=7, seed=1)
    _, _, model = trained(place / "gnn")
    assert isinstance(model, CNN2Graph)
    batch = next(iter(stream(data, batch_size=100)))
    with torch.no_grad():
        embeddings = model.features(batch["image"].float() / 255)
        anchors = model.features(next(iter(stream(place / "anchors")))["image"].float() / 255)
    torch.testing.assert_close(every.images.embeddings, embeddings, rtol=1e-4, atol=1e-5)
    assert torch.equal(every.images.labels, batch["label"])
    torch.testing.assert_close(every.anchors.embeddings, anchors, rtol=1e-4, atol=1e-5)
    assert torch.equal(every.proxies.embeddings, model.head.proxies.detach())
    assert every.proxies.labels.tolist() == [i // 3 for i in range(30)]
    exact = "donot_use_mm_for_euclid_dist"
    near = torch.cdist(some.images.embeddings, every.images.embeddings, compute_mode=exact)
    rows = near.argmin(dim=1)
    assert near.amin(dim=1).max() < 1e-4 and (rows.diff() > 0).all() and len(rows) == 7
    assert torch.equal(some.images.labels, batch["label"][rows])
    assert not torch.equal(some.images.embeddings, other.images.embeddings)
    assert torch.equal(some.proxy_attention.nan_to_num(), every.proxy_attention.nan_to_num())


def test_what_attends_to_nothing_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has a graph head, which attends to nothing"):
        analyse(place / "graph", str(place / "train"))
    with pytest.raises(RunError, match="the anchors are wanted"):
        analyse(place / "gnn", str(place / "train"), anchors=str(tmp_path / "nothing"))
    learnable_bundle(tmp_path / "colour", channels=3)
    with pytest.raises(RunError, match="3 channels"):
        analyse(place / "gnn", str(tmp_path / "colour"))


def test_attention_is_added_up_by_class() -> None:
    weights = torch.tensor([[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    found = attention_to_classes(weights, torch.tensor([1, 1, 0]), classes=3)
    expected = [[0.3, 0.7, 0], [0.5, 0.5, 0]]
    torch.testing.assert_close(found, torch.tensor(expected).double())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 99))
def test_separation_is_that_of_pairs_of_different_classes(labels: list[int], seed: int) -> None:
    proxies = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(seed)) * 3
    found = separation(proxies, torch.tensor(labels))
    pairs = [
        (a, b) for a, b in itertools.combinations(range(len(labels)), 2) if labels[a] != labels[b]
    ]
    raw = [math.dist(proxies[a], proxies[b]) for a, b in pairs]
    units = [p / p.norm() for p in proxies]
    angular = [math.dist(units[a], units[b]) for a, b in pairs]
    if not pairs:
        assert math.isnan(found.mean) and math.isnan(found.least)
        return
    assert found.mean == pytest.approx(sum(raw) / len(raw), rel=1e-5)
    assert found.least == pytest.approx(min(raw), rel=1e-5)
    assert found.mean_of_directions == pytest.approx(sum(angular) / len(angular), rel=1e-5)
    assert found.least_of_directions == pytest.approx(min(angular), rel=1e-5)


def test_proxies_that_collapsed_are_told() -> None:
    proxies = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = separation(proxies, torch.tensor([0, 1, 2, 2]))
    assert found.least_of_directions == 0 and found.least == 1
