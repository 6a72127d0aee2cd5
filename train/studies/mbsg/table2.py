"""Table 2: accuracy on CIFAR-10 by the number of neighbours k.

k = 256 of a batch of 256 means all others, 255: a node is no neighbour of its own.
"""

from dataclasses import replace

from quire.models.similarity_graph import GraphConfig
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.mbsg.setting import DROPFEAT, VARIANTS, ablation, ablation_trial, setting
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials

_PAPER = {
    "MBSG (dropfeat)": (94.44, 94.91, 95.10, 95.24, 95.22, 95.02, 94.11, 92.88),
    "Attn-MBSG (dropfeat)": (94.30, 94.79, 94.88, 95.05, 94.97, 94.90, 94.43, 93.52),
}
_K = (0, 4, 8, 16, 32, 64, 128, 256)


def _trials(scale: Scale) -> list[Classifier]:
    return [
        ablation_trial(scale, row, f"k={k}", setting(scale, _graph(row, k)))
        for row in DROPFEAT
        for k in ((0, 16, 256) if scale == "smoke" else _K)
    ]


def _graph(row: str, k: int) -> GraphConfig:
    return replace(VARIANTS[row] or GraphConfig(), k=k)


def _present(results: Accuracies) -> Layout:
    title = "accuracy (%) by number of neighbours, inductive"
    return ablation(results, title, _PAPER, *(f"k={k}" for k in _K))


STUDY = Trials(
    title="Neighbours of a node",
    paper="Mondal, Jain & Siddiqi 2021, Table 2",
    seeds={"smoke": 1, "small": 1, "full": 5},
    trials=_trials,
    present=_present,
)
