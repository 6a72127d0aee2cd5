"""The ablations: which trainings they are, and which cells are the same run."""

from pathlib import Path

from quire.models.similarity_graph import GraphConfig
from quire.train.classify.evaluate import Measured
from quire.train.classify.run import recorded
from quire.train.studies.mbsg import ablations, table1
from quire.train.studies.study import Scale
from quire.train.studies.trials import Attempt, Results

FULL: Scale = "full"


def test_they_are_fifteen_new_trainings() -> None:
    ours = [str(recorded(trial.config)) for trial in ablations.STUDY.trials(FULL)]
    there = {str(recorded(t.config)) for t in table1.STUDY.trials(FULL) if t.column == "cifar10"}
    assert len({*ours} - there) == 15
    assert len({*ours} & there) == 4  # both sums of beta = .5, both of dropped features
    assert len(ours) == 15 + 4 + 1  # N = 3 is also p = .5


def test_cells_without_a_draw_are_the_run_of_a_sum() -> None:
    cells = [(trial.row, trial.column) for trial in ablations.STUDY.trials(FULL)]
    attempts: dict[tuple[str, str], list[Attempt[Measured]]] = {
        cell: [Attempt(run=Path(f"{number}"), measured=[], lines=[])]
        for number, cell in enumerate(cells)
    }
    layout = ablations._present(Results(scale=FULL, attempts=attempts, tests={}))
    assert [grid.columns for grid in layout.grids][2] == ("p=0", "p=0.25", "p=0.5", "p=0.75", "p=1")
    for row, summed in ablations._SUMS.items():
        assert ablations._trial_of(row, 0) == (summed, "beta=0")
        assert ablations._trial_of(row, 1) == (summed, "beta=1")
        assert ablations._trial_of(row, 0.5) == (row, "p=0.5")
    assert all(
        ablations._trial_of(row, p) in cells for row in ablations._SUMS for p in (0, 0.25, 1)
    )


def test_a_graph_is_varied_in_one_field() -> None:
    for trial in ablations.STUDY.trials(FULL):
        name, value = trial.column.split("=")
        field = {"N": "heads", "beta": "beta", "p": "p"}[name]
        assert getattr(trial.config.graph, field) == float(value)
        assert trial.config.graph.k == GraphConfig().k == 16
