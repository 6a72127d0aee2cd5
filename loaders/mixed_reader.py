"""Batches whose samples come from several bundles."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.errors import BundleError
from quire.loaders.order import Positions, Rows
from quire.loaders.reader import Batch, Reader, WindowsOf

BUNDLE = "bundle"  # of a batch: which bundle each sample is from


class MixedReader:
    """Reads batches by row number; rows are those of all bundles, laid end to end."""

    def __init__(self, readers: Sequence[Reader], firsts: Rows) -> None:
        """`firsts` (K,) are the numbers of rows in the bundles before each."""
        self.readers = readers
        self.firsts = firsts

    @property
    def is_raw(self) -> bool:
        """Whether nothing has to be decoded."""
        return all(reader.is_raw for reader in self.readers)

    @property
    def threads(self) -> int:
        """That decode, for each bundle in turn."""
        return self.readers[0].threads

    @threads.setter
    def threads(self, number: int) -> None:
        """As many for each."""
        for reader in self.readers:
            reader.threads = number

    @property
    def pin(self) -> bool:
        """Whether tensors should be in pinned memory."""
        return self.readers[0].pin

    @pin.setter
    def pin(self, pinned: bool) -> None:
        """Those of all bundles."""
        for reader in self.readers:
            reader.pin = pinned

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of some rows. (B,) -> see `quire.stream`.

        Raises:
            BundleError: see `Reader`; or the bundles have different members.
        """
        which = self._bundle(rows)
        numbers = np.unique(which).tolist() or [0]
        places = [np.flatnonzero(which == number) for number in numbers]
        parts = [
            self.readers[number][rows[own] - self.firsts[number]]
            for number, own in zip(numbers, places, strict=True)
        ]
        first = parts[0]
        for part in parts:
            if part.keys() != first.keys():
                raise BundleError(
                    f"bundles that are mixed have {sorted(first)} and {sorted(part)} in a sample"
                )
        batch = {
            name: self._merged(name, [part[name] for part in parts], places, len(rows))
            for name in first
            if name != "row"
        }
        return {**batch, "row": torch.from_numpy(rows), BUNDLE: torch.from_numpy(which)}

    def begin(self, rows: Sequence[Rows], windows: WindowsOf) -> Iterable[Rows]:
        """See `quire.loaders.batches.ByRow`."""
        which = [self._bundle(batch) for batch in rows]
        coming = []
        for number, (reader, first) in enumerate(zip(self.readers, self.firsts, strict=True)):
            own = [np.flatnonzero(batch == number) for batch in which]
            if any(map(len, own)):
                taken = [batch[some] - first for batch, some in zip(rows, own, strict=True)]
                coming.append(reader.begin(taken, partial(_of, windows, own)))
        return _together(rows, coming)

    def _bundle(self, rows: Rows) -> Rows:
        """The bundle of each row."""
        return np.searchsorted(self.firsts, rows, "right") - 1

    def _merged(self, name: str, values: list[Any], places: list[Positions], count: int) -> Any:
        """One member or column of the whole batch; a list where samples differ in shape."""
        if len(values) == 1:
            return values[0]
        if all(isinstance(value, Tensor) for value in values):
            if len({value.dtype for value in values}) > 1:
                found = ", ".join(str(value.dtype) for value in values)
                raise BundleError(f"bundles that are mixed have {name} of {found}")
            if len({value.shape[1:] for value in values}) == 1:
                return self._scattered(values, places, count)
        merged: list[Any] = [None] * count
        for value, own in zip(values, places, strict=True):
            for place, item in zip(own.tolist(), value, strict=True):
                merged[place] = item
        return merged

    def _scattered(self, values: list[Tensor], places: list[Positions], count: int) -> Tensor:
        """Tensors of one shape; images lie in memory as they did, the channels last."""
        images = values[0].ndim == 4
        apart = [value.movedim(1, -1) if images else value for value in values]
        merged = torch.empty(
            (count, *apart[0].shape[1:]), dtype=apart[0].dtype, pin_memory=self.pin
        )
        for value, own in zip(apart, places, strict=True):
            merged[torch.from_numpy(own)] = value
        return merged.movedim(-1, 1) if images else merged


def _of(windows: WindowsOf, own: Sequence[Positions]) -> Sequence[Positions]:
    """The windows of one bundle's samples in each batch."""
    return [batch[some] for batch, some in zip(windows(), own, strict=True)]


def _together(rows: Sequence[Rows], coming: Sequence[Iterable[Rows]]) -> Iterator[Rows]:
    """The batches, each when all of its parts may be read."""
    for batch, *_ in zip(rows, *coming, strict=True):
        yield batch
