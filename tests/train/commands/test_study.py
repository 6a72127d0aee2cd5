"""How a user names the sources of a study."""

import pytest

from artifacts.errors import RunError
from train.commands.study import named


def test_names_of_sources() -> None:
    assert named(()) == {}
    for wrong in ("", "cifar10", ":x", "=x:y", "mit67="):
        with pytest.raises(RunError, match="is not KIND:PATH"):
            named((wrong,))
