"""The commands that train: `quire train`, `quire evaluate`, `quire study`.

They are apart from the door because their options are made from records that torch comes with.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional

from artifacts.errors import RunError
from train.classifier_run import Classify
from train.classify import train
from train.evaluate import Evaluate, Measured, evaluate
from train.metrics import read_metrics
from train.running import Report, Running
from train.studies.catalogue import STUDIES
from train.studies.conduct import conduct
from train.studies.grid import Grid, as_csv, as_text
from train.studies.study import Place, Scale

Bar: TypeAlias = Callable[[str], AbstractContextManager[Report | None]]  # a progress bar, by unit


def train_commands(bar: Bar) -> dict[str, Callable[..., int]]:
    """A command for each method of training."""

    def classify(
        data: str,
        out: Path,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        config: Annotated[Classify, OmitArgPrefixes],
    ) -> int:
        with bar("steps") as report:
            new = train(config, data, out, running=running, report=report)
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"{out}: {'trained' if new else 'was trained before'}; {_summary(out)}")
        return 0

    classify.__doc__ = f"""{Classify.__doc__}

    Args:
        data: The bundle to train on: a folder, or an address.
        out: The run's folder. One in which the same run was stopped is taken up again.
    """
    return {Classify.method: classify}


def evaluate_command(bar: Bar) -> Callable[..., int]:
    """The command that measures runs."""

    def command(
        runs: Positional[tuple[Path, ...]],
        data: str,
        how: Annotated[Evaluate, OmitArgPrefixes],
        context: str | None = None,
        device: str | None = None,
        csv: Path | None = None,
    ) -> int:
        """Measure trained classifiers on every cell of a bundle, with intervals over runs.

        Args:
            runs: Folders of finished runs: the seeds of one configuration.
            data: The bundle: a folder, or an address.
            context: The bundle that the runs were trained on; default: where it was then.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
            csv: Write the table to this file too.
        """
        if not runs:
            raise RunError("no run is named")
        found = {}
        with bar("images") as report:
            for run in runs:
                found[run] = evaluate(
                    run, data, how=how, context=context, device=device, report=report
                )
        grid = table(data, found)
        print(as_text(grid))
        if csv:
            csv.write_text(as_csv(grid), "utf-8")
        return 0

    return command


def table(data: str, found: Mapping[Path, list[Measured]]) -> Grid:
    """Accuracy in each cell of a bundle and each setting, over runs."""
    values: dict[tuple[str, str], list[float]] = {}
    for run in found.values():
        for one in run:
            cell = f"{one.corruption} {one.severity:g}" if one.severity else one.corruption
            values.setdefault((cell, one.setting), []).append(one.accuracy)
    images = {one.images for run in found.values() for one in run}
    counts = f"{min(images):,}" if len(images) == 1 else f"{min(images):,} to {max(images):,}"
    return Grid(
        title=f"accuracy (%) on {data}, {counts} images a cell",
        values=values,
        rows=tuple(dict.fromkeys(row for row, _ in values)),
        columns=tuple(dict.fromkeys(column for _, column in values)),
        corner="cell",
    )


def study_command(bar: Bar) -> Callable[..., int]:
    """The command that carries out studies."""

    def command(
        name: Any,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        scale: Scale = "smoke",
        sources: tuple[str, ...] = (),
        out: Path = Path("out/studies"),
        seeds: int | None = None,
    ) -> int:
        """Carry out a study: a table or a figure of a paper, ours beside the paper's numbers.

        Bundles and runs that are there are used again, also by other studies.

        Args:
            name: Which one.
            scale: smoke: embedded digits, seconds. small: real data, for a CPU. full: the paper's
                setting, for a GPU.
            sources: Where datasets are: KIND:PATH, or NAME=KIND:PATH where a study calls it NAME.
            out: Where bundles, runs and results go.
            seeds: Runs of each model; default: as many as the study says.
        """
        place = Place(out=out, sources=named(sources), running=running, say=print)
        with bar("steps") as report:
            place = replace(place, report=report)
            layout = conduct(name, STUDIES[name], scale, place, seeds=seeds)
        print(*map(as_text, layout.grids), *layout.notes, sep="\n\n")
        print(f"\nwritten: {out / f'{name}-{scale}'}")
        return 0

    literal: Any = Literal
    command.__annotations__["name"] = Positional[literal[tuple(STUDIES)]]  # type: ignore[misc]
    return command


def named(sources: tuple[str, ...]) -> dict[str, str]:
    """Sources by the name of their dataset.

    >>> named(("cifar10:/data", "mit67=folder:/scenes?size=64"))
    {'cifar10': 'cifar10:/data', 'mit67': 'folder:/scenes?size=64'}

    Raises:
        RunError: one is not KIND:PATH or NAME=KIND:PATH.
    """
    found = {}
    for source in sources:
        head, colon, _ = source.partition(":")
        name, equals, kind = head.partition("=")
        if not colon or not name or (equals and not kind):
            raise RunError(f"the source {source!r} is not KIND:PATH or NAME=KIND:PATH")
        found[name] = source.removeprefix(f"{name}=")
    return found


def _summary(run: Path) -> str:
    """What the last epoch of a run says of itself."""
    lines = [line for line in read_metrics(run) if "train_accuracy" in line]
    if not lines:
        return "no metrics"
    last = lines[-1]
    return (
        f"{last['step']:,} steps, {last['train_accuracy']:.2f} % of the last epoch's images"
        f" classified correctly, {last['images_per_second']:,.0f} images a second"
    )
