"""The order of several bundles as one: whatever run of it is looked at has the same share of each.

Positions are dealt to the bundles evenly, so any run of n of them has n times a bundle's share, to
less than one sample for each further bundle: every batch of every rank, whatever its size. An epoch
is that of the first bundle: each of its samples comes once. The others go on where the epoch before
left them, through epochs of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quire.loaders.order import Epoch, Order, Positions, Rows

_PARTS = 1_000_000  # of a whole, in which shares are counted


@dataclass(frozen=True, eq=False, kw_only=True)
class MixedEpoch(Epoch):
    """One epoch's order; rows are those of all bundles, laid end to end."""

    window: Positions
    """(N,) the window of its own bundle that each sample is in."""
    bundle: NDArray[np.int64]
    """(N,) the bundle that each sample is of."""

    def window_of(self, positions: Positions) -> Positions:
        """See `Epoch`; windows are counted in each bundle by itself."""
        return self.window.take(positions)

    def divided(self, batch: Positions) -> Positions:
        """See `Epoch`; each bundle's samples are spread over the ranks evenly."""
        assert self.places is not None
        bundle, places = self.bundle.take(batch), self.places.take(batch)
        within = np.empty(len(batch))
        for number in np.unique(bundle):
            own = np.flatnonzero(bundle == number)
            ranked = own[np.argsort(places[own], kind="stable")]
            within[ranked] = (np.arange(len(own)) + 0.5) / len(own)
        return batch[np.argsort(within, kind="stable")]


class Mixed:
    """Several orders, each with its share."""

    def __init__(
        self, orders: Sequence[Order], sizes: Sequence[int], shares: Sequence[float]
    ) -> None:
        """`sizes` are the rows that each bundle has, wanted or not.

        Raises:
            ValueError: shares are not one for each bundle, or not all positive, or too small.
        """
        self.orders = orders
        self.firsts = np.cumsum([0, *sizes])[:-1]  # rows of the bundles before
        self.parts = _parts(shares, len(orders))
        self.bundle = dealt(len(orders[0]), self.parts)
        self.own = [np.flatnonzero(self.bundle == k) for k in range(len(orders))]
        names = (f"{part} of {order.name}" for part, order in zip(self.parts, orders, strict=True))
        self.name = f"mixed: {', '.join(names)}"

    def __len__(self) -> int:
        """See `Order`."""
        return len(self.bundle)

    def __call__(self, epoch: int) -> MixedEpoch:
        """See `Order`."""
        rows, window = (np.empty(len(self), np.int64) for _ in range(2))
        places = np.empty(len(self))
        for first, order, own in zip(self.firsts, self.orders, self.own, strict=True):
            part = _stretch(order, epoch * len(own), len(own))
            rows[own], window[own], places[own] = part.rows + first, part.window, part.places
        ends = np.array([0, len(self)])
        return MixedEpoch(rows, ends, places, window=window, bundle=self.bundle)


@dataclass(frozen=True, eq=False, slots=True)
class _Stretch:
    """A run of a bundle's epochs, one after another; all arrays are (M,)."""

    rows: Rows
    window: Positions
    places: NDArray[np.float64]


def _stretch(order: Order, start: int, length: int) -> _Stretch:
    """Positions [start, start + length) of all epochs of an order, laid end to end."""
    rows, windows, places = [], [], []
    last = 0
    while length > 0:
        number, begin = divmod(start, len(order))
        epoch = order(number)
        positions = np.arange(begin, min(begin + length, len(order)))
        rows.append(epoch.rows.take(positions))
        windows.append(epoch.window_of(positions) + last)
        last = int(windows[-1][-1]) + 1
        if epoch.places is None:
            places.append(positions / len(order))
        else:
            places.append(epoch.places.take(positions))
        start, length = start + len(positions), length - len(positions)
    if not rows:
        return _Stretch(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return _Stretch(np.concatenate(rows), np.concatenate(windows), np.concatenate(places))


def _parts(shares: Sequence[float], count: int) -> list[int]:
    """Shares in parts of a whole."""
    if len(shares) != count or not all(0 < share < float("inf") for share in shares):
        raise ValueError(f"shares are {[*shares]}; {count} positive numbers are wanted")
    whole = sum(shares)
    parts = [round(_PARTS * share / whole) for share in shares]
    if 0 in parts:
        raise ValueError(f"shares are {[*shares]}; the least is below a millionth of the whole")
    return parts


def dealt(first: int, parts: Sequence[int]) -> NDArray[np.int64]:
    """The bundle of each position, until the first bundle has had `first` of them. -> (N,).

    >>> dealt(4, [2, 1, 1]).tolist()
    [2, 0, 1, 0, 2, 0, 1, 0]
    """
    whole = sum(parts)
    bundle = np.zeros((first + 1) * whole // parts[0] + 1, np.int64)
    left = np.arange(len(bundle))  # the positions of this bundle and those after it
    for number, part in enumerate(parts[:-1]):
        rest = whole - part
        passed = (np.arange(len(left) + 1) * rest + whole // 2) // whole
        left, whole = left[np.diff(passed) > 0], rest
        bundle[left] = number + 1
    return bundle[: np.flatnonzero(bundle == 0)[first - 1] + 1]
