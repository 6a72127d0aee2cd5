"""Numbers as panels take them, and which of them can be drawn."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values: TypeAlias = Sequence[float] | NDArray[Any]  # (n,)
Floats: TypeAlias = NDArray[np.float64]

SAME = 1e-12  # of a value: what differs by less cannot be told apart on an axis
_MOST = 1e100  # what is beyond is no measurement, and overflows where axes are computed


def floats(values: ArrayLike) -> Floats:
    """Numbers with NaN for what cannot be drawn: NaN, infinite, or beyond 1e100. Any shape."""
    numbers = np.asarray(values, np.float64)
    return np.where(np.abs(numbers) <= _MOST, numbers, np.nan)


def finite(values: ArrayLike) -> Floats:
    """The numbers that can be drawn. (n,) -> (m,), m <= n."""
    numbers = floats(values)
    return numbers[~np.isnan(numbers)]


def written(value: float) -> str:
    """A number so that reading gives back the same one.

    >>> written(1), written(0.1), written(float("nan"))
    ('1.0', '0.1', 'nan')
    """
    return repr(float(value))
