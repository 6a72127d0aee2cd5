"""Environments in which a process computes as an older x86-64 processor would.

The libraries that choose instructions by processor leave out the newer ones when they are told so.
"""

import os
import platform
from collections.abc import Mapping

import pytest

_NEWEST = ("X86_V4", "AVX512")  # how NumPy's names of what AVX2 lacks begin


def older(level: str) -> Mapping[str, str]:
    """The environment of a process that is to compute as `sse` or `avx2`; skips where none can.

    Numba's compiled code is kept by processor, so the levels do not meet each other's.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip(f"{platform.machine()} cannot pretend to be an older x86-64 processor")
    features = _numpys()
    if level == "avx2":
        if not any(name.startswith(_NEWEST) for name in features):
            pytest.skip("this processor has nothing newer than AVX2")
        features = [name for name in features if name.startswith(_NEWEST)]
        return {
            **os.environ,
            "NPY_DISABLE_CPU_FEATURES": " ".join(features),
            "OPENCV_CPU_DISABLE": "AVX512-SKX",
            "NUMBA_CPU_NAME": "haswell",
            "OPENBLAS_CORETYPE": "Haswell",
        }
    return {
        **os.environ,
        "NPY_DISABLE_CPU_FEATURES": " ".join(features),
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "OPENBLAS_CORETYPE": "Prescott",
    }


def _numpys() -> list[str]:
    """The features of this processor that NumPy has code of its own for."""
    from numpy._core import _multiarray_umath as core  # type: ignore[attr-defined]

    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]
