"""Where a run computes."""

import pytest
import torch

from quire.artifacts.errors import RunError
from quire.train.engine.options import best_device


def test_a_device_has_a_name_that_torch_knows() -> None:
    assert best_device("cpu") == torch.device("cpu")
    assert best_device("cuda:1") == torch.device("cuda", 1)
    assert best_device(None).type in ("cpu", "cuda")
    for name, message in {
        "mps": "mps has no float64.*: take cpu",
        "meta": "nothing runs on 'meta' here",
    }.items():
        with pytest.raises(RunError, match=message):
            best_device(name)
    with pytest.raises(RunError, match="no device 'banana'"):
        best_device("banana")
