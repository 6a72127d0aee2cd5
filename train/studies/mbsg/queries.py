"""What Table 4 and Figure 3 share: which classifiers are attacked, and how hard.

The paper names no epsilon for Bandits-TD; its own success, 88 %, is what ours is chosen by.

At full scale seven models are asked some 3 million times by SimBA and 12 million times by
Bandits-TD, two thirds of these about the one image in eight that it never fools (by the paper's
numbers), and looked at once more after each of its steps. `asked` in measured.csv is what it was.
Two cores of a server give 29 answers a second of ResNet-50 in float32, so 15 million take six days
there, beside months of training: it is for GPUs, on which no rate has been measured yet.
"""

from collections.abc import Mapping, Sequence

from quire.train.classify.attack import Queried
from quire.train.studies.attacked import WANTED, Attacked, Effort, Measured
from quire.train.studies.mbsg.setting import BASELINE, DROPFEAT, VARIANTS, clean, notes, setting
from quire.train.studies.study import Scale
from quire.train.studies.trials import Results

COLUMN = "queries"
MODELS: Mapping[Scale, Sequence[str]] = {
    "smoke": (BASELINE, DROPFEAT[0]),
    "small": (BASELINE, *DROPFEAT),
    "full": tuple(VARIANTS),
}
EFFORTS: Mapping[Scale, Effort] = {
    "smoke": Effort(images=20, directions=64, queries=60, tried_on=10, halvings=3, at_once=20),
    "small": Effort(images=50, directions=300, queries=600, tried_on=20, halvings=4, at_once=25),
    "full": Effort(
        images=1000, directions=None, queries=10_000, tried_on=100, halvings=8, at_once=256
    ),
}


def trials(scale: Scale) -> list[Attacked]:
    """The models that are attacked at a scale."""
    return [
        Attacked(
            row=name,
            column=COLUMN,
            config=setting(scale, VARIANTS[name]),
            baseline=setting(scale, None),
            data=clean(scale, "train"),
            test=clean(scale, "test"),
            effort=EFFORTS[scale],
        )
        for name in MODELS[scale]
    ]


def first_seed(results: Results[Measured]) -> dict[tuple[str, str], Queried]:
    """What each attack did to each model of the first seed."""
    found = {}
    for (row, _), attempts in results.attempts.items():
        for one in attempts[0].measured if attempts else ():
            found[row, one.name] = one.found
    return found


def remarks(results: Results[Measured]) -> tuple[str, ...]:
    """What has to be known of the numbers."""
    effort = EFFORTS[results.scale]
    every = [one for cell in results.attempts for seed in results.measured(cell) for one in seed]
    chosen = (
        f"Bandits-TD stays within {every[0].epsilon:g} in l-infinity, which fooled"
        f" {every[0].tried:.1f} % of the baseline on {effort.tried_on} other test images (the paper"
        f" names no number; its own success is {WANTED:g} %)."
    )
    tried = "all" if effort.directions is None else f"at most {effort.directions:,}"
    asked = (
        f"Of {effort.images:,} test images, the same for all models, those that a model has right"
        f" are attacked: by SimBA along {tried} of the cosines, by Bandits-TD within"
        f" {effort.queries:,} queries. Counts are over successes. A graph has one query among"
        " training images, always the same, as many as fill a batch."
    )
    few = "With few images and small budgets no order of models is shown: see the intervals."
    small = () if results.scale == "full" else (few,)
    return (asked, chosen, *small, *notes(results.scale))
