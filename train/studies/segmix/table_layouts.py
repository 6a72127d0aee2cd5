"""The two kinds of tables of SegMix: of all scenes with every trunk, and of subsets with one."""

from collections.abc import Callable, Mapping, Sequence

from quire.train.studies.segmix.network import Ious, Network, Networks
from quire.train.studies.segmix.setting import (
    AUTHORS,
    LITE,
    METHODS,
    RES101,
    SEEDS,
    SETTINGS,
    SMALL,
    Method,
    networks,
    trunks_of,
)
from quire.train.studies.segmix.tables import Column, notes, table
from quire.train.studies.study import Layout, Scale


def by_trunk(
    title: str,
    number: str,
    *,
    methods: Mapping[str, Method],
    trunks: Sequence[str],
    paper: Mapping[str, Sequence[float]],
) -> Networks:
    """The study of a table with a trunk in each column; the paper has a number for each of them."""

    def trials(scale: Scale) -> list[Network]:
        return networks(SETTINGS[scale], methods, trunks_of(scale, trunks))

    def present(results: Ious) -> Layout:
        columns = {trunk: Column(of=trunk) for trunk in (*trunks, LITE, SMALL)}
        grid = table(results, "mean IoU (%) on the val split", methods, columns, paper)
        return Layout(grids=(grid,), notes=notes(results))

    return _study(title, number, trials, present)


def on_subsets(title: str, number: str, layout: Callable[[Ious, str], Layout]) -> Networks:
    """The study of a table or a figure with a subset in each column, of the deepest trunk alone.

    `layout` is given what was measured, and the trunk's column of it.
    """

    def trials(scale: Scale) -> list[Network]:
        return networks(SETTINGS[scale], METHODS, trunks_of(scale, (RES101,)))

    def present(results: Ious) -> Layout:
        (trunk,) = trunks_of(results.scale, (RES101,))
        return layout(results, trunk)

    return _study(title, number, trials, present)


def _study(
    title: str,
    number: str,
    trials: Callable[[Scale], Sequence[Network]],
    present: Callable[[Ious], Layout],
) -> Networks:
    return Networks(
        title=title,
        paper=f"{AUTHORS}, {number}",
        seeds=SEEDS,
        trials=trials,
        present=present,
    )
