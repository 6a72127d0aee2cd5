"""BagIt, the form in which libraries and archives take files: RFC 8493."""

from pathlib import Path

from quire.artifacts.bundle import Bundle
from quire.artifacts.digest import sha256
from quire.artifacts.export.samples import folder_of, link
from quire.artifacts.manifest import MANIFEST, SUMS

_BAGIT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def write(bundle: Bundle, out: Path) -> None:
    """A bag whose payload is the bundle, its records included; `bagit.py --validate` checks it."""
    folder, payload = folder_of(bundle), out / "data"
    payload.mkdir()
    digests = {name: file.sha256 for name, file in bundle.manifest.files.items()}
    digests |= {name: sha256(folder / name) for name in (MANIFEST, SUMS)}
    size = 0
    for name in digests:
        link(folder / name, payload / name)
        size += (payload / name).stat().st_size
    _write(out / "bagit.txt", _BAGIT)
    _write(out / "bag-info.txt", f"Payload-Oxum: {size}.{len(digests)}\n")
    lines = [f"{digests[name]}  data/{name}\n" for name in sorted(digests)]
    _write(out / "manifest-sha256.txt", "".join(lines))
    tags = sorted(path.name for path in out.iterdir() if path.is_file())
    lines = [f"{sha256(out / name)}  {name}\n" for name in tags]
    _write(out / "tagmanifest-sha256.txt", "".join(lines))


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
