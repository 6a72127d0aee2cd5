"""The command that writes what an encoder makes of a bundle: `quire features`."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tyro.conf import Positional

from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.manifest import MANIFEST
from quire.builders.recipes.features import write_features
from quire.train.classify.features import features
from quire.train.engine.options import Bar
from quire.train.engine.runs import MODEL


def feature_command(bar: Bar) -> Callable[..., int]:
    """The command that writes features."""

    def command(run: Positional[Path], data: Path, out: Path, device: str | None = None) -> int:
        """Write the features of a bundle's images, from the encoder of a run, as a bundle.

        Images are not augmented. A recipe that chooses images by what they look like reads it:
        `quire build anchors --strategy nearest --features DIR`.

        Args:
            run: The folder of a finished run of a classifier.
            data: The folder of a bundle that shows each image once: a clean one.
            out: The folder of the features. One that has them already is left as it is.
            device: Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one.
        """
        with bar("images") as report:
            blocks = features(run, str(data), device=device, report=report)
            manifest = write_features(
                out,
                blocks,
                images=open_bundle(data).manifest.identity,
                bundle=sha256(data / MANIFEST),
                weights=sha256(run / MODEL),
                libraries={"torch": version("torch")},
            )
        size = sum(file.bytes for file in manifest.files.values()) / 1e6
        print(f"{out}: features of {data}, {size:.1f} MB")
        return 0

    return command
