"""Table 3: images that are classified by what they receive from anchors and proxies alone."""

from quire.models.cnn2graph import CNN2GraphConfig
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.cnn2graph.setting import (
    AUTHORS,
    GNN,
    KINDS,
    TRANSFORMER,
    accuracies,
    trial,
)
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials

_DATA = ("cifar10", "svhn", "cifar100")
_PAPER = {GNN: (96.21, 96.49, 79.63), TRANSFORMER: (96.82, 97.10, 81.49)}


def _trials(scale: Scale) -> list[Classifier]:
    return [
        trial(
            scale,
            name,
            data,
            CNN2GraphConfig(kind=kind, own=False),
            data=data,
            backbone="ResNet34",
        )
        for data in (_DATA if scale == "full" else _DATA[:1])
        for name, kind in KINDS.items()
    ]


def _present(results: Accuracies) -> Layout:
    return accuracies(results, _PAPER, *_DATA)


STUDY = Trials(
    title="Classified by anchors and proxies alone",
    paper=f"{AUTHORS}, Table 3",
    seeds={"smoke": 1, "small": 1, "full": 3},
    trials=_trials,
    present=_present,
)
