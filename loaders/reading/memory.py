"""Memory that is used again."""

import math
import weakref

import numpy as np
from numpy.typing import NDArray


class Memory:
    """Memory for batches, used again once nothing refers to the batch that was in it.

    Fresh memory has to be cleared by the kernel, which takes a tenth of the time in which
    photographs are decoded into it.
    """

    def __init__(self, spare: int = 4, *, alike: bool = False) -> None:
        """`spare`: so many batches of about one size, which nothing refers to, are kept.

        Where all are `alike` that is as many in all: what is too small for another is let go of.
        """
        self._spare: dict[int, list[memoryview]] = {}  # by the bit length of what they were for
        self._most = spare
        self._alike = alike

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array of bytes, whatever they are."""
        size = math.prod(shape)
        spare = self._spare.setdefault(0 if self._alike else size.bit_length(), [])
        memory = spare.pop() if spare else None
        if memory is None or memory.nbytes < size:
            memory = None  # before more is taken
            memory = np.empty(1 << size.bit_length(), np.uint8).data
        whole = np.frombuffer(memory, np.uint8)  # alive as long as any view of it
        weakref.finalize(whole, _give_back, memory, spare, self._most).atexit = False
        return whole[:size].reshape(shape)


def _give_back(memory: memoryview, spare: list[memoryview], most: int) -> None:
    if len(spare) < most:
        spare.append(memory)
