"""What `quire train segment` does, and `quire evaluate` with its runs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.perturbation_table import read_perturbations
from quire.models.deeplab import num_parameters
from quire.train.classify.evaluate import Evaluate
from quire.train.commands.bundle_option import BundleOption, mixture
from quire.train.commands.training_summary import training_summary
from quire.train.engine.options import Bar, Running
from quire.train.engine.runs import read_run
from quire.train.report.grid import Grid, as_csv, as_text
from quire.train.segmentation.evaluate import (
    CLEAN,
    class_grid,
    evaluate_segmentation,
    perturbation_grid,
    subset_grid,
)
from quire.train.segmentation.measure import Measure, Measured, count
from quire.train.segmentation.measure_saliency import (
    is_of_saliency,
    measure_saliency,
    saliency_grid,
)
from quire.train.segmentation.run import Segment, build_model
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation

_LOSS = "a loss of {mean_loss:.4f} in the last epoch, {images_per_second:,.1f} scenes/s"


def segment_command(bar: Bar) -> Callable[..., int]:
    """The command that trains segmentation."""

    def segment(
        data: tuple[BundleOption, ...],
        out: Path,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        config: Annotated[Segment, OmitArgPrefixes],
        cooccurrence: BundleOption | None = None,
        clean: BundleOption | None = None,
        pseudo: BundleOption | None = None,
        mix: tuple[float, ...] = (),
    ) -> int:
        mixed = mixture(data, mix)
        bundles = Bundles(
            data=data[0], cooccurrence=cooccurrence, clean=clean, pseudo=pseudo, mixed=mixed
        )
        with bar("steps") as report:
            new = train_segmentation(config, bundles, out, running=running, report=report)
        if int(os.environ.get("RANK", "0")) == 0:
            print(training_summary(out, new=new, of_epoch=_LOSS))
            print(_parameters(config, len(read_run(out).classes)))
        return 0

    segment.__doc__ = f"""{Segment.__doc__}

    Args:
        data: The bundle to train on: scenes, or for binding-cc blends; a folder, or an address; or
            several, see mix.
        out: The run's folder. One in which the same run was stopped is taken up again.
        cooccurrence: The bundle of how often classes meet, for binding-cm.
        clean: The bundle of scenes for the second stage of binding-cc.
        pseudo: The bundle of masks that another network predicted (`quire predict`): partners are
            chosen by these, as the scenes' own classes do not tell; for binding-cm. The
            co-occurrence is of their classes then.
        mix: The share of each of several bundles in every batch; an epoch is that of the first.
    """
    return segment


def measure_segmentation(
    bar: Bar,
    runs: Sequence[Path],
    data: BundleOption,
    how: Evaluate,
    *,
    subsets: BundleOption | None,
    perturbations: BundleOption | None,
    device: str | None,
    csv: Path | None,
) -> int:
    """Measure runs of segmentation, and say what they reach on a bundle and on subsets of it.

    With perturbations: what they reach under each of them, and how many pixels it changes.

    Raises:
        RunError: something is asked for that other methods know; or see `evaluate_segmentation`.
    """
    if how != Evaluate(images=how.images, batch_size=how.batch_size):
        raise RunError("of the options of a measurement, segmentation knows images and batch-size")
    measure = Measure(images=how.images, batch_size=how.batch_size or Measure.batch_size)
    if perturbations:
        if subsets:
            raise RunError("either subsets or perturbations, not both")
        grid = _under_perturbations(bar, runs, data, measure, perturbations, device)
        print(as_text(grid))
        if csv:
            csv.write_text(as_csv(grid), "utf-8")
        return 0
    found = []
    with bar("scenes") as report:
        for run in runs:
            found.append(
                evaluate_segmentation(
                    run, data, how=measure, subsets=subsets, device=device, report=report
                )
            )
    classes = read_run(runs[0]).classes
    grids = [subset_grid(data, found), class_grid(data, classes, found)]
    if is_of_saliency(classes):
        with bar("images") as report:
            scores = [
                measure_saliency(run, data, how=measure, device=device, report=report)
                for run in runs
            ]
        grids.insert(0, saliency_grid(data, scores))
    print("\n\n".join(map(as_text, grids)))
    if csv:
        csv.write_text(as_csv(grids[0]), "utf-8")
    return 0


def _under_perturbations(
    bar: Bar,
    runs: Sequence[Path],
    data: BundleOption,
    how: Measure,
    perturbations: BundleOption,
    device: str | None,
) -> Grid:
    """A row for each perturbation, and one without."""
    names = [one.name for one in read_perturbations(open_bundle(perturbations))]
    found: dict[str, list[list[Measured]]] = {}
    for name in (None, *names):
        one = replace(how, perturbation=None if name is None else (perturbations, name))
        with bar("scenes") as report:
            counted = [count(run, data, how=one, device=device, report=report) for run in runs]
        found[name or CLEAN] = [each.over() for each in counted]
    return perturbation_grid(data, found)


def _parameters(config: Segment, classes: int) -> str:
    """How many numbers the network learns, in all and in each part.

    >>> _parameters(Segment(variant="baseline", trunk="small"), 21)
    '271,861 parameters: encoder 93,472, head 178,389'
    """
    with torch.device("meta"):
        model = build_model(config, classes)
    parts = {name: num_parameters(part) for name, part in model.named_children()}
    told = ", ".join(f"{name} {number:,}" for name, number in parts.items() if number)
    return f"{num_parameters(model):,} parameters: {told}"
