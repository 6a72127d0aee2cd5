"""Figure 3, and 4, 10 and 11 of the earlier version: how many queries fool how many images.

A panel is an attack on a model, beside the baseline. A dashed line is at the median, a dotted one
at the mean (of all that were fooled, whatever the axis shows).
"""

from quire.train.classify.attack import Queried
from quire.train.report.plots.histogram import Histogram
from quire.train.studies.attacked import BANDITS, SIMBA, Measured
from quire.train.studies.mbsg.queries import (
    EFFORTS,
    MODELS,
    first_seed,
    remarks,
    trials,
)
from quire.train.studies.mbsg.setting import BASELINE
from quire.train.studies.study import Figure, Layout
from quire.train.studies.trials import Results, Trials

_END = 3000  # queries that the paper's axis ends at
_BARS, _FEW = 50, 20  # of 60 queries each, which the paper does not say; and where it ends earlier


def _present(results: Results[Measured]) -> Layout:
    found, models = first_seed(results), MODELS[results.scale][1:]
    panels = tuple(
        _panel(results, attack, model, found)
        for attack in (SIMBA, BANDITS)
        for model in models
        if (model, attack) in found and (BASELINE, attack) in found
    )
    beyond = sum(
        image.queries > _END
        for (_, attack), one in found.items()
        if attack in (SIMBA, BANDITS)
        for image in one.fooled
    )
    figure = Figure(name="figure", panels=panels, columns=max(1, len(models)))
    cut = f"Of all successes, {beyond} took more than {_END:,} queries, where the axis ends."
    return Layout(figures=(figure,), notes=(cut, *remarks(results)))


def _panel(
    results: Results[Measured], attack: str, model: str, found: dict[tuple[str, str], Queried]
) -> Histogram:
    effort = EFFORTS[results.scale]
    longest = 2 * (effort.directions or _END) if attack == SIMBA else effort.queries
    end = min(_END, longest)
    return Histogram(
        title=f"{attack}, {model}",
        x_label="queries",
        y_label="images fooled",
        groups={
            name: [image.queries for image in found[name, attack].fooled]
            for name in (BASELINE, model)
        },
        bins=_BARS if end == _END else _FEW,
        limits=(0, end),
        centres=True,
    )


STUDY = Trials(
    title="Queries until an image is fooled",
    paper="Mondal, Jain & Siddiqi 2021, Figure 3",
    seeds={"smoke": 1, "small": 1, "full": 1},
    trials=trials,
    present=_present,
)
