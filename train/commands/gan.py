"""What `quire train gan` does, and `quire evaluate` with generated images."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, arg

from quire.artifacts.errors import RunError
from quire.train.classify.evaluate import Evaluate
from quire.train.commands.bundle_option import BundleOption
from quire.train.commands.training_summary import training_summary
from quire.train.engine.options import Bar, Running
from quire.train.gan.evaluate import Compared, Comparison, compare
from quire.train.gan.ndb import FLOOR
from quire.train.gan.run import Gan
from quire.train.gan.training import train
from quire.train.report.grid import Grid, as_csv, as_text

_OUTPUTS = (
    "mean outputs of the discriminator in the last round {real:.2f} (real), {generated:.2f}"
    " (generated), {images_per_second:,.0f} images/s"
)
_MEASURED = f"NDB/K {{ndb_score:.3f}} (floor {FLOOR}), JS {{js:.3f}} nats; {_OUTPUTS}"


def gan_command(bar: Bar) -> Callable[..., int]:
    """The command that trains GANs."""

    def gan(
        data: BundleOption,
        out: Path,
        running: Annotated[Running, arg(name=""), FlagCreatePairsOff],
        config: Annotated[Gan, arg(name="")],
        bins: BundleOption | None = None,
    ) -> int:
        with bar("steps") as report:
            new = train(config, data, out, bins=bins, running=running, report=report)
        if int(os.environ.get("RANK", "0")) == 0:
            said = _OUTPUTS if bins is None else _MEASURED
            print(training_summary(out, new=new, of_epoch=said))
        return 0

    gan.__doc__ = f"""{Gan.__doc__}

    Args:
        data: The bundle of images to learn from, 32x32 or 64x64: a folder, or an address.
        out: The run's folder. One in which the same run was stopped is taken up again.
        bins: The bundle of bins of the same images (`quire build bins`), by which generated ones
            are measured on the way.
    """
    return gan


def measure_generated(
    bar: Bar,
    places: Sequence[str],
    bins: str,
    how: Evaluate,
    *,
    context: str | None,
    inception: Path | None,
    device: str | None,
    csv: Path | None,
) -> int:
    """Hold generated images against the bins of a dataset, and say how they compare.

    Raises:
        RunError: something is asked for that classifiers know; or see `compare`.
    """
    if how != Evaluate(images=how.images):
        raise RunError("of the options of a measurement, generated images know images alone")
    comparison = Comparison(images=how.images, inception=inception)
    found = {}
    with bar("images") as report:
        for place in places:
            found[str(place)] = compare(
                place, bins, how=comparison, real=context, device=device, report=report
            )
    grid = generated_grid(bins, found)
    if csv:
        csv.write_text(as_csv(grid), "utf-8")
    print(as_text(grid))
    for reason in dict.fromkeys(one.without for one in found.values() if one.without):
        print(f"FID is left out: {reason}")
    return 0


def generated_grid(bins: str, found: dict[str, Compared]) -> Grid:
    """What was found of each folder, a column each."""
    columns = tuple(found)
    values: dict[tuple[str, str], list[float]] = {}
    for column, one in found.items():
        spread = one.spread
        numbers = {"NDB": spread.different, "NDB/K": spread.score, "JS (nats)": spread.js}
        numbers["bins reached"] = spread.reached
        if one.fid is not None:
            numbers["FID"] = one.fid
        numbers["images"] = spread.images
        values |= {(name, column): [float(number)] for name, number in numbers.items()}
    bins_each = next(iter(found.values())).spread.bins
    return Grid(
        title=f"generated images beside {bins}, {bins_each} bins; NDB/K is about {FLOOR} where"
        " nothing differs",
        values=values,
        rows=tuple(dict.fromkeys(row for row, _ in values)),
        columns=columns,
        corner="",
        decimals=3,
    )
