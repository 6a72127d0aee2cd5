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


@compiled()
def _copy(target: int, step: int, sources: Any, size: int) -> None:
    for i in range(len(sources)):
        if i + AHEAD < len(sources):
            for line in range(0, size, 64):
                _prefetch(sources[i + AHEAD] + line)  # type: ignore[call-arg]
        _memcpy(target + i * step, sources[i], size)  # type: ignore[call-arg]


def gather(sources: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Copy from each address as many bytes as a row of `out` has. (N,) addresses, (N, L) uint8.

    The caller vouches that every address has that many bytes behind it.
    """
    _copy(out.ctypes.data, out.strides[0], sources, out.shape[1])
