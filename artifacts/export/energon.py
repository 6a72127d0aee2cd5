"""Megatron Energon's own folder of a WebDataset, as its `prepare` writes it."""

import json
from pathlib import Path

import numpy as np

from quire.artifacts.bundle import Bundle
from quire.artifacts.export.samples import extensions, link_shards
from quire.artifacts.shards import TRAILER, sample_starts

_PARTS = {"train": "train", "val": "val", "test": "test"}


def write(bundle: Bundle, out: Path) -> None:
    """The shards, where each sample begins in `NAME.tar.idx`, and `.nv-meta`.

    Its samples are `CrudeWebdataset`'s: dicts with the files of each sample by extension.
    """
    extensions(bundle)  # there are some
    link_shards(bundle, out)
    for number, shard in enumerate(bundle.manifest.shards):
        rows = np.flatnonzero(bundle.index.shard == number)
        starts = sample_starts(bundle.index.rows, rows)
        end = shard.bytes - len(TRAILER)
        offsets = np.append(starts, end).astype("<u8")
        (out / shard.name).with_suffix(".tar.idx").write_bytes(offsets.tobytes())
    meta = out / ".nv-meta"
    meta.mkdir()
    counts = {shard.name: shard.samples for shard in bundle.manifest.shards}
    split = _PARTS.get(str(bundle.manifest.identity.recipe.get("split")), "train")
    parts = {part: [*counts] if part == split else [] for part in _PARTS}
    about = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    _write(meta / ".info.yaml", {"shard_counts": counts})
    _write(meta / "split.yaml", {"split_parts": parts, "exclude": []})
    _write(meta / "dataset.yaml", about)


def _write(path: Path, record: dict[str, object]) -> None:
    """JSON, which YAML takes as its own."""
    path.write_text(json.dumps(record, indent=1) + "\n", "ascii")
