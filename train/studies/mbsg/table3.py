"""Table 3: accuracy on CIFAR-10 by batch size, with k = 16.

The paper does not say which learning rate goes with which batch size. Ours is in proportion to it
(Goyal et al. 2017), with a warm-up above 256, as in the code that the authors reproduce.
"""

from dataclasses import replace

from quire.train.classify.run import Classify
from quire.train.studies.classifiers import Accuracies, Classifier
from quire.train.studies.mbsg.setting import DROPFEAT, VARIANTS, ablation, ablation_trial, setting
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials

_PAPER = {
    "MBSG (dropfeat)": (94.34, 94.88, 95.10, 95.24, 95.28),
    "Attn-MBSG (dropfeat)": (94.38, 94.82, 94.95, 95.05, 95.12),
}
_SIZES = (32, 64, 128, 256, 512)


def _trials(scale: Scale) -> list[Classifier]:
    return [
        ablation_trial(scale, row, f"B={size}", _config(scale, row, size))
        for row in DROPFEAT
        for size in ((32, 512) if scale == "smoke" else _SIZES)
    ]


def _config(scale: Scale, row: str, size: int) -> Classify:
    config = setting(scale, VARIANTS[row])
    return replace(
        config,
        batch_size=size,
        lr=config.lr * size / config.batch_size,
        warmup=0.02 if size > 256 else 0.0,
    )


def _present(results: Accuracies) -> Layout:
    title = "accuracy (%) by batch size, inductive"
    return ablation(results, title, _PAPER, *(f"B={size}" for size in _SIZES))


STUDY = Trials(
    title="Size of a batch",
    paper="Mondal, Jain & Siddiqi 2021, Table 3",
    seeds={"smoke": 1, "small": 1, "full": 5},
    trials=_trials,
    present=_present,
)
