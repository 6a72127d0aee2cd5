"""What is known of the finished shards of a build, kept until they are bound to a bundle.

Each process appends to a file of its own, so a shard costs one new file, itself, and no more. A
record counts when all of it is there, which its digest tells; a process that is killed may leave
the beginning of one at the end of its file.
"""

import hashlib
import json
import os
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

SUFFIX = ".records"
_ABOUT = ".about"  # no name of an array
_FRAME = struct.Struct("<HQ32s")  # before a name and a body: their lengths, the digest of both


@dataclass(frozen=True, slots=True)
class Record:
    """Where the record of a shard lies."""

    path: Path
    start: int
    length: int

    def read(self, prefix: str = "") -> tuple[Any, dict[str, NDArray[Any]]]:
        """What `append` was given: what is said of the shard, and arrays whose names begin so."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            arrays = load(file.read(self.length))
        known = json.loads(arrays[_ABOUT].tobytes())
        found = {}
        for name in known["names"]:  # in their order
            if name.startswith(prefix):
                array, width = arrays[name], known["texts"].get(name)
                if width is not None:
                    array = array.view(f"S{width}").reshape(array.shape[:-1])
                found[name] = array
        return known["about"], found


def append(folder: Path, shard: str, about: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Add the record of a shard; see `packed`."""
    with (folder / _own_name(os.getpid())).open("ab") as file:
        file.write(packed(shard, about, arrays))


def packed(shard: str, about: Any, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The record of a shard; `about` is plain values. Records may follow one another in a file.

    safetensors knows no texts: they become bytes, a row each.
    """
    plain, texts = {}, {}
    for name, array in arrays.items():
        if array.dtype.kind == "S":
            texts[name] = array.dtype.itemsize
            flat = np.ascontiguousarray(array).view(np.uint8)
            array = flat.reshape(*array.shape, array.dtype.itemsize)
        plain[name] = np.ascontiguousarray(array)
    known = {"about": about, "names": [*arrays], "texts": texts}
    text = json.dumps(known).encode()
    body = save({**plain, _ABOUT: np.frombuffer(text, np.uint8)})
    digest = hashlib.sha256(shard.encode() + body).digest()
    frame = _FRAME.pack(len(shard.encode()), len(body), digest)
    return frame + shard.encode() + body


@cache
def _own_name(process: int) -> str:
    """The name of this process's file, which no process had before."""
    return f"{uuid.uuid4().hex}{SUFFIX}"


def records(folder: Path) -> dict[str, Record]:
    """The whole records of a folder, by the names of their shards."""
    return {
        name: record for path in sorted(folder.glob(f"*{SUFFIX}")) for name, record in _of(path)
    }


def _of(path: Path) -> Iterator[tuple[str, Record]]:
    """The records of one file, up to the first that is not whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            named, length, digest = _FRAME.unpack(frame)
            name, start = file.read(named), file.tell()
            if start + length > size:
                return
            if hashlib.sha256(name + file.read(length)).digest() != digest:
                return
            yield name.decode(), Record(path, start, length)
