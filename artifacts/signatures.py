"""Signatures of a bundle, by OpenSSH's keys, which people publish already.

What is signed is the manifest, which has the digest of every other file: whoever changes a bundle,
and its records with it, cannot make the signature again. A bundle may have any number of them, one
after the other in one file. The format, and who may have signed what, is OpenSSH's: see
`ssh-keygen -Y` and ALLOWED SIGNERS in ssh-keygen(1).
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quire.artifacts.address import Address, place_of
from quire.artifacts.bundle import read_manifest
from quire.artifacts.digest import whole_file
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import MANIFEST, SIGNATURES

_PROGRAM = "ssh-keygen"
NAMESPACE = "quire"  # so that a signature made for something else does not count
MAX_BYTES = 1 << 20  # of signatures that we are ready to look at

_SIGNATURE = re.compile(
    r"-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]+-----END SSH SIGNATURE-----\n"
)


def sign(bundle: str | os.PathLike[str], key: Path) -> None:
    """Add a signature of a bundle's manifest to those that it has.

    Args:
        bundle: its folder.
        key: a private key, or a public one whose private key an agent has.

    Raises:
        BundleError: there is no complete bundle, or it cannot be signed with this key.
    """
    folder = place_of(bundle)
    if isinstance(folder, Address):
        raise BundleError(f"{folder} is no folder: sign the bundle there, and push it again")
    read_manifest(folder)
    manifest = (folder / MANIFEST).read_bytes()
    answer = _keygen(["-Y", "sign", "-f", str(key.expanduser()), "-n", NAMESPACE], manifest)
    if answer.returncode:
        said = answer.stderr.decode(errors="replace").strip().splitlines()
        raise BundleError(f"{folder} cannot be signed with {key} ({said[-1] if said else ''})")
    with whole_file(folder / SIGNATURES) as file:
        file.write(merged(signatures_in(folder), answer.stdout.decode("ascii")).encode("ascii"))


def signatures_in(folder: Path) -> str:
    """The signatures of a bundle in a folder; none where it was not signed.

    Raises:
        BundleError: they are none.
    """
    path = folder / SIGNATURES
    if path.is_symlink() or (path.exists() and path.stat().st_size > MAX_BYTES):
        raise BundleError(f"{path} is no file of signatures")
    return path.read_text("ascii", "replace") if path.exists() else ""


def merged(first: str, second: str) -> str:
    """All signatures of two files, each once."""
    found = _SIGNATURE.findall(first) + _SIGNATURE.findall(second)
    return "".join(dict.fromkeys(found))


def signers(
    manifest: bytes, signatures: str, allowed: Path, signer: str | None = None
) -> tuple[str, ...]:
    """Who signed a manifest, of those who may.

    Args:
        manifest: the bytes of its file.
        signatures: the text of the bundle's signatures.
        allowed: a file of OpenSSH's form with names and their keys.
        signer: the only name that counts; default: any in `allowed`.

    Raises:
        BundleError: OpenSSH cannot be run, or `allowed` not be read.
    """
    if not allowed.is_file():
        raise BundleError(f"{allowed}: there is no such file of allowed signers")
    found = []
    with tempfile.TemporaryDirectory(prefix="quire-") as scratch:
        path = Path(scratch) / "signature"
        for signature in _SIGNATURE.findall(signatures):
            path.write_text(signature)
            options = ["-f", str(allowed), "-n", NAMESPACE, "-s", str(path)]
            names = _principals(options) if signer is None else [signer]
            found += [name for name in names if _verified(options, name, manifest)]
    return tuple(dict.fromkeys(found))


def _principals(options: Sequence[str]) -> list[str]:
    """Whose key made a signature."""
    answer = _keygen(["-Y", "find-principals", *options])
    return re.split(r"[\s,]+", answer.stdout.decode().strip()) if answer.returncode == 0 else []


def _verified(options: Sequence[str], name: str, manifest: bytes) -> bool:
    return _keygen(["-Y", "verify", *options, "-I", name], manifest).returncode == 0


def _keygen(options: Sequence[str], data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run([_PROGRAM, *options], input=data, capture_output=True)
    except FileNotFoundError:
        raise BundleError("OpenSSH's ssh-keygen is needed for signatures, and not here") from None
