"""`quire attack`: a command for each method of training whose runs can be attacked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from quire.artifacts.address import Location
from quire.train.classify.attack import Queried, Queries
from quire.train.classify.attack import attack as attack_classifier
from quire.train.classify.run import Classify
from quire.train.commands.bundle_option import BundleOption
from quire.train.commands.of_run import with_kind
from quire.train.engine.options import Bar
from quire.train.engine.runs import read_run
from quire.train.report.grid import Grid, as_text
from quire.train.report.intervals import csv_text
from quire.train.sparse.attack import attack, columns
from quire.train.sparse.attack_catalogue import Attack
from quire.train.sparse.loading import KINDS
from quire.train.sparse.overview import attacked_grid
from quire.train.sparse.table import as_lines

_CLASSIFIER, _NETWORKS = "classifier", "networks"


def attack_commands(bar: Bar) -> dict[str, Callable[..., int]]:
    """The commands by what is attacked."""

    def networks(
        run: Positional[Path],
        data: BundleOption,
        how: Annotated[Attack, OmitArgPrefixes, FlagCreatePairsOff],
        device: str | None = None,
        csv: Path | None = None,
    ) -> int:
        """Attack trained sparse networks: how often and how easily they are fooled.

        The measures of Ben Amor, Stier & Granitzer, with intervals over networks. What is known is
        not measured again, and an attack that was stopped goes on.

        Args:
            run: The folder of a finished run of sparse networks.
            data: The bundle whose images are attacked: a folder, or an address.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
            csv: Write a line for each network to this file.
        """
        with bar("images") as report:
            rows = attack(run, data, how=how, device=device, report=report)
        if csv:
            csv.write_text(as_lines(rows, columns(how)), "utf-8")
        print(as_text(attacked_grid(data, rows, how, KINDS[read_run(run).method])))
        return 0

    def classifier(
        run: Positional[Path],
        data: BundleOption,
        how: Annotated[Queries, arg(name="")],
        context: BundleOption | None = None,
        anchors: BundleOption | None = None,
        device: str | None = None,
        csv: Path | None = None,
    ) -> int:
        """Attack a trained classifier by queries alone: how many fool it, and how often.

        SimBA (Guo et al. 2019) and Bandits-TD (Ilyas, Engstrom & Madry 2019), as Mondal, Jain &
        Siddiqi 2021 report them: success over the images that the classifier has right, queries
        over the successes. What is known is not asked again; one that was stopped goes on.

        Args:
            run: The folder of a finished run of a classifier.
            data: The bundle whose images are attacked: a folder, or an address.
            context: The bundle that the run was trained on, of which a similarity graph sees some
                images beside each query; default: where it was then.
            anchors: The bundle of anchors that the run had, if any; default: where it was then.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
            csv: Write a line for each image to this file.
        """
        with bar("images") as report:
            found = attack_classifier(
                *(run, data),
                how=how,
                context=context,
                anchors=anchors,
                device=device,
                report=report,
            )
        if csv:
            csv.write_text(_lines(found), "utf-8")
        print(as_text(_grid(data, found)))
        return 0

    return {_CLASSIFIER: classifier, _NETWORKS: networks}


def attack_arguments(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with what is attacked, which a run's folder tells, before them.

    Raises:
        RunError: no run is named first, or runs of its method are not attacked.
    """
    kinds: Mapping[str, str] = {Classify.method: _CLASSIFIER, **dict.fromkeys(KINDS, _NETWORKS)}
    return with_kind(arguments, kinds, "runs of {method} are not attacked")


def _grid(data: str, found: Sequence[Queried]) -> Grid:
    values: dict[tuple[str, str], tuple[float, ...]] = {}
    for one in found:
        numbers = {
            "attacked": one.attacked,
            "success (%)": one.success,
            "mean queries": one.mean("queries"),
            "median queries": one.median_queries,
            "mean l2": one.mean("l2"),
            "mean linf": one.mean("linf"),
        }
        values |= {(one.attack, name): (n,) for name, n in numbers.items() if n == n}
    return Grid(
        title=f"attacked by queries on {Location(data)}, {len(found[0].images):,} images",
        values=values,
        rows=tuple(one.attack for one in found),
        columns=tuple(dict.fromkeys(name for _, name in values)),
        corner="attack",
    )


def _lines(found: Sequence[Queried]) -> str:
    lines = [asdict(image) for one in found for image in one.images]
    return csv_text([[*lines[0]], *([str(value) for value in line.values()] for line in lines)])
