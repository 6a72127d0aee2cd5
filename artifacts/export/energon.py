"""Megatron Energon's own folder of a WebDataset, as its `prepare` writes it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quire.artifacts.bundle import Bundle
from quire.artifacts.export.samples import extensions, link_shards, rows_of
from quire.artifacts.members import IMAGES
from quire.artifacts.shards import TRAILER, sample_starts

_PARTS = ("train", "val", "test")


def write(bundle: Bundle, out: Path) -> None:
    """The shards, where each sample begins in `NAME.tar.idx`, and `.nv-meta`.

    Its samples are Energon's `ImageClassificationSample` where they have a class, `ImageSample`
    where they have an image alone, and else those of `CrudeWebdataset`: dicts with the files of
    each sample by extension, for a cooker of one's own.
    """
    about = _about(extensions(bundle))
    link_shards(bundle, out)
    for shard, own_rows in rows_of(bundle):
        starts = sample_starts(bundle.index.rows, np.array(own_rows))
        end = shard.bytes - len(TRAILER)
        offsets = np.append(starts, end).astype("<u8")
        (out / shard.name).with_suffix(".tar.idx").write_bytes(offsets.tobytes())
    meta = out / ".nv-meta"
    meta.mkdir()
    counts = {shard.name: shard.samples for shard in bundle.manifest.shards}
    split = bundle.manifest.identity.recipe.get("split")
    own = split if split in _PARTS else "train"
    parts = {part: [*counts] if part == own else [] for part in _PARTS}
    _write(meta / ".info.yaml", {"shard_counts": counts})
    _write(meta / "split.yaml", {"split_parts": parts, "exclude": []})
    _write(meta / "dataset.yaml", about)


def _about(extensions: Sequence[str]) -> Mapping[str, object]:
    """Energon's kind of such samples, and which files have which of its fields."""
    first, *others = extensions
    if first not in IMAGES or others not in ([], ["cls"]):
        return _named("CrudeWebdataset")
    if not others:
        return {"sample_type": _named("ImageSample"), "field_map": {"image": first}}
    fields = {"image": first, "label": "cls"}
    return {"sample_type": _named("ImageClassificationSample"), "field_map": fields}


def _named(name: str) -> Mapping[str, object]:
    return {"__module__": "megatron.energon", "__class__": name}


def _write(path: Path, record: Mapping[str, object]) -> None:
    """JSON, which YAML takes as its own."""
    path.write_text(json.dumps(record, indent=1) + "\n", "ascii")
