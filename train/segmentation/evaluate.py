"""What a run of segmentation reaches on a bundle, and on the parts of it that a paper looks at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.address import Location
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.subset_table import SubsetTable, read_subsets
from quire.loaders.stream import Stream, stream
from quire.train.engine.options import Report
from quire.train.report.grid import Grid
from quire.train.segmentation.measure import Measure, Measured, count

ALL = "all"
CLEAN = "none"  # what stands for no perturbation

Rows = NDArray[np.int64]


def evaluate_segmentation(
    folder: Path,
    data: str,
    *,
    how: Measure | None = None,
    subsets: str | Path | Mapping[str, Sequence[int]] | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> dict[str, list[Measured]]:
    """Measure a finished run on a bundle of scenes and on subsets of it; each answer by itself.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address.
        how: which part of the scenes is looked at, and of how many.
        subsets: the bundle of subsets of the same split, or rows of `data` by a name.
        device: a GPU where there is one, unless it is named.
        report: called with the scenes that are done, and their number.

    Returns:
        For "all" and every subset that is not empty, what each answer reaches.

    Raises:
        RunError: see `quire.train.segmentation.measure.count`; or the subsets are of other scenes.
        BundleError: a bundle is damaged.
    """
    data = Location(data)
    how = how or Measure()
    named: Mapping[str, Sequence[int] | Rows] = {}
    if isinstance(subsets, str | Path):
        named = rows_of_subsets(read_subsets(open_bundle(subsets)), stream(data, columns=()), data)
    elif subsets is not None:
        named = subsets
    counted = count(folder, data, how=how, device=device, report=report)
    found = {ALL: counted.over()}
    for name, rows in named.items():
        if how.images is not None:
            rows = np.intersect1d(np.asarray(rows, np.int64), counted.rows.numpy())
        if len(rows):
            found[name] = counted.over(rows)
    return found


def rows_of_subsets(table: SubsetTable, scenes: Stream, data: str) -> dict[str, Rows]:
    """The rows of a bundle that are in each subset, rising; scenes are known by their names.

    Raises:
        RunError: a scene of a subset is not in the bundle.
    """
    keys = scenes.index.rows.keys
    rows = {key.decode(): row for row, key in enumerate(keys.tolist())}
    found = {}
    for name, subset in table.subsets.items():
        wanted = [table.ids[row] for row in subset.rows]
        if lacking := next((one for one in wanted if one not in rows), None):
            raise RunError(f"{data} has no scene {lacking}, which is in the subset {name}")
        found[name] = np.sort(np.array([rows[one] for one in wanted], np.int64))
    return found


def subset_grid(data: str, runs: Sequence[Mapping[str, Sequence[Measured]]]) -> Grid:
    """Mean IoU of every subset and answer, over runs, in percent.

    An answer's second column is a mean over classes that occur alone, which in a small subset is
    another number: there a class that was predicted once, where it is not, counts as 0.
    """
    values: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for name, answers in run.items():
            for one in answers:
                row = f"{name} ({one.scenes:,})"
                values.setdefault((row, one.answer), []).append(100 * one.mean_iou)
                occurring = f"{one.answer}, occurring"
                values.setdefault((row, occurring), []).append(100 * one.occurring_iou)
    return _grid(f"mean IoU (%) on {data}", values, "scenes")


def perturbation_grid(data: str, found: Mapping[str, Sequence[Sequence[Measured]]]) -> Grid:
    """Mean IoU under each perturbation and the pixels that it changes, over runs, in percent."""
    values: dict[tuple[str, str], list[float]] = {}
    for name, runs in found.items():
        for run in runs:
            for one in run:
                values.setdefault((name, one.answer), []).append(100 * one.mean_iou)
                if one.flipped is not None:
                    changed = name, f"{one.answer}, flipped"
                    values.setdefault(changed, []).append(100 * one.flipped)
    return _grid(f"mean IoU (%) on {data}, and pixels of another class", values, "perturbation")


def class_grid(
    data: str, classes: Sequence[str], runs: Sequence[Mapping[str, Sequence[Measured]]]
) -> Grid:
    """IoU of every class over all scenes, for each answer, over runs, in percent."""
    values: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for one in run[ALL]:
            for name, own in zip(classes, one.classes, strict=True):
                if own == own:  # a class that neither occurs nor was predicted has none
                    values.setdefault((name, one.answer), []).append(100 * own)
    return _grid(f"IoU of each class (%) on {data}", values, "class")


def _grid(title: str, values: Mapping[tuple[str, str], list[float]], corner: str) -> Grid:
    return Grid(
        title=title,
        values=values,
        rows=tuple(dict.fromkeys(row for row, _ in values)),
        columns=tuple(dict.fromkeys(column for _, column in values)),
        corner=corner,
    )
