"""Figures 5 and 6: what the images of a class attend to, as matrices of its mean attention.

Figure 5 has the attention to proxies, of both models; Figure 6 that to anchors, of a model with
three anchors of each class, whose attention is added up. The paper's are of CIFAR-100 and SVHN (5),
and of CIFAR-10 (6).

Whether a diagonal shows is decided by how attention begins, which the paper does not say. With
matrices of their own at random for queries and keys it stays even: features have a norm of 45, He's
proxies one of 1.5, so all scores are near 0 and hardly a gradient moves them. On 10,000 images of
CIFAR-10, by frozen features of EfficientNet-Lite0 and Adam at 3e-4, 10 % of the images attended
most to the proxy of their class after 4 epochs and 9 % after 16 (chance is 10). Proxies at the
features' norm alone changed nothing (11 %), nor did keys that begin as queries alone (17 %, and 19
after 16 epochs); the two together gave 60 %, and keys of proxies that are larger by the ratio of
the norms, which leaves the proxies as the paper has them, 59 %. Of anchors 62 % did with keys that
begin as queries, 16 % without. Nothing of this moved the attention of CNN2GNN (3 to 10 %), whose
scores are no products. So both beginnings of CNN2Transformer are shown.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from quire.models.cnn2graph import CNN2GraphConfig
from quire.models.efficientnet_lite import MEAN, STD
from quire.train.classify.attention import analyse
from quire.train.classify.evaluate import Evaluate
from quire.train.classify.run import trained
from quire.train.engine.runs import read_run
from quire.train.report.grid import Grid
from quire.train.report.plots.matrix import Matrix
from quire.train.studies.classifiers import Accuracies, Classifier, accuracy
from quire.train.studies.cnn2graph.setting import AUTHORS, GNN, TRANSFORMER, notes, trial
from quire.train.studies.study import Figure, Layout, Scale
from quire.train.studies.trials import ONE_SEED, Trials

Side: TypeAlias = Literal["proxies", "anchors"]


_HEADS: Mapping[str, CNN2GraphConfig] = {
    GNN: CNN2GraphConfig(kind="gnn"),
    TRANSFORMER: CNN2GraphConfig(),
    f"{TRANSFORMER}, keys as queries": CNN2GraphConfig(start="similar"),
}


def _to_proxies(scale: Scale) -> list[Classifier]:
    return [
        _pretrained(trial(scale, row, data, head, data=data, backbone="ResNet34"), scale)
        for data in (("cifar100", "svhn") if scale == "full" else ("cifar10",))
        for row, head in _HEADS.items()
    ]


def _to_anchors(scale: Scale) -> list[Classifier]:
    return [
        _pretrained(trial(scale, row, "cifar10", head, backbone="ResNet34", per_class=3), scale)
        for row, head in _HEADS.items()
        if head.kind == "transformer"
    ]


def _pretrained(one: Classifier, scale: Scale) -> Classifier:
    """At the small scale with an encoder of ImageNet that stays as it is."""
    if scale != "small":
        return one
    how = Evaluate(settings=("inductive",), images=_IMAGES)
    return replace(
        one,
        config=replace(one.config, **_FROZEN),
        tests=tuple((bundle, how) for bundle, _ in one.tests),
    )


_IMAGES = 2_000  # of the test, at the small scale
_FROZEN: Mapping[str, Any] = {
    "encoder": "efficientnet-lite0",
    "frozen": True,
    "resize": 96,
    "mean": MEAN,
    "std": STD,
    "shift": 0,
    "jitter": (0.0, 0.0, 0.0),
    "epochs": 8,
    "lr": 0.003,
}


def _present(side: Side, results: Accuracies) -> Layout:
    """The attention of each trial's first run, and how much of it goes to the image's own class."""
    panels: list[Matrix] = []
    values: dict[tuple[str, str], tuple[float, ...]] = {}
    for (row, column), run in results.first_runs.items():
        images = _IMAGES if results.scale == "small" else None
        found = analyse(run, results.tests[row, column].place, images=images)
        matrix, hits = found.proxy_attention, found.proxy_hits
        if side == "anchors":
            matrix, hits = found.anchor_attention, found.anchor_hits
        names = read_run(run).classes
        panels.append(_panel(f"{row}, {column}", side, matrix, names))
        label = f"{row}, {column}"
        values[label, _OWN] = (100 * matrix.diagonal().nanmean().item(),)
        values[label, _MOST] = (100 * hits,)
        diagonal = matrix.argmax(dim=1) == torch.arange(len(matrix))
        values[label, _CLASSES] = (100 * diagonal.double().mean().item(),)
        values[label, _ACCURACY] = accuracy(results, (row, column), "inductive")
    grid = Grid(
        title=f"attention to the {side} of the image's own class (%), the first seed",
        values=values,
        rows=tuple(dict.fromkeys(row for row, _ in values)),
        columns=(_OWN, _MOST, _CLASSES, _ACCURACY),
    )
    figure = Figure(name="figure", panels=tuple(panels))
    _, config, _ = trained(run)
    told = (_EVEN, _PAPER, _START, *notes(results.scale, config))
    return Layout(grids=(grid,), figures=(figure,), notes=told)


_OWN, _MOST = "mean attention", "images that attend most to it"
_CLASSES, _ACCURACY = "classes that do on average", "accuracy"
_EVEN = "Even attention gives each of C classes 100 / C %; rows of a matrix sum to 1."
_START = (
    "keys as queries: the matrices of keys begin as that of queries, those of proxies larger by the"
    " ratio of the norms of features and proxies. The paper does not say how they begin."
)


_PAPER = (
    "The paper prints no numbers: its CNN2Transformer attends most to the proxies of the image's"
    " class, its CNN2GNN does so with ten classes and fails with a hundred."
)


def _panel(title: str, side: Side, matrix: Tensor, names: tuple[str, ...]) -> Matrix:
    return Matrix(
        title=title,
        x_label=side,
        y_label="images",
        values=matrix.numpy(),
        row_labels=names,
        column_labels=names,
        bar_label="mean attention",
    )


PROXIES = Trials(
    title="Attention to proxies",
    paper=f"{AUTHORS}, Figure 5",
    seeds=ONE_SEED,
    trials=_to_proxies,
    present=partial(_present, "proxies"),
)
ANCHORS = Trials(
    title="Attention to anchors",
    paper=f"{AUTHORS}, Figure 6",
    seeds=ONE_SEED,
    trials=_to_anchors,
    present=partial(_present, "anchors"),
)
