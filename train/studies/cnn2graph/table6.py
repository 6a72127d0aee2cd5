"""Table 6: accuracy on CIFAR-10 by the number of proxies and of anchors of each class."""

from quire.models.cnn2graph import CNN2GraphConfig
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.cnn2graph.setting import AUTHORS, accuracies, trial
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials

_COUNTS = (1, 3, 5)
_PAPER = {
    "1 proxy": (96.73, 96.89, 96.81),
    "3 proxies": (96.12, 96.62, 96.33),
    "5 proxies": (96.18, 96.21, 96.42),
}
_COLUMNS = ("1 anchor", "3 anchors", "5 anchors")


def _trials(scale: Scale) -> list[Classifier]:
    return [
        trial(
            scale,
            row,
            column,
            CNN2GraphConfig(proxies=proxies),
            backbone="ResNet34",
            per_class=anchors,
        )
        for row, proxies in zip(_PAPER, _COUNTS, strict=True)
        for column, anchors in zip(_COLUMNS, _COUNTS, strict=True)
    ]


def _present(results: Accuracies) -> Layout:
    return accuracies(results, _PAPER, *_COLUMNS)


STUDY = Trials(
    title="Numbers of proxies and anchors, with CNN2Transformer",
    paper=f"{AUTHORS}, Table 6",
    seeds={"smoke": 1, "small": 1, "full": 3},
    trials=_trials,
    present=_present,
)
