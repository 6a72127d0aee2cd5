"""The command that carries out studies: `quire study`."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional

from quire.artifacts.address import Location
from quire.artifacts.errors import RunError
from quire.models.classifier import ENCODERS
from quire.models.deeplab import TRUNKS
from quire.train.commands.bundle_option import BundleOption
from quire.train.engine.options import Bar, Running
from quire.train.report.grid import as_text
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.run import conduct
from quire.train.studies.study import Given, Place, Scale


def study_command(bar: Bar) -> Callable[..., int]:
    """The command that carries out studies."""

    def command(
        name: Any,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        scale: Scale = "smoke",
        sources: tuple[str, ...] = (),
        data: tuple[BundleOption, ...] = (),
        weights: tuple[str, ...] = (),
        out: Path = Path("out/studies"),
        seeds: int | None = None,
    ) -> int:
        """Carry out a study: a table or a figure of a paper, ours beside the paper's numbers.

        Bundles and runs that are there are used again, also by other studies.

        Args:
            name: Which one.
            scale: smoke: embedded digits, seconds. small: real data, for a CPU. full: the paper's
                setting, for a GPU. paper: of SegMix, what full leaves out.
            sources: Where datasets are: KIND:PATH, or NAME=KIND:PATH where a study calls it NAME.
            data: Bundles of what a study would build, which it uses as they are: folders or
                addresses, or NAME=PLACE where it calls their dataset NAME.
            weights: Files of weights that encoders and trunks begin with: ENCODER=PATH, the trunks
                as imagenet-resnet50, imagenet-resnet101 and efficientnet-lite0.
            out: Where bundles, runs and results go.
            seeds: Runs of each model; default: as many as the study says.
        """
        place = Place(
            out=out,
            sources=named(sources),
            given=given(data),
            weights=files(weights),
            running=running,
            say=print,
        )
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


def given(bundles: tuple[str, ...]) -> tuple[Given, ...]:
    """Bundles, and what a study calls their datasets.

    >>> given(("mit67=data/scenes", "https://example.org/fog?sig=abc"))[1]
    Given(place='https://example.org/fog', dataset=None)
    """
    split = [re.fullmatch(r"(?:([\w-]+)=)?(.*)", place[:], re.DOTALL) for place in bundles]
    return tuple(Given(Location(one[2]), one[1]) for one in split if one)


def files(weights: tuple[str, ...]) -> dict[str, str]:
    """Files of weights by the encoder that begins with them.

    >>> files(("imagenet-resnet18=/models/resnet18.pth",))
    {'imagenet-resnet18': '/models/resnet18.pth'}

    Raises:
        RunError: one is not ENCODER=PATH, or there is no such encoder.
    """
    trunks = (f"imagenet-{trunk}" for trunk in TRUNKS if trunk.startswith("resnet"))
    encoders = (name for name in ENCODERS if name.startswith("imagenet-"))
    known = [*encoders, *trunks, "efficientnet-lite0"]
    found = {}
    for one in weights:
        encoder, equals, path = one.partition("=")
        if not equals or not path:
            raise RunError(f"the weights {one!r} are not ENCODER=PATH")
        if encoder not in known:
            raise RunError(f"{encoder!r} begins with no weights; there are {', '.join(known)}")
        found[encoder] = path
    return found
