"""Figures 5 and 6: what the images of a class attend to, as matrices of its mean attention.

Figure 5 has the attention to proxies, of both models; Figure 6 that to anchors, of a model with
three anchors of each class, whose attention is added up. The paper's are of CIFAR-100 and SVHN (5),
and of CIFAR-10 (6).
"""

from functools import partial
from typing import Literal, TypeAlias

from torch import Tensor

from quire.models.cnn2graph import CNN2GraphConfig
from quire.train.classify.attention import analyse
from quire.train.engine.runs import read_run
from quire.train.report.grid import Grid
from quire.train.report.plots.matrix import Matrix
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.cnn2graph.setting import AUTHORS, KINDS, TRANSFORMER, notes, trial
from quire.train.studies.study import Figure, Layout, Scale
from quire.train.studies.trials import ONE_SEED, Trials

Side: TypeAlias = Literal["proxies", "anchors"]


def _to_proxies(scale: Scale) -> list[Classifier]:
    return [
        trial(scale, row, data, CNN2GraphConfig(kind=kind), data=data, backbone="ResNet34")
        for data in (("cifar100", "svhn") if scale == "full" else ("cifar10",))
        for row, kind in KINDS.items()
    ]


def _to_anchors(scale: Scale) -> list[Classifier]:
    head, data = CNN2GraphConfig(), "cifar10"
    return [trial(scale, TRANSFORMER, data, head, backbone="ResNet34", per_class=3)]


def _present(side: Side, results: Accuracies) -> Layout:
    """The attention of each trial's first run, and how much of it goes to the image's own class."""
    panels, own = [], {}
    for cell, run in results.first_runs.items():
        found = analyse(run, results.tests[cell].place)
        matrix = found.proxy_attention if side == "proxies" else found.anchor_attention
        names = read_run(run).classes
        panels.append(_panel(f"{cell[0]}, {cell[1]}", side, matrix, names))
        own[cell] = (100 * matrix.diagonal().nanmean().item(),)
    grid = Grid(
        title=f"attention to the {side} of the image's own class (%), averaged over classes",
        values=own,
        rows=tuple(dict.fromkeys(row for row, _ in own)),
        columns=tuple(dict.fromkeys(column for _, column in own)),
    )
    even = f"Even attention would give each of C classes 100 / C %. {_PAPER}"
    figure = Figure(name="figure", panels=tuple(panels))
    return Layout(grids=(grid,), figures=(figure,), notes=(even, *notes(results.scale)))


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
