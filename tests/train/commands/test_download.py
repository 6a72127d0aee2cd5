"""Downloads: torchvision's classes are called as they want to be, and failures are one line."""

import inspect
from pathlib import Path
from urllib.error import URLError

import pytest

from quire.artifacts.errors import SourceError
from quire.builders.sources.kinds import SOURCES
from quire.train.commands.download import download


class FakeDataset:
    """Writes one file, and notes how it was called, as torchvision's classes are."""

    calls: list[tuple[str, bool]]

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, root: str, train: bool = True, *, download: bool = False) -> "FakeDataset":
        self.calls.append((root, download))
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / "file").write_bytes(b"data")
        return self


def test_a_kind_is_fetched_into_the_folder(tmp_path: Path) -> None:
    fake = FakeDataset()
    for _ in range(2):  # the second time, torchvision finds everything there
        download("mnist", tmp_path / "new", datasets={"mnist": fake})
    assert fake.calls == [(str(tmp_path / "new"), True)] * 2
    assert (tmp_path / "new" / "file").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("[Errno -3] Temporary failure in name resolution"), "name resolution"),
        (RuntimeError("Error downloading x:\nTried y, got:\n<urlopen error>\n"), "Tried y, got"),
        (RuntimeError("File not found or corrupted."), "corrupted"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ConnectionResetError(104, "Connection reset by peer"), "reset by peer"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_a_failure_is_one_line(tmp_path: Path, error: Exception, reason: str) -> None:
    def fails(root: str, *, download: bool) -> object:
        raise error

    with pytest.raises(SourceError) as caught:
        download("cifar10", tmp_path, datasets={"cifar10": fails})
    message = str(caught.value)
    assert message.startswith(f"cifar10 could not be downloaded to {tmp_path}: ")
    assert reason in message
    assert "\n" not in message


def test_an_unknown_kind_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^folder cannot be downloaded; a, b can$"):
        download("folder", tmp_path, datasets={"a": FakeDataset(), "b": FakeDataset()})


def test_a_mistake_of_ours_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        download("a", tmp_path, datasets={"a": lambda: None})


def test_torchvision_has_a_class_for_each_kind_that_downloads() -> None:
    from quire.train.commands.download import _torchvision

    classes = _torchvision()
    assert list(classes) == [kind for kind, record in SOURCES.items() if record.downloads]
    for dataset in classes.values():
        inspect.signature(dataset).bind(root="x", download=True)
