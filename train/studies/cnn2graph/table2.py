"""Table 2: accuracy of the baseline, CNN2GNN and CNN2Transformer on five datasets."""

from quire.models.cnn2graph import CNN2GraphConfig
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.cnn2graph.setting import (
    AUTHORS,
    BASELINE,
    GNN,
    KINDS,
    TRANSFORMER,
    accuracies,
    backbones,
    trial,
)
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials

_DATA = ("cifar10", "cifar100", "stl10", "svhn", "imagenet")
_PAPER = {
    f"ResNet18 {BASELINE}": ("94.07", "76.95", "95.38", "95.29", "69.42"),
    f"ResNet18 {GNN}": (
        *("95.51 ± 0.42", "74.80 ± 0.81", "95.70 ± 0.20"),
        *("96.62 ± 0.55", "60.12 ± 1.02"),
    ),
    f"ResNet18 {TRANSFORMER}": (
        *("95.79 ± 0.24", "77.39 ± 0.20", "95.74 ± 0.19"),
        *("96.35 ± 0.22", "71.12 ± 0.35"),
    ),
    f"ResNet34 {BASELINE}": ("95.24", "79.32", "95.89", "95.56", "73.03"),
    f"ResNet34 {GNN}": (
        *("96.39 ± 0.41", "77.87 ± 0.91", "96.89 ± 0.26"),
        *("97.01 ± 0.31", "61.02 ± 0.77"),
    ),
    f"ResNet34 {TRANSFORMER}": (
        *("96.73 ± 0.37", "80.10 ± 0.45", "97.21 ± 0.19"),
        *("96.54 ± 0.07", "75.42 ± 0.15"),
    ),
}  # the paper's intervals are standard deviations of three runs
_HEADS = {BASELINE: None, **{name: CNN2GraphConfig(kind=kind) for name, kind in KINDS.items()}}


def _trials(scale: Scale) -> list[Classifier]:
    return [
        trial(scale, f"{backbone} {name}", data, head, data=data, backbone=backbone)
        for data in (_DATA if scale == "full" else _DATA[:1])
        for backbone in backbones(scale)
        for name, head in _HEADS.items()
    ]


def _present(results: Accuracies) -> Layout:
    return accuracies(results, _PAPER, *_DATA)


STUDY = Trials(
    title="Graphs over anchors and proxies",
    paper=f"{AUTHORS}, Table 2",
    seeds={"smoke": 1, "small": 2, "full": 3},
    trials=_trials,
    present=_present,
)
