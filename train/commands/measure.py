"""The command that measures what was trained: `quire evaluate`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional

from quire.artifacts.errors import RunError
from quire.train.classify.evaluate import Evaluate, Measured, evaluate
from quire.train.commands.bundle_option import BundleOption
from quire.train.commands.gan import measure_generated
from quire.train.commands.segmentation import measure_segmentation
from quire.train.engine.options import Bar
from quire.train.engine.runs import read_run
from quire.train.gan.subjects import holds_images
from quire.train.report.grid import Grid, as_csv, as_text
from quire.train.segmentation.run import Segment
from quire.train.sparse.evaluate import COLUMNS as MEASURED
from quire.train.sparse.evaluate import measure
from quire.train.sparse.loading import KINDS
from quire.train.sparse.overview import measured_grid
from quire.train.sparse.table import as_lines


def evaluate_command(bar: Bar) -> Callable[..., int]:
    """The command that measures runs."""

    def command(
        runs: Positional[tuple[BundleOption, ...]],
        data: BundleOption,
        how: Annotated[Evaluate, OmitArgPrefixes],
        context: BundleOption | None = None,
        anchors: BundleOption | None = None,
        subsets: BundleOption | None = None,
        perturbations: BundleOption | None = None,
        inception: Path | None = None,
        device: str | None = None,
        csv: Path | None = None,
    ) -> int:
        """Measure trained classifiers on every cell of a bundle, with intervals over runs.

        Of a run of sparse networks every network is measured on the whole bundle, with intervals
        over networks; of the options it knows images, device and csv. Runs of segmentation are
        measured on scenes and on subsets of them; they know images, batch-size, device and csv.
        Generated images are held against the bins of a dataset: those of runs of GANs, and those of
        anybody's in bundles and folders; they know images, context, inception, device and csv.

        Args:
            runs: Folders of finished runs: the seeds of one configuration; or one of sparse
                networks; or of GANs, and folders of images beside them.
            data: The bundle: a folder, or an address. For generated images, that of bins.
            context: The bundle that the runs were trained on; default: where it was then.
            anchors: The bundle of anchors that the runs had, if any; default: where it was then.
            subsets: The bundle of subsets of the scenes, for runs of segmentation.
            perturbations: A bundle of universal perturbations, each of which is added to all
                scenes; for runs of segmentation.
            inception: File of the weights of Inception, for FID of generated images; default: what
                torch-fidelity fetched before, if it did.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
            csv: Write the table to this file too; of sparse networks, a line for each network.
        """
        if not runs:
            raise RunError("no run is named")
        if all(map(holds_images, runs)):
            if anchors or subsets or perturbations:
                raise RunError("generated images have no anchors, no subsets and no perturbations")
            return measure_generated(
                *(bar, runs, data, how),
                context=context,
                inception=inception,
                device=device,
                csv=csv,
            )
        if inception:
            raise RunError("Inception is for FID of generated images alone")
        folders = [Path(run) for run in runs]
        methods = {read_run(folder).method for folder in folders}
        if methods == {Segment.method}:
            if context or anchors:
                raise RunError("segmentation has no context and no anchors")
            return measure_segmentation(
                *(bar, folders, data, how),
                subsets=subsets,
                perturbations=perturbations,
                device=device,
                csv=csv,
            )
        if subsets or perturbations:
            what = "subsets" if subsets else "perturbations"
            raise RunError(f"{what} are of scenes: runs of segmentation alone know them")
        if methods & KINDS.keys():
            if len(folders) > 1:
                raise RunError("the networks of a run are measured by themselves: name one run")
            if context or anchors:
                raise RunError("sparse networks have no context and no anchors")
            return measure_networks(bar, folders[0], data, how, device, csv)
        found = {}
        with bar("images") as report:
            for run in folders:
                found[run] = evaluate(
                    run,
                    data,
                    how=how,
                    context=context,
                    anchors=anchors,
                    device=device,
                    report=report,
                )
        grid = table(data, found)
        if csv:
            csv.write_text(as_csv(grid), "utf-8")
        print(as_text(grid))
        return 0

    return command


def measure_networks(
    bar: Bar, run: Path, data: str, how: Evaluate, device: str | None, file: Path | None = None
) -> int:
    """Measure every network of a run, and say how they do on average."""
    if how != Evaluate(images=how.images):
        raise RunError("of the options of a measurement, sparse networks know images alone")
    with bar("images") as report:
        rows = measure(run, data, images=how.images, device=device, report=report)
    if file:
        file.write_text(as_lines(rows, MEASURED), "utf-8")
    print(as_text(measured_grid(data, rows, KINDS[read_run(run).method])))
    return 0


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
