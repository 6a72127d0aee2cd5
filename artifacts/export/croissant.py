"""Croissant, the vocabulary of machine-learning datasets (1.1), with the provenance of the build.

`mlcroissant` reads the samples by it. It joins one set of files with one table, and takes but one
set of files out of an archive: hence `samples.csv`, and an entry for each shard and kind of file.
What it unpacked it keeps by the archive's relative path, whatever dataset that is of: hence shards
lie in a folder whose name no other bundle has.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quire.artifacts.bundle import Bundle
from quire.artifacts.digest import sha256
from quire.artifacts.export.samples import class_names, extensions, folder_of, link, link_shards
from quire.artifacts.manifest import INDEX, MANIFEST, NO_SOURCE, File
from quire.artifacts.members import IMAGES
from quire.artifacts.shards import Shard

_CONTEXT = {  # the one that the specification gives, and provenance
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
            *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator"),
            *("source", "subField", "transform"),
        )
    },
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    **{name: {"@container": "@language"} for name in ("description", "name")},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
_CONFORMS = "http://mlcommons.org/croissant/1.1"
_TABLE = "samples.csv"
_KINDS = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "ppm": "image/x-portable-pixmap",
    "pgm": "image/x-portable-graymap",
    "json": "application/json",
}
_TYPES = {"b": "sc:Boolean", "i": "sc:Integer", "u": "sc:Integer", "f": "sc:Float", "S": "sc:Text"}


def write(bundle: Bundle, out: Path) -> None:
    """The bundle, `croissant.json`, and the index as `samples.csv`, a line a sample.

    `mlcroissant.Dataset("croissant.json").records("samples")` gives the first file of each sample
    and its columns; further files, such as masks, have record sets of their own.
    """
    shards = bundle.manifest.sha256[:16]
    (out / shards).mkdir()
    link_shards(bundle, out / shards)
    for file in (*bundle.manifest.tables, bundle.manifest.card):
        link(folder_of(bundle) / file.name, out / file.name)
    link(folder_of(bundle) / MANIFEST, out / MANIFEST)
    columns = [n for n, c in bundle.index.rows.columns.items() if c.ndim == 1]
    files = [e for e in extensions(bundle) if e != "cls" or "label" not in columns]
    _write_table(bundle, out / _TABLE, files, columns)
    size = (out / _TABLE).stat().st_size
    table = _file(_TABLE, _TABLE, File(_TABLE, size, sha256(out / _TABLE)), "text/csv")
    index = _file(INDEX, INDEX, bundle.manifest.files[INDEX], "application/x-hdf5")
    record = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS,
        **_about(bundle),
        "distribution": [
            *(table, index),
            *(part for e in files for part in _members(bundle, e, e == files[0], shards)),
        ],
        "recordSet": [
            *_classes(bundle),
            *(_records(bundle, e, e == files[0], columns) for e in files),
        ],
    }
    (out / "croissant.json").write_text(json.dumps(record, indent=1) + "\n", "ascii")


def _write_table(bundle: Bundle, path: Path, files: Sequence[str], columns: Sequence[str]) -> None:
    """The key of each sample, the names of its files, and its numbers and names in the index."""
    rows = bundle.index.rows
    values = [rows.columns[name].tolist() for name in columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", *map(_name, files), *columns])
        for key, *own in zip(rows.keys[:].tolist(), *values, strict=True):
            text = key.decode()
            plain = [v.decode() if isinstance(v, bytes) else v for v in own]
            writer.writerow([text, *(f"{text}.{extension}" for extension in files), *plain])


def _about(bundle: Bundle) -> dict[str, Any]:
    """Name and provenance: recipe, digest of the source, versions, digest of the manifest."""
    identity = bundle.manifest.identity
    source = identity.source
    about: dict[str, Any] = {
        "name": "-".join(identity.words),
        "description": f"A bundle of Quire: {', '.join(identity.words)}.",
        "identifier": f"sha256:{bundle.manifest.sha256}",
        "version": f"{bundle.manifest.format}.0.0",
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "sc:name": "quire build",
            "sc:description": json.dumps(dict(identity.recipe), sort_keys=True),
            "sc:softwareVersion": json.dumps(dict(identity.versions), sort_keys=True),
        },
    }
    if source["kind"] != NO_SOURCE:
        about["prov:wasDerivedFrom"] = {
            "@type": "prov:Entity",
            "sc:name": f"{source['kind']}, split {source['split']}",
            "sc:identifier": f"sha256:{source['sha256']}",
        }
    return about


def _file(identifier: str, place: str, file: Shard | File, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": identifier,
        "contentUrl": place,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": kind,
        "sha256": file.sha256,
    }


def _members(bundle: Bundle, extension: str, first: bool, folder: str) -> list[dict[str, Any]]:
    """The shards, which are in `folder`, and all files of one extension in them."""
    named = {
        shard.name if first else f"{shard.name}-for-{extension}": shard
        for shard in bundle.manifest.shards
    }
    files = [
        _file(name, f"{folder}/{shard.name}", shard, "application/x-tar")
        for name, shard in named.items()
    ]
    members = {
        "@type": "cr:FileSet",
        "@id": f"{extension}-files",
        "name": f"{extension}-files",
        "containedIn": [{"@id": name} for name in named],
        "encodingFormat": _KINDS.get(extension.rpartition(".")[2], "application/octet-stream"),
        "includes": f"*.{extension}",
    }
    return [*files, members]


def _classes(bundle: Bundle) -> list[dict[str, Any]]:
    """The names of the classes, as an enumeration."""
    names = class_names(bundle)
    if not names or "label" not in bundle.index.rows.columns:
        return []
    fields = [
        {"@type": "cr:Field", "@id": f"classes/{n}", "name": n, "dataType": kind}
        for n, kind in (("id", "sc:Integer"), ("name", "sc:Text"))
    ]
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "classes",
            "name": "classes",
            "dataType": "sc:Enumeration",
            "key": {"@id": "classes/id"},
            "field": fields,
            "data": [{"classes/id": i, "classes/name": name} for i, name in enumerate(names)],
        }
    ]


def _records(bundle: Bundle, extension: str, first: bool, columns: Sequence[str]) -> dict[str, Any]:
    """A record a sample: its key, one of its files, and its columns."""
    own, name = "samples" if first else f"samples_{_name(extension)}", _name(extension)
    kind = "sc:ImageObject" if extension.rpartition(".")[2] in IMAGES else "sc:Text"
    files = {"fileSet": {"@id": f"{extension}-files"}}
    joined = _field(own, f"{name}_name", "sc:Text", {**files, **_extract("filename")})
    joined["references"] = {"fileObject": {"@id": _TABLE}, "extract": {"column": name}}
    fields = [
        _field(own, "key", "sc:Text", _column("key")),
        joined,
        _field(own, name, kind, {**files, **_extract("content")}),
    ]
    for column in columns:
        values = bundle.index.rows.columns[column]
        fields.append(_field(own, column, _TYPES[values.dtype.kind], _column(column)))
    return {
        "@type": "cr:RecordSet",
        "@id": own,
        "name": own,
        "key": {"@id": f"{own}/key"},
        "field": fields,
    }


def _field(records: str, name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    identifier = f"{records}/{name}"
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": name,
        "dataType": kind,
        "source": source,
    }


def _extract(what: str) -> dict[str, Any]:
    return {"extract": {"fileProperty": what}}


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": _TABLE}, "extract": {"column": name}}


def _name(extension: str) -> str:
    return extension.replace(".", "_")
