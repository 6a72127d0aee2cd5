"""Recipe `perturbations`: published universal perturbations as one table.

Published files differ in how their axes and channels are ordered, and none of them says it. Those
of LTS4/universal (.mat) have columns first and RGB, as its README says; GD-UAP's (.npy) have rows
first and BGR, as the images have in its code. A file that is otherwise is to be named. What was
taken for each is in the table.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import h5py
import numpy as np

from quire.artifacts.errors import BuildError, RecipeError
from quire.artifacts.manifest import LeftOut
from quire.artifacts.perturbation_table import (
    PERTURBATIONS,
    Axes,
    Channels,
    Perturbation,
    write_perturbations,
)
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.recipe import Part, Run, WriteTable
from quire.builders.sources import source as sources
from quire.builders.sources.file_folder import suffix
from quire.builders.sources.uap import MAT, PerturbationFolder

_ROUNDING = 1e-4  # grey levels, by which published files pass their bound


@dataclass(frozen=True, kw_only=True)
class Perturbations:
    """Published universal perturbations, each in grey levels as (3, H, W) in RGB.

    Moosavi-Dezfooli et al. 2017 (Universal adversarial perturbations), and Mopuri, Ganeshan & Babu
    2018 (GD-UAP). Of .mat files columns come first and channels are RGB; of .npy files rows come
    first and channels are BGR.
    """

    kind: ClassVar[str] = "perturbations"
    reads: ClassVar[tuple[str, ...]] = (sources.PERTURBATIONS,)
    libraries: ClassVar[tuple[str, ...]] = ()

    split: str = sources.UNDIVIDED
    """Split of the source to read: all."""
    rgb: tuple[str, ...] = ()
    """Names of .npy files whose channels are RGB; LTS4's universal.npy is one."""
    bgr: tuple[str, ...] = ()
    """Names of .mat files whose channels are BGR."""
    rows_first: tuple[str, ...] = ()
    """Names of .mat files whose first axis is the rows."""
    columns_first: tuple[str, ...] = ()
    """Names of .npy files whose first axis is the columns."""
    xi: float = 10.0
    """Bound of every value, in grey levels; a file that passes it is bad."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range, or one file is named as two things.
        """
        if not 0 < self.xi <= 255:
            raise RecipeError(f"xi is {self.xi}; it must be above 0 and at most 255")
        for one, other in (("rgb", "bgr"), ("rows_first", "columns_first")):
            if both := set(getattr(self, one)) & set(getattr(self, other)):
                raise RecipeError(f"{min(both)} is named for {one} and for {other}")

    def resolve(self, source: PerturbationFolder) -> "Perturbations":
        """The same recipe: nothing in it depends on the source.

        Raises:
            RecipeError: a file is named that there is not, or two files would have one name.
        """
        of_kind: Mapping[bool, Collection[str]] = {
            is_mat: [name for name in source.files if (suffix(name) == MAT) is is_mat]
            for is_mat in (True, False)
        }
        for field, is_mat in (
            *(("rgb", False), ("bgr", True)),
            *(("rows_first", True), ("columns_first", False)),
        ):
            if unknown := set(getattr(self, field)) - set(of_kind[is_mat]):
                kind = MAT if is_mat else ".npy"
                raise RecipeError(f"{field}: {min(unknown)} is no {kind} file of the source")
        name, times = Counter(map(_name, source.files)).most_common(1)[0]
        if times > 1:
            raise RecipeError(f"{times} files are called {name}, which a perturbation is called by")
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: PerturbationFolder) -> tuple[ShardTask, ...]:
        """A task a file; none of them has samples."""
        return tuple(
            ShardTask(
                f"perturbation-{number:06d}.tar", "perturbations", number, number + 1, bytes=0
            )
            for number in range(len(source))
        )

    def samples(self, source: PerturbationFolder, task: ShardTask) -> Iterator[Run]:
        """No samples, but one perturbation as (3, H, W) in RGB, and the number of its file."""
        number = task.start
        found = source.read(number)
        if isinstance(found, LeftOut):
            yield Run(Samples([], {}), (found,))
            return
        name = source.files[number]
        if (largest := float(np.abs(found).max())) > self.xi + _ROUNDING:
            reason = f"values up to {largest:g}, beyond the bound of {self.xi:g}"
            yield Run(Samples([], {}), (LeftOut(number, name, reason),))
            return
        channels, axes = self.convention(name)
        rows_first = found if axes == "hw" else found.swapaxes(0, 1)
        rgb = rows_first if channels == "rgb" else rows_first[..., ::-1]
        delta = np.ascontiguousarray(rgb.transpose(2, 0, 1).clip(-self.xi, self.xi))
        file = np.array([name.encode()])
        yield Run(Samples([], {}), (), {"delta": delta, "file": file})

    def convention(self, file: str) -> tuple[Channels, Axes]:
        """The order of a file's channels and of its axes."""
        if suffix(file) == MAT:
            return (
                "bgr" if file in self.bgr else "rgb",
                "hw" if file in self.rows_first else "wh",
            )
        return (
            "rgb" if file in self.rgb else "bgr",
            "wh" if file in self.columns_first else "hw",
        )

    def tables(self) -> Mapping[str, WriteTable]:
        """`perturbations.h5`."""
        return {PERTURBATIONS: partial(_write, self)}


def _write(recipe: Perturbations, file: h5py.File, parts: Iterator[Part]) -> None:
    found = []
    for part in parts:
        if not part:
            continue
        name = bytes(part["file"][0]).decode()
        channels, axes = recipe.convention(name)
        found.append(
            Perturbation(
                name=_name(name),
                delta=part["delta"],
                xi=recipe.xi,
                origin="published",
                of=_name(name),
                file=name,
                channels=channels,
                axes=axes,
            )
        )
    if not found:
        raise BuildError("no perturbation can be read")
    write_perturbations(file, found)


def _name(file: str) -> str:
    """What a perturbation is called by its file."""
    return file[: -len(suffix(file))]
