"""Arrays of a table that are read when they are asked for, and arrays that need no table."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Later:
    """An array that is read when it is first asked for."""

    def __init__(self, length: int, read: Callable[[], NDArray[Any]]) -> None:
        self._length = length
        self._read = read
        self._array: NDArray[Any] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype, copy=copy)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process: no lock, and nothing that was read."""
        return {"_length": self._length, "_read": self._read}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["_length"], state["_read"])  # type: ignore[misc]

    @property
    def array(self) -> NDArray[Any]:
        """All of it."""
        with self._lock:
            if self._array is None:
                self._array = self._read()
            return self._array

    def tolist(self) -> list[Any]:
        """All of it, as Python's values."""
        values: list[Any] = self.array.tolist()
        return values


class LaterColumns(Mapping[str, NDArray[Any]]):
    """Arrays by name, each read when it is first asked for."""

    def __init__(self, columns: Mapping[str, Later]) -> None:
        self._columns = columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name].array

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Even:
    """Where one member of each sample begins, where all samples of a bundle take the same space.

    The j-th sample of a shard has it at first + j * stride.
    """

    def __init__(
        self, first: int, stride: int, shard: NDArray[np.int32], begins: NDArray[np.int64]
    ) -> None:
        """`shard` (N,) is that of each sample, `begins` (S,) the first sample of each shard."""
        self.first = first
        self.stride = stride
        self._shard = shard
        self._begins = begins

    def __len__(self) -> int:
        return len(self._shard)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some samples. (B,) -> (B,)."""
        found: NDArray[np.int64] = rows - self._begins.take(self._shard.take(rows))
        found *= self.stride
        found += self.first
        return found

    def __getitem__(self, key: Any) -> Any:
        """As an array has it: one sample, a run of them, or some."""
        if isinstance(key, slice):
            return self.take(np.arange(*key.indices(len(self))))
        if np.ndim(key) == 0:
            return int(self.take(np.array([key]))[0])
        return self.take(np.asarray(key, np.int64))
