"""Table 4: how many queries fool a classifier, and how often."""

from typing import Any

from scipy import stats

from quire.train.classify.attack import Queried
from quire.train.report.grid import Grid
from quire.train.report.intervals import interval
from quire.train.report.page import Table
from quire.train.studies.attacked import BANDITS, SIMBA, SURE, Measured
from quire.train.studies.mbsg.queries import (
    first_seed,
    remarks,
    trials,
)
from quire.train.studies.mbsg.setting import BASELINE, VARIANTS
from quire.train.studies.study import Layout
from quire.train.studies.trials import Results, Trials

_NUMBERS = ("mean", "median", "success (%)")
_PAPER = {  # mean, median and success of SimBA, and of Bandits-TD
    BASELINE: (357.31, 302, 100.00, 564.22, 524, 87.93),
    "MBSG (concat)": (508.53, 388, 99.79, 768.86, 620, 87.77),
    "MBSG (sum)": (520.46, 394, 99.89, 708.55, 638, 87.74),
    "MBSG (dropfeat)": (572.15, 387, 99.68, 787.69, 659, 87.66),
    "Attn-MBSG (concat)": (415.11, 342, 99.89, 613.15, 574, 87.92),
    "Attn-MBSG (sum)": (358.88, 319, 100.00, 558.31, 542, 87.94),
    "Attn-MBSG (dropfeat)": (392.19, 338, 99.79, 590.17, 580, 87.84),
}
_HEADINGS = (
    *("model", "attack", "fooled", "success, 95 %", "mean, 95 %", "median, 95 %"),
    *("mean l2", "mean linf"),
)
_ENOUGH = 6
_NOTHING = "\N{EN DASH}"


def _present(results: Results[Measured]) -> Layout:
    values: dict[tuple[str, str], list[float]] = {}
    for row, column in results.attempts:
        for seed in results.measured((row, column)):
            for one in seed:
                numbers = (one.found.mean("queries"), one.found.median_queries, one.found.success)
                for name, number in zip(_NUMBERS, numbers, strict=True):
                    if number == number:  # of none that was fooled there is no mean
                        values.setdefault((row, f"{one.name} {name}"), []).append(number)
    columns = tuple(f"{attack} {name}" for attack in (SIMBA, BANDITS, SURE) for name in _NUMBERS)
    paper = {
        (row, column): number
        for row, numbers in _PAPER.items()
        for column, number in zip(columns[: len(numbers)], numbers, strict=True)
    }
    grid = Grid(
        title="queries until an image is fooled, and how many are",
        values=values,
        rows=tuple(VARIANTS),
        columns=columns,
        paper=paper,
    )
    table = Table(
        rows=tuple(
            (model, attack, *_spread(one)) for (model, attack), one in first_seed(results).items()
        ),
        headings=_HEADINGS,
        caption="the first seed: intervals over images",
    )
    return Layout(grids=(grid,), tables={"intervals": table}, notes=remarks(results))


def _spread(one: Queried) -> tuple[str, ...]:
    """What the images of a model say of its numbers: 95 % intervals of each."""
    count, counts = len(one.fooled), [image.queries for image in one.fooled]
    low, high = stats.binomtest(count, one.attacked).proportion_ci(method="wilson")
    mean = median = _NOTHING
    if counts:
        mean = f"{interval(counts):.1f}"
    if count >= _ENOUGH:  # of fewer, no two order statistics hold the median so often
        bounds: Any = stats.quantile_test(counts, q=0, p=0.5).confidence_interval(0.95)
        median = f"{bounds.low:g} to {bounds.high:g}"
    return (
        f"{count} of {one.attacked}",
        f"{100 * low:.1f} to {100 * high:.1f} %",
        mean,
        median,
        *(f"{one.mean(name):.3f}" if counts else _NOTHING for name in ("l2", "linf")),
    )


STUDY = Trials(
    title="Attacks by queries",
    paper="Mondal, Jain & Siddiqi 2021, Table 4",
    seeds={"smoke": 1, "small": 1, "full": 1},
    trials=trials,
    present=_present,
)
