"""Samples in memory, and who puts them there."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.index import Index
from quire.loaders.order import Rows

Bytes: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Held:
    """Where some samples lie, for as long as this is kept. For each of B samples:"""

    arrays: dict[int, Bytes]
    """What they lie in, by number."""
    which: NDArray[np.signedinteger]
    """(B,) the array that a sample lies in."""
    begins: NDArray[np.int64]
    """(B,) or (1,) where in the array its shard begins, or would: no more need be there than the
    samples."""
    addresses: NDArray[np.int64]
    """(B,) the same in the memory of the process."""


class Ahead(Protocol):
    """What reads windows of samples ahead of their use."""

    def begin(self, rows: Rows) -> None:
        """Have some samples read, and do not wait for it; all of them have to be used."""

    def parts(self, rows: Rows) -> int:
        """Into how many windows to cut one, so that each takes as much memory as is meant.

        Samples that lie far apart take more than their own bytes: whole pages, or pieces.
        """


class Shards(Protocol):
    """Where a bundle's samples are read from. It travels to worker processes."""

    @property
    def index(self) -> Index:
        """Of the bundle."""

    def held(self, rows: Rows) -> Held:
        """Some samples in memory, once they are there. (B,) rows -> ...

        Raises:
            BundleError: a shard is missing, truncated or (where that is checked) damaged.
        """

    def expect(self, rows: Rows) -> "Ahead | None":
        """A new epoch begins, of these rows. -> what reads windows of them ahead of their use.

        None: nothing need be begun, since all is at hand, or whoever reads sees what comes next.
        """
