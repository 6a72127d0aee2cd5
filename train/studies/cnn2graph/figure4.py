"""Figure 4: embeddings of images, anchors and proxies over training, and the losses beside them.

The moments are runs of their own: without a schedule, a run of so many epochs is the beginning of
a longer one. The paper draws UMAP plots; ours are t-SNE, which scikit-learn has. A model without
the four losses that compare is trained too, to see whether its proxies collapse.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quire.models.cnn2graph import CNN2GraphConfig
from quire.models.cnn2graph_losses import LossWeights
from quire.train.classify.attention import Analysis, analyse
from quire.train.engine.metrics import read_metrics
from quire.train.engine.runs import read_run
from quire.train.report.grid import Grid
from quire.train.report.plots.curves import Curve, Curves
from quire.train.report.plots.scatter import Scatter
from quire.train.studies.classifiers import Accuracies, Classifier, accuracy
from quire.train.studies.cnn2graph.setting import AUTHORS, notes, setting, trial
from quire.train.studies.study import Figure, Layout, Scale
from quire.train.studies.trials import ONE_SEED, Trials

_START, _MIDDLE, _END = "after 1 epoch", "halfway", "at the end"
_ALL, _CROSS_ENTROPIES = "all seven losses", "cross-entropies alone"
_LOSSES = {"at": "at", "pt": "pt", "ap": "ap", "p": "p", "ce_images": "cross-entropy of images"}
_IMAGES = 500  # that are drawn
_SEPARATION = {
    "mean distance": "mean",
    "least distance": "least",
    "mean distance of directions": "mean_of_directions",
    "least distance of directions": "least_of_directions",
}


def _trials(scale: Scale) -> list[Classifier]:
    epochs = setting(scale, None).epochs
    moments = {_START: 1, _MIDDLE: max(1, epochs // 2), _END: epochs}
    alone = LossWeights(at=0, pt=0, ap=0, p=0)
    found = [_trial(scale, _ALL, moment, count) for moment, count in moments.items()]
    last = _trial(scale, _CROSS_ENTROPIES, _END, epochs)
    return [*found, replace(last, config=replace(last.config, loss_weights=alone))]


def _trial(scale: Scale, row: str, column: str, epochs: int) -> Classifier:
    made = trial(scale, row, column, CNN2GraphConfig(), backbone="ResNet34")
    return replace(made, config=replace(made.config, epochs=epochs, milestones=(), warmup=0.0))


def _present(results: Accuracies) -> Layout:
    runs = results.first_runs
    found = {
        cell: analyse(run, results.tests[cell].place, sample=_IMAGES) for cell, run in runs.items()
    }
    maps = tuple(
        _map(column, found[row, column], read_run(runs[row, column]).classes)
        for row, column in found
        if row == _ALL
    )
    apart = {
        (row, name): (getattr(found[row, column].separation, field),)
        for row, column in found
        if column == _END
        for name, field in _SEPARATION.items()
    }
    grid = Grid(
        title="distance between proxies of different classes",
        values=apart,
        rows=tuple(row for row, column in found if column == _END),
        columns=tuple(_SEPARATION),
        corner="trained with",
        decimals=3,
    )
    reached = Grid(
        title="accuracy (%)",
        values={cell: accuracy(results, cell, "inductive") for cell in runs},
        rows=(_ALL, _CROSS_ENTROPIES),
        columns=(_START, _MIDDLE, _END),
        corner="trained with",
    )
    figure = Figure(name="figure", panels=(*maps, _losses(read_metrics(runs[_ALL, _END]))))
    return Layout(grids=(grid, reached), figures=(figure,), notes=notes(results.scale))


def _map(title: str, found: Analysis, classes: Sequence[str]) -> Scatter:
    """All nodes in the plane: images by class, and the others by sort."""
    points = (found.images, found.anchors, found.proxies)
    plane = np.split(
        _plane(np.concatenate([one.embeddings.numpy() for one in points])),
        np.cumsum([len(one.labels) for one in points])[:-1],
    )
    labels = found.images.labels.numpy()
    groups = {name: tuple(plane[0][labels == number].T) for number, name in enumerate(classes)}
    groups |= {"anchors": tuple(plane[1].T), "proxies": tuple(plane[2].T)}
    return Scatter(title=title, x_label="", y_label="", groups=groups)


def _plane(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, near each other in the plane where they are in truth. (N, F) -> (N, 2)."""
    from sklearn.manifold import TSNE  # slow to import

    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions = embeddings / np.maximum(lengths, np.finfo(np.float32).tiny)
    placed: NDArray[np.float32] = TSNE(
        perplexity=min(30, (len(embeddings) - 1) / 3), init="pca", random_state=0
    ).fit_transform(directions)
    return placed


def _losses(lines: Sequence[dict[str, float]]) -> Curves:
    """The mean of each loss over an epoch."""
    steps = [line for line in lines if "loss" in line]
    ends = [line["step"] for line in lines if "epoch" in line]
    epochs = np.searchsorted(ends, [line["step"] for line in steps])
    numbers = range(len(ends))
    curves = tuple(
        Curve(
            label=label,
            x=tuple(float(number + 1) for number in numbers),
            values=tuple((float(values[epochs == number].mean()),) for number in numbers),
        )
        for name, label in _LOSSES.items()
        for values in [np.array([step[name] for step in steps])]
    )
    return Curves(title="Losses", x_label="epoch", y_label="mean over an epoch", curves=curves)


STUDY = Trials(
    title="Embeddings over training, and whether proxies collapse",
    paper=f"{AUTHORS}, Figure 4",
    seeds=ONE_SEED,
    trials=_trials,
    present=_present,
)
