"""One folder for all tests of studies, as studies share bundles and runs."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the studies share bundles and runs."""
    return tmp_path_factory.mktemp("studies")
