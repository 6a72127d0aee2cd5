"""A folder of published universal perturbations: each .mat and each .npy file in it is one.

.mat are those of LTS4/universal (Moosavi-Dezfooli et al. 2017): the array `r`. .npy are those of
GD-UAP (Mopuri, Ganeshan & Babu 2018) and whatever has their form. How their axes and channels are
to be read is for the recipe to say.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources import layout
from quire.builders.sources.file_folder import FileFolder, suffix
from quire.builders.sources.matlab import FLOATS, read_array
from quire.builders.sources.source import UNDIVIDED

MAT, NPY = ".mat", ".npy"
_CHANNELS = 3
_LEAST_SIDE, _MOST_SIDE = 32, 1_024
_KEY = "r"  # of the array in a .mat file
_MOST_VALUES = _CHANNELS * _MOST_SIDE**2
_HEADER = 1 << 12  # bytes that the header of a .npy file may have


@dataclass(frozen=True, slots=True)
class PerturbationFolder(FileFolder):
    """The perturbations in a folder."""

    @property
    def kind(self) -> str:
        """`uap`."""
        return "uap"

    def read(self, index: int) -> NDArray[np.float32] | LeftOut:
        """A perturbation in grey levels, with the axes of its file, or why it cannot be read.

        -> two sides of 32 to 1,024 and three channels, (A, B, 3); finite.
        """
        return self.sample(index, _read)


def open_perturbations(path: Path, split: str = UNDIVIDED) -> PerturbationFolder:
    """Open the perturbations in a folder.

    Raises:
        SourceError: no such folder, one without perturbations, or another split than `all`.
    """
    return PerturbationFolder.opened("uap", "perturbations", (MAT, NPY), path, split)


def _read(path: Path) -> NDArray[np.float32]:
    if suffix(path.name) == MAT:
        return _sound(path, read_array(path, _KEY, FLOATS, most=_MOST_VALUES))
    return _sound(path, _numpys(path))


def _numpys(path: Path) -> NDArray[Any]:
    """The array of a .npy file; nothing is unpickled, and no size is believed."""
    try:
        with layout.reading(path), path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise SourceError(f"{path} is a .npy file of version {version}, not 1.0 or 2.0")
            shape, by_columns, dtype = read_header(file, max_header_size=_HEADER)
            if dtype.kind != "f" or dtype.itemsize not in (4, 8):
                raise SourceError(f"{path} has values of {dtype}, not float32 or float64")
            count = int(np.prod(shape, dtype=object))
            if count > _MOST_VALUES:
                raise SourceError(f"{path} has an array of {shape}")
            data = file.read(count * dtype.itemsize + 1)
    except (ValueError, EOFError) as error:
        raise SourceError(
            f"{path} is no .npy file of numbers: {layout.shown(str(error))}"
        ) from error
    if len(data) != count * dtype.itemsize:
        raise SourceError(f"{path} is not as long as an array of {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def _sound(path: Path, array: NDArray[Any]) -> NDArray[np.float32]:
    """A perturbation without the axis of length one that a batch of one has."""
    shape = array.shape
    if array.ndim == _CHANNELS + 1 and shape[0] == 1:
        array = array[0]
    if array.ndim != _CHANNELS or array.shape[2] != _CHANNELS:
        raise SourceError(f"{path} has an array of {shape}, not two sides and three channels")
    if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in array.shape[:2]):
        raise SourceError(
            f"{path} has sides of {array.shape[:2]}, not {_LEAST_SIDE} to {_MOST_SIDE}"
        )
    if not np.isfinite(array).all():
        raise SourceError(f"{path} has values that are not finite")
    return array.astype(np.float32)
