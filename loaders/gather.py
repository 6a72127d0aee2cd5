"""Fixed-size members of many samples, gathered out of memory-mapped shards into one array.

A compiled loop over addresses: there is no Python per sample, and it holds no lock of the
interpreter, so it runs beside whatever else a training process does.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from quire.artifacts.compiled import compiled

AHEAD = 2  # samples whose cache lines are asked for before they are copied


@intrinsic
def _memcpy(typing_context: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy `size` bytes from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, since, length = arguments
        cgutils.raw_memcpy(  # type: ignore[no-untyped-call]
            builder,
            builder.inttoptr(to, cgutils.voidptr_t),
            builder.inttoptr(since, cgutils.voidptr_t),
            length,
            1,
        )
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@intrinsic
def _prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flag = ir.IntType(32)
        kind: Any = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0i8"
        )
        pointer = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(function, [pointer, flag(0), flag(3), flag(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def _word(typing_context: Any, address: Any) -> Any:
    """The eight bytes at an address, wherever that is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(types.intp), generate


@compiled()
def _copy(target: int, step: int, sources: Any, size: int, header: int, length: int) -> int:
    for i in range(len(sources)):
        if i + AHEAD < len(sources):
            for line in range(0, length + size, 64):
                _prefetch(sources[i + AHEAD] + line)  # type: ignore[call-arg]
        for begin in range(0, length, 8):
            start = min(begin, length - 8)
            if _word(sources[i] + start) != _word(header + start):  # type: ignore[call-arg]
                return i
        _memcpy(target + i * step, sources[i] + length, size)  # type: ignore[call-arg]
    return -1


def gather(sources: NDArray[np.int64], header: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Copy what follows a header at each address. -> the first that has another header, else -1.

    What follows another header is not copied. The caller vouches that every address has as many
    bytes behind it as a header (8 or more) and a row of `out` have. (N,) addresses, (N, L) uint8.
    """
    target, step, size = out.ctypes.data, out.strides[0], out.shape[1]
    return int(_copy(target, step, sources, size, header.ctypes.data, len(header)))
