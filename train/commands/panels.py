"""The command that shows what networks of segmentation make of scenes: `quire panels`."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tyro.conf import Positional

from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.train.commands.bundle_option import BundleOption
from quire.train.engine.options import Bar
from quire.train.segmentation.panels import picture_panels, scene_panels, some_keys
from quire.train.segmentation.run import Answer

_FEW = 6  # scenes that are shown where nothing is said


def panels_command(bar: Bar) -> Callable[..., int]:
    """The command that draws panels."""

    def command(
        runs: Positional[tuple[Path, ...]],
        out: Path,
        data: BundleOption | None = None,
        keys: tuple[str, ...] = (),
        images: int | None = None,
        pictures: Path | None = None,
        names: tuple[str, ...] = (),
        answer: Answer = "target",
        device: str | None = None,
    ) -> int:
        """Show what networks of segmentation make of scenes, side by side, in one picture.

        Scenes of a bundle (--data) have their ground truth beside them, pictures of a folder
        (--pictures) have none: for instance objects out of their context, or photographs.

        Args:
            runs: Folders of finished runs of segmentation, a column each.
            out: The picture to write: a .png file.
            data: The bundle of scenes: a folder, or an address.
            keys: Which scenes, by their keys, in this order.
            images: Show so many scenes, chosen at random once and for all; default: 6.
            pictures: A folder of JPEG and PNG files that nobody has labelled; all are shown.
            names: What is written above the columns; default: the names of the runs' folders.
            answer: Which of feature binding's answers; other networks have a target alone.
                Unless it is the target, the headings say which one is shown.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
        """
        _check_out(out, pictures)
        _check_choice(data, keys, images, pictures)
        named = _named(runs, names)
        with bar("scenes") as report:
            if pictures is not None:
                sheet = picture_panels(named, pictures, answer=answer, device=device, report=report)
            else:
                assert data is not None
                chosen = keys or some_keys(data, images or _FEW)
                sheet = scene_panels(
                    named, data, chosen, answer=answer, device=device, report=report
                )
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as file:
            sheet.save(file, "PNG")
        size = f"{sheet.width:,} x {sheet.height:,} pixels"
        print(f"{out}: {', '.join(named)} on {data or pictures}, {size}")
        return 0

    return command


def _check_out(out: Path, pictures: Path | None) -> None:
    if out.suffix.lower() != ".png":
        raise RunError(f"{out} is no name of a picture: it must end in .png")
    if out.is_dir():
        raise RunError(f"{out} is a folder")
    if pictures is not None and out.resolve().parent == pictures.resolve():
        raise RunError(f"{out} would be one of the pictures itself: name another folder")


def _check_choice(
    data: BundleOption | None, keys: Sequence[str], images: int | None, pictures: Path | None
) -> None:
    """Refuse what does not go together."""
    if (data is None) == (pictures is None):
        raise RunError("either --data or --pictures says what is shown, one of the two")
    if pictures is not None and (keys or images is not None):
        raise RunError("--keys and --images choose among the scenes of --data")
    if keys and images is not None:
        raise RunError("either --keys or --images chooses scenes, not both")
    if images is not None and images < 1:
        raise RunError(f"images is {images}; it must be at least 1")


def _named(runs: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Runs by what is written above their columns."""
    if not runs:
        raise RunError("no run is named")
    if names and len(names) != len(runs):
        raise RunError(f"there are {len(names)} names for {len(runs)} runs")
    written = names or [os.path.basename(os.path.abspath(run)) for run in runs]
    for name in written:
        if written.count(name) > 1:
            raise RunError(f"two runs are called {name}: --names gives each a name of its own")
    return dict(zip(written, runs, strict=True))
