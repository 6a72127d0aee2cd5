"""`quire craft`: a command for each kind of network against which perturbations are crafted."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional

from quire.artifacts.bundle import open_bundle
from quire.artifacts.perturbation_table import read_perturbations
from quire.train.classify.craft import CraftUniversal, craft_universal
from quire.train.classify.run import Classify
from quire.train.commands.bundle_option import BundleOption
from quire.train.commands.of_run import with_kind
from quire.train.engine.options import Bar
from quire.train.segmentation.craft import Craft, craft
from quire.train.segmentation.run import Segment

_KINDS = {Segment.method: "gd-uap", Classify.method: "uap"}


def craft_commands(bar: Bar) -> dict[str, Callable[..., int]]:
    """The commands by how a perturbation is crafted."""

    def gd_uap(
        run: Positional[Path],
        data: BundleOption,
        out: BundleOption,
        config: Annotated[Craft, OmitArgPrefixes],
        validation: BundleOption | None = None,
        listed: Path | None = None,
        device: str | None = None,
        checkpoint_seconds: float = 60.0,
    ) -> int:
        with bar("steps") as report:
            craft(
                run,
                out,
                data=data,
                validation=validation,
                listed=listed,
                config=config,
                device=device,
                checkpoint_seconds=checkpoint_seconds,
                report=report,
            )
        return _told(out)

    def uap(
        run: Positional[Path],
        data: BundleOption,
        out: BundleOption,
        config: Annotated[CraftUniversal, OmitArgPrefixes],
        device: str | None = None,
        checkpoint_seconds: float = 60.0,
    ) -> int:
        with bar("images") as report:
            craft_universal(
                run,
                out,
                data=data,
                config=config,
                device=device,
                checkpoint_seconds=checkpoint_seconds,
                report=report,
            )
        return _told(out)

    gd_uap.__doc__ = f"""{Craft.__doc__}

    A command that was stopped goes on.

    Args:
        run: The folder of a finished run of segmentation.
        data: The bundle of scenes of which the prior knows, a folder or an address.
        out: Where the bundle of the perturbation goes: a folder, or an address.
        validation: The bundle of scenes on which the perturbation is validated; default: data.
        listed: A text file with a scene a line: those of the prior part.
        device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
        checkpoint_seconds: Time between two checkpoints, at least.
    """
    uap.__doc__ = f"""{CraftUniversal.__doc__}

    A command that was stopped goes on.

    Args:
        run: The folder of a finished run of a classifier with a linear head.
        data: The bundle of images that are to be fooled, a folder or an address.
        out: Where the bundle of the perturbation goes: a folder, or an address.
        device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
        checkpoint_seconds: Time between two checkpoints, at least.
    """
    return {"gd-uap": gd_uap, "uap": uap}


def craft_arguments(arguments: Sequence[str]) -> list[str]:
    """The words of a command line with how a perturbation is crafted before them.

    Raises:
        RunError: no run is named first, or nothing is crafted against runs of its method.
    """
    return with_kind(arguments, _KINDS, "runs of {method} are not crafted against")


def _told(out: BundleOption) -> int:
    for one in read_perturbations(open_bundle(out)):
        changed = f"changes {100 * one.flipped:.1f} % of all predictions"
        print(f"{out}: {one.name}, {one.delta.shape[2]}x{one.delta.shape[1]}: {changed}")
    return 0
