"""What Tables 1 and 5 share: every model on three datasets, in both settings, with its rivals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from quire.train.classify.evaluate import Evaluate
from quire.train.classify.run import Classify, Encoder
from quire.train.report.grid import Grid
from quire.train.studies.classifiers import Accuracies, Classifier, accuracy, images_seen
from quire.train.studies.mbsg.setting import RIVALS, VARIANTS, clean, notes, rival, setting
from quire.train.studies.study import Layout, Scale

_K = {"cifar10": 16, "cifar100": 4, "mit67": 4}  # neighbours
_SETTINGS = ("inductive", "transductive")
_SEEN = "images seen (thousand), cifar10"


def trials(scale: Scale, rows: Sequence[str], encoder: Encoder | None = None) -> list[Classifier]:
    """Each model on each dataset; `encoder` replaces that of the setting at full scale."""
    return [
        Classifier(
            row=name,
            column=data,
            config=_config(scale, data, name, encoder if scale == "full" else None),
            data=clean(scale, "train", data),
            tests=((clean(scale, "test", data), Evaluate()),),
        )
        for data in (("cifar10",) if scale == "smoke" else _K)
        for name in rows
    ]


def _config(scale: Scale, data: str, name: str, encoder: Encoder | None) -> Classify:
    if name in RIVALS:
        config = rival(scale, name)
    else:
        graph = VARIANTS[name]
        config = setting(scale, graph and replace(graph, k=_K[data]))
    if encoder is not None:
        config = replace(config, encoder=encoder)
    if scale == "full" and data == "cifar100":
        return replace(config, mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761))
    return replace(config, mean=(), std=()) if data == "mit67" else config  # measured


def present(results: Accuracies, paper: Mapping[str, Sequence[str]], *remarks: str) -> Layout:
    """The table, beside the paper's: inductive and transductive of each dataset in turn."""
    columns = {f"{data} {setting}": (data, setting) for data in _K for setting in _SETTINGS}
    values = {
        (name, column): accuracy(results, (name, data), setting)
        for name in paper
        for column, (data, setting) in columns.items()
    }
    for (name, data), run in results.first_runs.items():
        if data == "cifar10":
            values[name, _SEEN] = (images_seen(run) / 1e3,)
    printed = {
        (name, column): number
        for name, numbers in paper.items()
        for column, number in zip(columns, numbers, strict=True)
    }
    grid = Grid(
        title="accuracy (%)",
        values=values,
        rows=tuple(paper),
        columns=(*columns, _SEEN),
        paper=printed,
    )
    return Layout(grids=(grid,), notes=(_CONTRAST, _AFFINITY, *remarks, *notes(results.scale)))


def twice(*numbers: str) -> tuple[str, ...]:
    """Numbers of models without a graph, for which both settings are one."""
    return tuple(number for one in numbers for number in (one, one))


_CONTRAST = (
    "Supervised contrastive learning has its linear layer's accuracy in the last epoch, where its"
    " code prints the best on the test images of all epochs. The paper does not say how long its"
    " rivals were trained: here each has the budget of its own authors, see the images seen."
)
_AFFINITY = (
    "Affinity supervision has no public code: its loss is that of the paper's formulas, without the"
    " diagonal. Its weight, .01, was the best of .01, .1 and 1 on 5,000 training images of CIFAR-10"
    " that were not trained on, by a small network after six epochs: 41.0, 35.4 and 18.6 %."
)
