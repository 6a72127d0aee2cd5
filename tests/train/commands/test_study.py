"""How a user names the sources of a study."""

import pytest

from quire.artifacts.errors import RunError
from quire.train.commands.study import files, named


def test_names_of_sources() -> None:
    assert named(()) == {}
    for wrong in ("", "cifar10", ":x", "=x:y", "mit67="):
        with pytest.raises(RunError, match="is not KIND:PATH"):
            named((wrong,))


def test_weights_are_of_encoders_and_trunks_that_begin_with_some() -> None:
    given = ("imagenet-resnet50=/a=b.pth", "imagenet-resnet18=c.pth")
    assert files(given) == {"imagenet-resnet50": "/a=b.pth", "imagenet-resnet18": "c.pth"}
    for wrong in ("resnet18=a.pth", "imagenet-small=a.pth"):
        with pytest.raises(RunError, match=r"begins with no weights; there are .*-resnet101"):
            files((wrong,))
    for wrong in ("imagenet-resnet18", "imagenet-resnet18="):
        with pytest.raises(RunError, match="are not ENCODER=PATH"):
            files((wrong,))
