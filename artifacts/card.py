"""The card: a README.md in every bundle, for whoever finds it without knowing Quire."""

import json
from collections.abc import Sequence

from quire.artifacts.front_matter import front_matter
from quire.artifacts.manifest import INDEX, MANIFEST, NO_SOURCE, SUMS, Identity
from quire.artifacts.members import IMAGES
from quire.artifacts.shards import Rows, Shard

_INSIDE = """\
# {title}

{samples:,} samples in {shards:,} shards, {size:.1f} MB. {made}

```json
{recipe}
```

## What is inside
{shards_of}\
- `{index}`: one row a sample: key, shard, where each member lies, and the columns {columns}.
{tables}\
- `{manifest}`: recipe, source fingerprint, library versions, every file with its size and sha256.
- `{sums}`: `sha256sum -c {sums}` checks the bundle.

"""
_OF_A_SOURCE = """\
Made by Quire from `{source}` (split
`{split}`) by the recipe below; the same recipe from the same source gives the same bytes."""
_OF_NOTHING = """\
Made by Quire by the recipe
below, from no source; the same recipe gives the same bytes."""
_OF_A_NETWORK = """\
Made by Quire from `{source}` (split
`{split}`) by a network, whose digest the manifest has. Another processor or version of torch
rounds otherwise, so what they make of the same images is close to this, and not equal."""
_SHARDS = "- `*.tar`: WebDataset shards, plain USTAR. Each sample has {members}.\n"
_TABLE = (
    "- `{table}`: a table of the whole, each array of which says what it holds and in which unit.\n"
)

_READ_IMAGES = """\
## How to read it
```python
import glob, webdataset as wds                            # sample by sample, as PIL images
for sample in wds.WebDataset(sorted(glob.glob("*.tar")), shardshuffle=False).decode("pil"):
    sample["__key__"], sample["{member}"]{label}

from datasets import load_dataset                         # the same by Hugging Face datasets
load_dataset("webdataset", data_files={{"{split}": "*.tar"}}, split="{split}", streaming=True)

import h5py                                               # the index alone
h5py.File("{index}")["key"][:10]

import quire                                              # shuffled batches as tensors
for batch in quire.stream(".", {columns}batch_size=256, shuffle=True):
    batch["{field}"]
```
"""
_READ_OTHERS = """\
## How to read it
```python
import glob, webdataset as wds                            # sample by sample, as arrays and records
for sample in wds.WebDataset(sorted(glob.glob("*.tar")), shardshuffle=False).decode():
    sample["__key__"], sample["{member}"]

import h5py                                               # the tables alone
h5py.File("{table}").visit(print)

import quire                                              # shuffled batches as tensors
for batch in quire.stream(".", columns=[], batch_size=256, shuffle=True):
    batch["row"]
```
"""

_READ_TABLES = """\
## How to read it
```python
import h5py
h5py.File("{table}").visititems(lambda name, entry: print(name, entry))
```
"""


def card(
    identity: Identity, shards: Sequence[Shard], rows: Rows, tables: Sequence[str] = ()
) -> str:
    """The text of a bundle's README.md; it follows from the arguments alone.

    `tables` are the names of the whole-dataset tables, the index not among them.
    """
    extensions = sorted(rows.offsets)
    source, split = identity.source["kind"], identity.source["split"]
    made = _OF_NOTHING
    if source != NO_SOURCE:
        made = _OF_A_NETWORK if "weights" in identity.inputs else _OF_A_SOURCE
        made = made.format(source=source, split=split)
    members = ", ".join(f"`.{e}`" for e in extensions) or "no member"
    inside = _INSIDE.format(
        title=" · ".join(identity.words),
        samples=sum(shard.samples for shard in shards),
        shards=len(shards),
        size=sum(shard.bytes for shard in shards) / 1e6,
        made=made,
        recipe=json.dumps(dict(identity.recipe), indent=1, sort_keys=True),
        shards_of=_SHARDS.format(members=members) if shards else "",
        columns=", ".join(f"`{c}`" for c in sorted(rows.columns)) or "(none)",
        tables="".join(_TABLE.format(table=table) for table in tables),
        index=INDEX,
        manifest=MANIFEST,
        sums=SUMS,
    )
    names = identity.source["class_names"]
    classes = f"Classes: {', '.join(names)}.\n\n" if names else ""
    head = front_matter(identity, shards, rows)
    return head + inside + classes + _how_to_read(rows, split, tables)


def _how_to_read(rows: Rows, split: str, tables: Sequence[str]) -> str:
    extensions = sorted(rows.offsets, key=lambda e: ("." in e, e))  # the image before its masks
    images = [e for e in extensions if e.rpartition(".")[2] in IMAGES]
    if images:
        return _READ_IMAGES.format(
            member=images[0],
            field=images[0].rpartition(".")[0] or "image",
            label=', sample["cls"]' if "cls" in extensions else "",
            columns="" if "label" in rows.columns else "columns=[], ",
            split=split,
            index=INDEX,
        )
    table = tables[0] if tables else INDEX
    if not extensions:
        return _READ_TABLES.format(table=table)
    return _READ_OTHERS.format(member=extensions[0], table=table)
