"""Parquet files, a row a sample, as Hugging Face `datasets` writes and reads them."""

import json
from pathlib import Path
from typing import Any

from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.export.samples import class_names, extensions, rows_of, samples
from quire.artifacts.members import IMAGES

_GROUP = 1000  # rows that are written at a time


def write(bundle: Bundle, out: Path) -> None:
    """`NAME.parquet` for each shard `NAME.tar`, with the files of each sample and its columns.

    An image is a struct of `bytes` and `path`, which `datasets` decodes; `image` is that of the
    sample, `mask` its mask. Class ids are the column `label`.

    Raises:
        BundleError: pyarrow is not installed, or the samples have no files.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise BundleError(f"Parquet wants pyarrow: pip install pyarrow ({error})") from None
    rows = bundle.index.rows
    columns = {name: values for name, values in rows.columns.items() if values.ndim == 1}
    files = {_name(e): e for e in extensions(bundle) if e != "cls" or "label" not in columns}
    kinds = {name: pyarrow.binary() for name in files}
    pictures = [name for name, e in files.items() if e.rpartition(".")[2] in IMAGES]
    picture = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    kinds |= dict.fromkeys(pictures, picture)
    kinds |= {n: pyarrow.string() for n, e in files.items() if e.rpartition(".")[2] == "json"}
    texts = [name for name, values in columns.items() if values.dtype.kind == "S"]
    kinds |= {
        name: pyarrow.string() if name in texts else pyarrow.from_numpy_dtype(values.dtype)
        for name, values in columns.items()
    }
    schema = pyarrow.schema({"key": pyarrow.string(), **kinds})
    told = {"info": {"features": _features(bundle, schema, pictures)}}
    schema = schema.with_metadata({"huggingface": json.dumps(told)})
    for shard, own_rows in rows_of(bundle):
        with parquet.ParquetWriter((out / shard.name).with_suffix(".parquet"), schema) as writer:
            lines: list[dict[str, Any]] = []
            for row, key, own in samples(bundle, shard, own_rows):
                line: dict[str, Any] = {"key": key}
                for name, extension in files.items():
                    data = bytes(own[extension])
                    line[name] = data
                    if name in pictures:
                        line[name] = {"bytes": data, "path": f"{key}.{extension}"}
                for name, values in columns.items():
                    value = values[row]
                    line[name] = value.decode() if name in texts else value.item()
                lines.append(line)
                if len(lines) == _GROUP:
                    writer.write_table(pyarrow.Table.from_pylist(lines, schema))
                    lines = []
            writer.write_table(pyarrow.Table.from_pylist(lines, schema))


def _name(extension: str) -> str:
    """The column of a kind of file."""
    part, _, last = extension.rpartition(".")
    return part or ("image" if last in IMAGES else extension)


def _features(bundle: Bundle, schema: Any, pictures: list[str]) -> dict[str, Any]:
    """What `datasets` knows of the columns by the schema's own metadata."""
    features: dict[str, Any] = {}
    for field in schema:
        features[field.name] = {"dtype": str(field.type), "_type": "Value"}
    for name in pictures:
        features[name] = {"_type": "Image"}
    names = class_names(bundle)
    if "label" in features and names:
        features["label"] = {"names": list(names), "_type": "ClassLabel"}
    return features
