"""The command that crafts universal perturbations: `quire craft`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional

from quire.artifacts.bundle import open_bundle
from quire.artifacts.perturbation_table import read_perturbations
from quire.train.commands.bundle_option import BundleOption
from quire.train.engine.options import Bar
from quire.train.segmentation.craft import Craft, craft


def craft_command(bar: Bar) -> Callable[..., int]:
    """The command that crafts perturbations."""

    def command(
        run: Positional[Path],
        data: BundleOption,
        out: BundleOption,
        config: Annotated[Craft, OmitArgPrefixes],
        validation: BundleOption | None = None,
        device: str | None = None,
        checkpoint_seconds: float = 60.0,
    ) -> int:
        with bar("steps") as report:
            craft(
                run,
                out,
                data=data,
                validation=validation,
                config=config,
                device=device,
                checkpoint_seconds=checkpoint_seconds,
                report=report,
            )
        for one in read_perturbations(open_bundle(out)):
            changed = f"changes {100 * one.flipped:.1f} % of all predictions"
            print(f"{out}: {one.name}, {one.delta.shape[2]}x{one.delta.shape[1]}: {changed}")
        return 0

    command.__doc__ = f"""{Craft.__doc__}

    A command that was stopped goes on.

    Args:
        run: The folder of a finished run of segmentation.
        data: The bundle of scenes of which the prior knows, a folder or an address.
        out: Where the bundle of the perturbation goes: a folder, or an address.
        validation: The bundle of scenes on which the perturbation is validated; default: data.
        device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
        checkpoint_seconds: Time between two checkpoints, at least.
    """
    return command
