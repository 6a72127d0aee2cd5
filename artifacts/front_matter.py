"""The head of a card, by which the Hub and Hugging Face `datasets` know what a folder holds.

It is YAML; each entry is written as JSON, which YAML takes, so its bytes follow from the bundle
alone and from no library's version.
"""

import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import numpy as np

from quire.artifacts.manifest import Identity
from quire.artifacts.members import IMAGES
from quire.artifacts.shards import Rows, Shard

_SIZES = tuple(10**power for power in range(3, 13))
_UNITS = {0: "", 1: "K", 2: "M", 3: "B", 4: "T"}
_DEFAULT = "default"


def front_matter(identity: Identity, shards: Sequence[Shard], rows: Rows) -> str:
    """The text between the lines `---` at the beginning of a card."""
    samples = sum(shard.samples for shard in shards)
    entries: dict[str, Any] = {
        "pretty_name": " ".join(identity.words),
        "tags": ["quire", "webdataset"] if shards else ["quire"],
        "size_categories": [size_category(samples)],
    }
    if task := _task(rows):
        entries["task_categories"] = [task]
    features: Sequence[Mapping[str, Any]] = ()
    groups: Mapping[str, str | list[str]] = {}
    if shards and rows.offsets:
        split = str(identity.source["split"])
        features = features_of(rows, identity.source["class_names"])
        groups = configurations(shards, rows)
        entries["configs"] = [
            {"config_name": name, "data_files": [{"split": split, "path": files}]}
            for name, files in groups.items()
        ]
    lines = ["---"]
    for name, value in entries.items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"- {_quoted(item)}" for item in value)]
        else:
            lines.append(f"{name}: {_quoted(value)}")
    if features:
        lines.append("dataset_info:")
        said = f"&features {_quoted(features)}"  # once, however many configurations have them
        for name in groups:
            lines.append(f'- {{"config_name": {_quoted(name)}, "features": {said}}}')
            said = "*features"
    return "\n".join([*lines, "---", ""])


def _quoted(value: Any) -> str:
    """A value as JSON that is YAML, too: what lies outside of ASCII is told by its number."""

    def told(found: re.Match[str]) -> str:
        number = ord(found[0])
        return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"

    return re.sub(r"[^ -~]", told, json.dumps(value, ensure_ascii=False))


def size_category(samples: int) -> str:
    """How many samples there are, as the Hub has it.

    >>> size_category(999), size_category(50_000), size_category(10**13)
    ('n<1K', '10K<n<100K', 'n>1T')
    """
    if samples < _SIZES[0]:
        return "n<1K"
    for low, high in pairwise(_SIZES):
        if samples < high:
            return f"{_short(low)}<n<{_short(high)}"
    return f"n>{_short(_SIZES[-1])}"


def _short(number: int) -> str:
    power = (len(str(number)) - 1) // 3
    return f"{number // 1000**power}{_UNITS[power]}"


def _task(rows: Rows) -> str | None:
    """What the samples are for, in the Hub's words."""
    if "mask.png" in rows.offsets:
        return "image-segmentation"
    return "image-classification" if "cls" in rows.offsets else None


def features_of(rows: Rows, class_names: Sequence[str]) -> list[Mapping[str, Any]]:
    """The columns that `datasets` has of the samples; none where it finds them out by itself."""
    features: list[Mapping[str, Any]] = []
    for extension in sorted(rows.offsets, key=lambda e: (e == "cls", "." in e, e)):
        if extension.rpartition(".")[2] in IMAGES:
            features.append({"name": extension, "dtype": "image"})
        elif extension == "cls":
            names = {str(number): name for number, name in enumerate(class_names)}
            label: Any = {"class_label": {"names": names}} if names else "int64"
            features.append({"name": "cls", "dtype": label})
        else:
            return []
    return [*features, *({"name": name, "dtype": "string"} for name in ("__key__", "__url__"))]


def configurations(shards: Sequence[Shard], rows: Rows) -> Mapping[str, str | list[str]]:
    """The files of each configuration: one for each corruption, else one alone.

    By a pattern, where one means these shards and no others.
    """
    names = [shard.name for shard in shards]
    groups = {_DEFAULT: names}
    if "corruption" in rows.columns:
        ends = np.cumsum([shard.samples for shard in shards])
        firsts = np.r_[0, ends[:-1]]
        values = [value.decode() for value in rows.columns["corruption"][firsts].tolist()]
        groups = {value: [] for value in values}
        for value, name in zip(values, names, strict=True):
            groups[value].append(name)
    found: dict[str, str | list[str]] = {}
    for value, own in groups.items():
        pattern = "*.tar" if value == _DEFAULT else f"*-{value}-*.tar"
        fits = [name for name in names if fnmatchcase(name, pattern)]
        found[value] = pattern if fits == own else own
    return found
