"""Index files for NVIDIA DALI's reader of WebDataset, which else walks each tar first."""

from pathlib import Path

from quire.artifacts.bundle import Bundle
from quire.artifacts.export.samples import extensions, link_shards, rows_of

_VERSION = "v1.2"


def write(bundle: Bundle, out: Path) -> None:
    """The shards, and `NAME.idx` beside each `NAME.tar`, as DALI's own `wds2idx` writes it.

    `fn.readers.webdataset(paths=[*.tar], index_paths=[*.idx])` takes both.
    """
    rows = bundle.index.rows
    own = sorted(extensions(bundle), key=lambda e: int(rows.offsets[e][0]))  # as the members lie
    link_shards(bundle, out)
    for shard, own_rows in rows_of(bundle):
        lines = [f"{_VERSION} {shard.samples}\n"]
        for row in own_rows:
            key = rows.keys[row].decode()
            places = ((e, rows.offsets[e][row], rows.lengths[e][row]) for e in own)
            lines.append(" ".join(f"{e} {at} {size} {key}.{e}" for e, at, size in places) + "\n")
        (out / shard.name).with_suffix(".idx").write_text("".join(lines), "ascii")
