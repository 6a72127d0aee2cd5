"""A file for each image, in a folder for each class, as many tools want to have them."""

from pathlib import Path

from quire.artifacts.bundle import Bundle
from quire.artifacts.export.samples import (
    class_names,
    extensions,
    folder_name,
    image_extension,
    rows_of,
    samples,
    texts,
)


def write(bundle: Bundle, out: Path) -> None:
    """CLASS/KEY.EXTENSION; of a bundle of corruptions CORRUPTION/SEVERITY/CLASS/KEY.EXTENSION.

    Images without a label, and their masks, go to a folder for each kind: images/KEY.jpg,
    mask/KEY.png. The files are those in the shards, byte for byte.
    """
    image, rows = image_extension(bundle), bundle.index.rows
    others = [e for e in extensions(bundle) if e not in (image, "cls")]
    labels, names = rows.columns.get("label"), class_names(bundle)
    cells = [texts(bundle, name) for name in ("corruption", "severity")]
    made: set[Path] = set()
    for shard, own_rows in rows_of(bundle):
        for row, key, files in samples(bundle, shard, own_rows):
            above = [folder_name(values[row]) for values in cells if values is not None]
            if labels is None:
                parts = {image: "images", **{e: e.rpartition(".")[0] or e for e in others}}
            else:
                label = int(labels[row])
                known = 0 <= label < len(names)
                own = folder_name(names[label]) if known else f"{label}"
                parts = {image: own}
            for extension, part in parts.items():
                folder = out.joinpath(*above, part)
                if folder not in made:
                    folder.mkdir(parents=True, exist_ok=True)
                    made.add(folder)
                path = folder / f"{key}.{extension.rpartition('.')[2]}"
                path.write_bytes(files[extension])
