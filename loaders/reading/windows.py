"""Windows: the samples that are needed soon, in memory of their own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.shards import Shard, sample_starts
from quire.loaders.order import Positions, Rows, stored_bytes
from quire.loaders.reading.held import Bytes, Held
from quire.loaders.reading.memory import Memory
from quire.loaders.reading.reads import Read, reads_of

_TASK = 1 << 18  # bytes
_BLOAT = 3  # times the bytes of samples that reads of them may take
PAGE = 4096  # bytes by which memory and places in files are aligned, for reads past the cache
# Makes a read. It gets whole pages, and puts the first byte at the place in its page that it has
# in the file; what the pages hold beside the read does not matter.
Fill: TypeAlias = Callable[[Read, Bytes], None]


class Windows:
    """Samples of which only those that are needed soon are in memory.

    Threads read a window. Its memory is let go of when all of its samples were used, and then
    used again.
    """

    def __init__(
        self,
        index: Index,
        shards: Sequence[Shard],
        fill: Fill,
        *,
        threads: int,
        reads: Callable[[Rows], list[Read]] | None = None,
    ) -> None:
        """`fill` is called by several threads at a time, and may raise a BundleError.

        `reads` are those that some rows take; default: of the samples and nothing else.
        """
        self.index = index
        self.reads = reads or partial(reads_of, index)
        self.fill = fill
        sizes = np.array([shard.bytes for shard in shards], np.int64)
        self.firsts = sizes.cumsum() - sizes  # where shards begin when they are laid end to end
        self.pool = ThreadPoolExecutor(threads)
        self.memory = Memory(spare=1, alike=True)
        self.open: list[_Window] = []
        self.lock = threading.Lock()

    def clear(self) -> None:
        """Give up what was planned; what is in use stays for as long as it is."""
        with self.lock:
            for window in self.open:
                window.given_up = True
            self.open = []

    def begin(self, rows: Rows) -> None:
        """Have a window of these samples read, and do not wait for it."""
        window = _Window(rows, self.reads(rows), self.firsts, self.memory)
        self._begin(window)
        with self.lock:
            self.open = [*self.open, window]

    def parts(self, rows: Rows) -> int:
        """See `quire.loaders.reading.held.Ahead`."""
        size = sum(read.stop - read.start + PAGE for read in self.reads(rows))
        return 1 + size // (_BLOAT * (1 + stored_bytes(self.index, rows)))

    def held(self, rows: Rows) -> Held:
        """See `quire.loaders.reading.held.Shards`; what is in no window is read now."""
        firsts = self.firsts.take(self.index.shard.take(rows))
        positions = firsts + sample_starts(self.index.rows, rows)
        held = Held({}, np.empty(len(rows), np.int64), firsts, np.empty(len(rows), np.int64))
        lacking = np.arange(len(rows))
        for window in self.open:
            own = window.has(rows.take(lacking))
            if own.any():
                self._place(held, window, positions, lacking[own])
                lacking = lacking[~own]
            if not len(lacking):
                break
        else:
            others = rows[lacking]
            window = _Window(others, self.reads(others), self.firsts, self.memory)
            self._begin(window)
            self._place(held, window, positions, lacking)
        return held

    def _place(
        self, held: Held, window: "_Window", positions: NDArray[np.int64], own: Positions
    ) -> None:
        """Wait for some of the samples, those that are a window's own, and say where they are."""
        numbers = window.find(positions.take(own))
        window.wait(numbers)
        number = len(held.arrays)
        held.arrays[number] = window.memory
        held.which[own] = number
        held.begins[own] += window.shifts.take(numbers)
        held.addresses[own] = held.begins.take(own) + window.memory.ctypes.data
        with self.lock:
            window.left -= len(own)
            if window.left <= 0:
                self.open = [other for other in self.open if other is not window]

    def _begin(self, window: "_Window") -> None:
        tasks = range(len(window.done))
        window.futures = [self.pool.submit(self._make, window, task) for task in tasks]

    def _make(self, window: "_Window", task: int) -> None:
        for number in window.reads_of(task):
            if window.given_up or not threading.main_thread().is_alive():
                raise BundleError("another epoch began")  # nobody waits for this one any more
            self.fill(window.reads[number], window.slot(number))


class _Window:
    """The reads of some samples, and memory for them."""

    def __init__(
        self, rows: Rows, reads: Sequence[Read], firsts: NDArray[np.int64], memory: Memory
    ) -> None:
        self.rows = np.append(np.sort(rows), np.iinfo(np.int64).max)
        table = np.array([(read.shard, read.start, read.stop) for read in reads], np.int64)
        shards, starts, stops = table.reshape(-1, 3).T
        self.reads = reads
        self.starts = firsts[shards] + starts
        before = starts % PAGE  # what a slot has before the read's first byte
        slots = -(-(before + stops - starts) // PAGE) * PAGE
        size = int(slots.sum())
        self.memory = memory.empty((size + PAGE,))
        self.slots = slots.cumsum() - slots + -self.memory.ctypes.data % PAGE  # in the memory
        self.shifts = self.slots + before - self.starts  # from the shards, end to end, to memory
        self.lengths = slots
        # Small reads are made together, each task of them by one thread.
        self.tasks = np.unique(self.slots // _TASK, return_inverse=True)[1]
        self.done = np.zeros(int(self.tasks.max(initial=-1)) + 1, np.bool_)
        self.futures: Sequence[Future[None]] = ()  # of the tasks
        self.left = len(rows)  # that were not used
        self.given_up = False

    def slot(self, number: int) -> Bytes:
        """The memory of a read."""
        start = int(self.slots[number])
        return self.memory[start : start + int(self.lengths[number])]

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of some rows are its own; between these it may have others. (B,) -> (B,)."""
        own: NDArray[np.bool_] = self.rows.take(np.searchsorted(self.rows, rows)) == rows
        return own

    def find(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The read of each position. (B,) positions in the shards, laid end to end -> (B,)."""
        return np.searchsorted(self.starts, positions, "right") - 1

    def wait(self, numbers: NDArray[np.int64]) -> None:
        """Wait for reads.

        Raises:
            BundleError: one could not be made.
        """
        tasks = self.tasks.take(numbers)
        for task in np.unique(tasks[~self.done.take(tasks)]).tolist():
            self.futures[task].result()
            self.done[task] = True

    def reads_of(self, task: int) -> range:
        """The numbers of the reads of a task."""
        return range(*np.searchsorted(self.tasks, [task, task + 1]).tolist())
