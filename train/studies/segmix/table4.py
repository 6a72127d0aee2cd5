"""Table 4: mean IoU where an object is with a person, and where it is alone.

The paper does not say over which classes its means are. These are over the classes that occur,
background included; the IoU of the object itself stands in a second table.
"""

from quire.builders.recipes.subsets import Subsets
from quire.train.engine.runs import read_run
from quire.train.studies.segmix.network import Ious, Part
from quire.train.studies.segmix.setting import BASELINE, CC, CM, CUTMIX, METHODS, MIXUP, SETTINGS
from quire.train.studies.segmix.table_layouts import on_subsets
from quire.train.studies.segmix.tables import Column, notes, occurring, scenes_table, table
from quire.train.studies.study import Layout

_PAPER = {
    BASELINE: (87.9, 81.6, 77.7, 89.7, 89.7, 90.9, 91.5, 60.4, 85.4, 96.0),
    MIXUP: (86.9, 82.8, 76.5, 87.6, 86.2, 92.5, 93.0, 60.0, 80.6, 95.5),
    CUTMIX: (86.2, 83.6, 76.0, 87.4, 87.9, 94.1, 93.8, 61.3, 82.6, 96.2),
    CC: (89.1, 87.2, 78.5, 86.9, 89.0, 94.0, 93.8, 61.5, 87.9, 96.4),
    CM: (89.9, 86.7, 79.3, 88.5, 89.2, 93.6, 95.1, 60.2, 88.2, 96.6),
}


def _layout(results: Ious, trunk: str) -> Layout:
    recipe = SETTINGS[results.scale].subsets
    objects = _objects(recipe)
    of_the_paper = recipe.partners == Subsets().partners
    (run, *_) = results.first_runs.values()
    ids = {name: number for number, name in enumerate(read_run(run).classes)}
    means = {name: Column(of=trunk, subset=name, part=occurring) for name in objects}
    own = {
        name: Column(of=trunk, subset=name, part=_of_class(ids[one]))
        for name, one in objects.items()
    }
    mean = "IoU (%), the mean over the classes that occur"
    grids = (
        table(results, mean, METHODS, means, _PAPER if of_the_paper else None),
        table(results, "IoU (%) of the object itself", METHODS, own),
    )
    counts = scenes_table(results, tuple(objects))
    return Layout(grids=grids, tables={"scenes": counts}, notes=notes(results))


def _objects(recipe: Subsets) -> dict[str, str]:
    """The subsets of the table, and the object of each."""
    both = {f"{recipe.companion}+{partner}": partner for partner in recipe.partners}
    return both | {f"only-{partner}": partner for partner in recipe.partners}


def _of_class(class_id: int) -> Part:
    return lambda measured: measured.classes[class_id]


STUDY = on_subsets(
    "Objects with and without the classes that they co-occur with", "Table 4", _layout
)
