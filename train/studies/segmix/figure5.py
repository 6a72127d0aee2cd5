"""Figure 5: mean IoU on scenes with classes that seldom meet, by how seldom they do."""

from collections.abc import Mapping

from quire.train.report.grid import Grid
from quire.train.report.plots.curves import Curve, Curves
from quire.train.studies.segmix.network import Ious
from quire.train.studies.segmix.setting import METHODS, SETTINGS
from quire.train.studies.segmix.table_layouts import on_subsets
from quire.train.studies.segmix.tables import both_means, notes, scenes_table
from quire.train.studies.study import Figure, Layout


def _layout(results: Ious, trunk: str) -> Layout:
    thresholds = {f"below-{one}": one for one in SETTINGS[results.scale].subsets.thresholds}
    grids = both_means(results, METHODS, trunk, tuple(thresholds))
    figure = Figure(name="figure", panels=(_curves(grids[0], thresholds),), columns=1)
    counts = scenes_table(results, tuple(thresholds))
    return Layout(
        grids=grids,
        tables={"scenes": counts},
        figures=(figure,),
        notes=(*notes(results), _PAPER),
    )


def _curves(grid: Grid, thresholds: Mapping[str, int]) -> Curves:
    curves = tuple(
        Curve(
            label=row,
            x=tuple(float(thresholds[name]) for name in grid.columns),
            values=tuple(tuple(grid.values.get((row, name), ())) for name in grid.columns),
        )
        for row in grid.rows
    )
    return Curves(
        title="Scenes with two classes that seldom meet",
        x_label="together in fewer training masks than",
        y_label="mean IoU (%) of the classes that occur",
        curves=curves,
    )


_PAPER = (
    "The paper prints no numbers: its feature binding is above the baseline at every threshold,"
    " Binding-CM a little above Binding-CC, and its Mixup comes near them at some."
)

STUDY = on_subsets("Classes that seldom meet", "Figure 5", _layout)
