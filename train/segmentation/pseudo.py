"""Pseudo labels: masks that another network predicted, by which partners are chosen and no more.

SegMix (Islam et al. 2021, section 4.5): a set without classes, such as salient objects, is blended
by co-occurrence as if its images had the classes that a network of Pascal VOC sees in them. No loss
sees these masks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.masks import VOID
from quire.loaders.decode import decode

KIND, MEMBER = "predictions", "pseudo.png"  # of the recipe, and of a sample


class PseudoLabels:
    """The masks of a bundle of predictions, by the keys of what was looked at."""

    def __init__(self, data: str) -> None:
        """Open a bundle of predictions: a folder, or an address.

        Raises:
            RunError: it is a bundle of something else.
            BundleError: it is damaged.
        """
        self.data = Location(data)
        self._bundle = open_bundle(self.data)
        identity = self._bundle.manifest.identity
        if identity.recipe.get("kind") != KIND:
            raise RunError(f"{self.data} has no predicted masks: `quire predict` writes them")
        self.class_names = tuple(map(str, identity.source["class_names"]))
        self.digest = self._bundle.manifest.sha256
        keys = self._bundle.index.rows.keys.tolist()
        self._rows = {key: row for row, key in enumerate(keys)}

    def check_has(self, keys: Sequence[bytes], scenes: str) -> None:
        """Refuse to go on where a scene has no mask.

        Raises:
            RunError: one has none; the message names it.
        """
        if lacking := next((key for key in keys if key not in self._rows), None):
            name = lacking.decode(errors="backslashreplace")
            raise RunError(f"{self.data} has no mask of {name}, which {scenes} has")

    def masks(self, keys: Sequence[str], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """The masks of some scenes, each of its scene's (H, W). -> uint8.

        Raises:
            RunError: one is of another size, or has an id that is no class.
            BundleError: one is damaged.
        """
        return [self._mask(key, size) for key, size in zip(keys, sizes, strict=True)]

    def _mask(self, key: str, size: tuple[int, int]) -> Tensor:
        row = self._rows[key.encode(errors="surrogateescape")]
        mask = np.asarray(decode(MEMBER, [self._bundle.read(row)[MEMBER]], None, 1)[0])
        if mask.shape != size:
            raise RunError(f"the mask of {key} in {self.data} is of another size than its scene")
        if ((mask >= len(self.class_names)) & (mask != VOID)).any():
            raise RunError(f"the mask of {key} in {self.data} has an id that is no class")
        return torch.from_numpy(mask)
