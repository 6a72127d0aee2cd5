"""The Hugging Face Hub as a place to write to: several files make one commit.

Its own file system commits each file alone, and the Hub takes some hundred commits an hour.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quire.artifacts.address import Address
from quire.artifacts.errors import BundleError
from quire.artifacts.sharing.target import Target
from quire.artifacts.sharing.transfers import AnyFile, Count

_FILES = 50  # of one commit
_BYTES = 1 << 32


class HubTarget(Target):
    """A repository `hf://datasets/NAME/NAME`, or a bucket `hf://buckets/NAME/NAME`."""

    def __init__(self, address: Address) -> None:
        """See `Target`.

        Raises:
            BundleError: there is no such repository, or huggingface_hub is not installed.
        """
        super().__init__(address)
        try:
            self._repository: Any = self.files.resolve_path(self.place(""))
        except FileNotFoundError:
            raise BundleError(
                f"{address}: there is no such repository for you; create it first, with"
                " `hf repo create --repo-type dataset`"
            ) from None
        except (ValueError, NotImplementedError) as error:
            raise BundleError(f"{address} names no repository ({error})") from None
        if hasattr(self._repository, "repo_id"):
            self.at_a_time = 1  # commits follow one another

    def groups(self, files: Sequence[AnyFile]) -> Sequence[Sequence[AnyFile]]:
        """See `Target`; the files of one commit."""
        if not hasattr(self._repository, "repo_id"):
            return super().groups(files)
        groups: list[list[AnyFile]] = []
        size = 0
        for file in files:
            size += file.bytes
            if not groups or len(groups[-1]) == _FILES or size > _BYTES:
                groups.append([])
                size = file.bytes
            groups[-1].append(file)
        return groups

    def put(self, paths: Sequence[Path], count: Count) -> None:
        """See `Target`."""
        if not hasattr(self._repository, "repo_id"):
            super().put(paths, count)
            return
        from huggingface_hub import CommitOperationAdd, HfApi

        def once() -> None:
            below = self._repository.path_in_repo
            names = [f"{below}/{path.name}" if below else path.name for path in paths]
            HfApi(endpoint=self.files.endpoint, token=self.files.token).create_commit(
                self._repository.repo_id,
                [
                    CommitOperationAdd(name, str(path))
                    for name, path in zip(names, paths, strict=True)
                ],
                commit_message=f"Push {len(paths)} files of a bundle",
                repo_type=self._repository.repo_type,
                revision=self._repository.revision,
            )

        self.address.tried(paths[0].name, once, what="written")
        count(sum(path.stat().st_size for path in paths))
