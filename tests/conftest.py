"""Tests run side by side, one process a core: threads of their own would only get in the way.

So they take one each, and the processes that they start as well, unless OMP_NUM_THREADS says more.
No example of Hypothesis has a deadline: a machine may be as slow as it is.
"""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

hypothesis.settings.register_profile("quire", deadline=None)
hypothesis.settings.load_profile("quire")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    import torch  # takes seconds, which the process that only hands out tests can spare

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """Leave what was imported out of the garbage collector's every round."""
    gc.freeze()
