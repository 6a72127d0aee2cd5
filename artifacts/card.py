"""The card: a README.md in every bundle, for whoever finds it without knowing Quire."""

import json
from collections.abc import Sequence

from artifacts.manifest import INDEX, MANIFEST, SUMS, Identity
from artifacts.shards import Rows, Shard

_CARD = """\
# {kind} · {source} · {split}

{samples:,} samples in {shards:,} shards, {size:.1f} MB. Made by Quire from `{source}` (split
`{split}`) by the recipe below; the same recipe from the same source gives the same bytes.

```json
{recipe}
```

## What is inside
- `*.tar`: WebDataset shards, plain USTAR. Each sample has {members}.
- `{index}`: one row a sample: key, shard, where each member lies, and the columns {columns}.
- `{manifest}`: recipe, source fingerprint, library versions, every file with its size and sha256.
- `{sums}`: `sha256sum -c {sums}` checks the bundle.

Classes: {classes}.

## How to read it
```python
import glob, webdataset as wds                            # sample by sample, as PIL images
for sample in wds.WebDataset(sorted(glob.glob("*.tar")), shardshuffle=False).decode("pil"):
    sample["__key__"], sample["{image}"]{label}

from datasets import load_dataset                         # the same by Hugging Face datasets
load_dataset("webdataset", data_files={{"{split}": "*.tar"}}, split="{split}", streaming=True)

import h5py                                               # the index alone
h5py.File("{index}")["key"][:10]

import quire                                              # shuffled batches as tensors
for batch in quire.stream(".", batch_size=256, shuffle=True):
    batch["image"]
```
"""


def card(identity: Identity, shards: Sequence[Shard], rows: Rows) -> str:
    """The text of a bundle's README.md; it follows from the arguments alone."""
    extensions = sorted(rows.offsets)
    images = [e for e in extensions if e not in {"cls", "json", "npy"}]
    return _CARD.format(
        kind=identity.recipe["kind"],
        source=identity.source["kind"],
        split=identity.source["split"],
        samples=sum(shard.samples for shard in shards),
        shards=len(shards),
        size=sum(shard.bytes for shard in shards) / 1e6,
        recipe=json.dumps(dict(identity.recipe), indent=1, sort_keys=True),
        members=", ".join(f"`.{e}`" for e in extensions) or "no member",
        columns=", ".join(f"`{c}`" for c in sorted(rows.columns)) or "(none)",
        classes=", ".join(identity.source["class_names"]),
        image=images[0] if images else "json",
        label=', sample["cls"]' if "cls" in extensions else "",
        index=INDEX,
        manifest=MANIFEST,
        sums=SUMS,
    )
