"""Table 1: accuracy on CIFAR-10 with isotropic aggregation, which has no attention."""

from collections.abc import Mapping

from quire.models.cnn2graph import CNN2GraphConfig, Kind
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.cnn2graph.setting import AUTHORS, accuracies, backbones, trial
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials

_PAPER = {
    "ResNet18, mean": (92.64,),
    "ResNet18, max": (92.79,),
    "ResNet34, mean": (92.82,),
    "ResNet34, max": (92.90,),
}
_KINDS: Mapping[str, Kind] = {"mean": "mean", "max": "max"}


def _trials(scale: Scale) -> list[Classifier]:
    return [
        trial(
            scale,
            f"{backbone}, {name}",
            "cifar10",
            CNN2GraphConfig(kind=kind),
            backbone=backbone,
        )
        for backbone in backbones(scale)
        for name, kind in _KINDS.items()
    ]


def _present(results: Accuracies) -> Layout:
    return accuracies(results, _PAPER, "cifar10")


STUDY = Trials(
    title="Aggregation without attention",
    paper=f"{AUTHORS}, Table 1",
    seeds={"smoke": 1, "small": 1, "full": 3},
    trials=_trials,
    present=_present,
)
