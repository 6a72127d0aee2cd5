"""Table 4 and Figure 3: what is attacked, how near Bandits-TD stays, and what is shown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quire.train.classify.attack import Image, Queried, Queries
from quire.train.report.plots.histogram import Histogram
from quire.train.studies.attacked import BANDITS, SIMBA, SURE, Attacked
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.mbsg import queries, table4
from quire.train.studies.mbsg.queries import EFFORTS
from quire.train.studies.run import conduct
from tests.train.studies.places import place_in, rows_of

IMAGE = Image(attack="bandits", row=0, correct=True, fooled=False, queries=2, l2=0, linf=0)


@pytest.mark.slow
def test_the_table_and_the_figure_are_of_the_same_attacks(out: Path) -> None:
    said: list[str] = []
    table = conduct("mbsg-table4", STUDIES["mbsg-table4"], "smoke", place_in(out, said))
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/evaluations/*/*")}
    figure = conduct("mbsg-figure3", STUDIES["mbsg-figure3"], "smoke", place_in(out, said))
    after = {path: path.stat().st_mtime_ns for path in before}
    assert before == after  # nothing was asked again
    measured = rows_of(out / "mbsg-table4-smoke/measured.csv")
    assert {(line["row"], line["attack"]) for line in measured} == {
        (model, attack) for model in queries.MODELS["smoke"] for attack in (SIMBA, SURE, BANDITS)
    }
    (grid,) = table.grids
    for line in measured:
        counts = [int(count) for count in line["queries"].split()]
        assert len(counts) == int(line["fooled"]) <= int(line["attacked"]) <= 20
        numbers = {
            "success (%)": 100 * len(counts) / int(line["attacked"]),
            "mean": float(np.mean(counts)),
            "median": float(np.median(counts)),
        }
        for number, value in numbers.items():
            (shown,) = grid.values[line["row"], f"{line['attack']} {number}"]
            assert shown == pytest.approx(value)
    assert len({line["epsilon"] for line in measured}) == 1
    panels = figure.figures[0].panels
    assert len(panels) == 2 and all(isinstance(panel, Histogram) for panel in panels)
    assert (out / "mbsg-figure3-smoke/figure.png").stat().st_size > 1000
    assert any("stays within" in note for note in table.notes)


def test_epsilon_is_the_one_whose_success_is_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Success grows with epsilon; here it is the logistic function of it."""
    (trial, *_) = queries.trials("full")
    asked: list[Queries] = []

    def found(self: object, run: object, data: object, test: object, how: Queries, place: object):  # type: ignore[no-untyped-def]
        asked.append(how)
        success = 1000 / (1 + np.exp(-60 * (how.bandits.value("epsilon") - 0.05)))
        images = [replace(IMAGE, row=row, fooled=row < success) for row in range(1000)]
        return [Queried("bandits", tuple(images))]

    monkeypatch.setattr(Attacked, "_found", found)
    epsilon, tried = trial._epsilon(*[None] * 4)  # type: ignore[arg-type]
    assert epsilon == pytest.approx(0.05 + np.log(0.88 / 0.12) / 60, abs=0.2 / 2**7)
    assert tried == pytest.approx(88, abs=2)
    assert len(asked) == EFFORTS["full"].halvings
    how = asked[0]
    assert (how.skip, how.images) == (1000, 100) and how.attacks == ("bandits",)


def test_a_model_that_nothing_fools_has_intervals_too() -> None:
    nothing = table4._spread(Queried("simba", (IMAGE,) * 10))
    assert nothing == ("0 of 10", "0.0 to 27.8 %", *["\N{EN DASH}"] * 4)
    fooled = [replace(IMAGE, fooled=True, queries=count, l2=0.5) for count in range(1, 10)]
    some = table4._spread(Queried("simba", (IMAGE, *fooled)))
    assert some[0] == "9 of 10" and some[2].startswith("5.0 ± ") and some[3] == "2 to 8"
    assert some[4] == "0.500"
