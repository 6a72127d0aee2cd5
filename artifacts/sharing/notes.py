"""What is going on at an address, which nothing locks: a note of each bundle that is written there.

Whoever begins writes a note first, and looks for those of others then: of two that begin at once
at least one sees the other's.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict

from quire.artifacts.address import MissingFile
from quire.artifacts.errors import QuireError
from quire.artifacts.manifest import Identity
from quire.artifacts.sharing.target import Target

_SUFFIX = ".json"


class Notes:
    """The notes in a folder of an address."""

    def __init__(self, target: Target, folder: str) -> None:
        """`folder` holds what is unfinished there, the notes among it."""
        self.target = target
        self.folder = folder

    def any(self) -> bool:
        """Whether anything has begun."""
        return bool(self._names())

    def difference(self, own: str, identity: Identity) -> str | None:
        """How another bundle that has begun differs from one's own; None where there is none.

        `own` is what tells bundles of one identity apart.
        """
        for name in sorted(self._names() - {_name(own)}):
            try:
                there = json.loads(self.target.read(f"{self.folder}/{name}"))
                difference = identity.as_read().difference(Identity(**there))
            except (MissingFile, ValueError, TypeError):
                difference = None
            return difference or "its bytes are others"
        return None

    def begin(self, own: str, identity: Identity, check: Callable[[], None]) -> None:
        """Write a note, which is taken back if `check` refuses to begin.

        Raises:
            QuireError: from `check`.
        """
        note = f"{self.folder}/{_name(own)}"
        self.target.write(note, json.dumps(asdict(identity)).encode())
        try:
            check()
        except QuireError:
            self.target.remove(note)
            raise

    def _names(self) -> set[str]:
        return {name for name in self.target.sizes(self.folder) if name.endswith(_SUFFIX)}


def _name(own: str) -> str:
    return f"{hashlib.sha256(own.encode()).hexdigest()[:16]}{_SUFFIX}"
