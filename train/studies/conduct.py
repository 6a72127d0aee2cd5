"""How a study is carried out: build, train, measure, lay out. What is finished is used again.

bundles/…         every bundle that a study needed; studies share them
runs/…            every run, named after what decides it; studies share them too
NAME-SCALE/       table.csv and figure.csv (mean, intervals, and single seeds), figure.png,
                  measured.csv (every count), report.html
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from artifacts.digest import whole_file
from artifacts.errors import RunError
from builders.recipe import to_record
from builders.run import build
from builders.sources.catalogue import open_source
from train import runs
from train.classify import train
from train.evaluate import Measured, evaluate
from train.intervals import csv_text
from train.plots.curves import WIDTH, lines_csv, plot
from train.report import Picture, Section, write_page
from train.running import Report, Running
from train.studies.grid import as_csv, as_table
from train.studies.study import Bundled, Layout, Results, Scale, Study, Trial

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a study works, with what, and whom it tells."""

    out: Path
    sources: Mapping[str, str]  # KIND:PATH of each dataset that is there
    running: Running = dataclasses.field(default_factory=lambda: Running(tensorboard=False))
    say: Say = print
    report: Report | None = None


def conduct(
    name: str, study: Study, scale: Scale, place: Place, *, seeds: int | None = None
) -> Layout:
    """Carry out a study and write what came of it.

    Trials whose dataset is not at hand are left out, and said to be. All trials have their first
    seed before any has its second, so a study that is stopped has a table to show.

    Raises:
        RunError: no trial's dataset is at hand; or see `train.classify.train`.
        BundleError, BuildError, SourceError: a bundle or a source is not what it should be.
    """
    trials = study.trials(scale)
    ready = [trial for trial in trials if not missing(trial, place.sources)]
    lacking = sorted({data for trial in trials for data in missing(trial, place.sources)})
    if not ready:
        wanted = " ".join(f"--sources {dataset}:PATH" for dataset in lacking)
        raise RunError(f"{name} at scale {scale} reads data that is not at hand: {wanted}")
    if lacking:
        place.say(f"left out: what reads {', '.join(lacking)}, as no source of it is given")
    needed = dict.fromkeys(bundle for trial in ready for bundle in bundles_of(trial))
    folders = {bundle: built(bundle, place) for bundle in needed}
    measured: dict[tuple[str, str], list[list[Measured]]] = {}
    lines: list[tuple[str, ...]] = []
    for seed in range(seeds or study.seeds[scale]):
        for trial in ready:
            run, found = attempt(trial, seed, folders, place)
            measured.setdefault((trial.row, trial.column), []).append(found)
            lines += [_line(trial, seed, run, one) for one in found]
        layout = study.present(Results(scale=scale, measured=measured))
        write(place.out / f"{name}-{scale}", study, scale, layout, lines)
    return layout


def bundles_of(trial: Trial) -> tuple[Bundled, ...]:
    """Every bundle that a trial reads."""
    return trial.data, *(bundle for bundle, _ in trial.tests)


def missing(trial: Trial, sources: Mapping[str, str]) -> set[str]:
    """The datasets that a trial reads and that are not at hand."""
    read = {bundle.dataset for bundle in bundles_of(trial)}
    return {dataset for dataset in read if ":" not in dataset and dataset not in sources}


def built(bundled: Bundled, place: Place) -> Path:
    """The folder of a bundle; it is built where it is not there.

    Raises:
        BuildError: the folder holds the bundle of another source.
    """
    spec = place.sources.get(bundled.dataset, bundled.dataset)
    recipe = to_record(bundled.recipe)
    words = bundled.dataset.replace(":", ""), recipe["split"], _digest(recipe)
    folder = place.out / "bundles" / "-".join(words)
    source = open_source(spec, split=recipe["split"])
    build(bundled.recipe, source, folder, report=place.report)
    return folder


def attempt(
    trial: Trial, seed: int, folders: Mapping[Bundled, Path], place: Place
) -> tuple[str, list[Measured]]:
    """Train and measure one seed of a trial, as far as that was not done before. -> its run."""
    config = dataclasses.replace(trial.config, seed=seed)
    data = folders[trial.data]
    run = run_name(config, data)
    folder = place.out / "runs" / run
    begin = perf_counter()
    train(config, str(data), folder, running=place.running, report=place.report)
    measured = []
    for bundle, how in trial.tests:
        measured += evaluate(
            folder,
            str(folders[bundle]),
            how=how,
            context=str(data),
            device=place.running.device,
            report=place.report,
        )
    place.say(f"{trial.row}, {trial.column}, seed {seed}: {perf_counter() - begin:.1f} s")
    return run, measured


def run_name(config: Any, data: Path) -> str:
    """A run's folder, named after what decides it."""
    record = runs.to_record(config)
    words = [record["encoder"], record["head"], f"seed{record['seed']}"]
    return "-".join([*words, _digest([record, data.name])])


def _digest(record: Any) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]


def write(
    folder: Path, study: Study, scale: Scale, layout: Layout, lines: Sequence[tuple[str, ...]]
) -> None:
    """Write everything that a study shows, and every count behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"measured.csv": csv_text([_HEADING, *lines]).encode()}
    for number, grid in enumerate(layout.grids):
        files[f"table{number or ''}.csv"] = as_csv(grid).encode()
    section = section_of(f"{study.paper}, at scale {scale}", layout)
    if layout.panels:
        files["figure.csv"] = lines_csv(layout.panels).encode()
        files["figure.png"] = section.pictures[0].png
    for name, data in files.items():
        with whole_file(folder / name) as file:
            file.write(data)
    write_page(folder / "report.html", study.title, [section])


def section_of(heading: str, layout: Layout) -> Section:
    """What a study shows, as a part of a report."""
    return Section(
        heading,
        prose=layout.notes,
        tables=tuple(map(as_table, layout.grids)),
        pictures=(Picture(plot(layout.panels), WIDTH, heading),) if layout.panels else (),
    )


_HEADING = (
    "row",
    "column",
    "seed",
    "run",
    *(field.name for field in dataclasses.fields(Measured)),
    "accuracy",
)


def _line(trial: Trial, seed: int, run: str, one: Measured) -> tuple[str, ...]:
    values = (*dataclasses.astuple(one), one.accuracy)
    return trial.row, trial.column, str(seed), run, *map(str, values)
