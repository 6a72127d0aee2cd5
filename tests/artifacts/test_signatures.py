"""Signatures by OpenSSH's own program: whoever changes a bundle cannot make them again."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from quire.artifacts import signatures
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import MANIFEST, SIGNATURES, SUMS
from quire.artifacts.signatures import sign
from quire.artifacts.verify import Verdict, examine, verify
from tests.bundles import image_bundle, random_images

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")


def keygen(*options: str, data: str = "") -> str:
    done = subprocess.run(
        ["ssh-keygen", *options], input=data, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    image_bundle(tmp_path / "bundle", *random_images(6, (5, 4, 3)), samples_per_shard=6)
    return tmp_path / "bundle"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the keys of alice, bob and eve; alice and bob are allowed."""
    lines = []
    for name in ("alice", "bob", "eve"):
        keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / name))
        lines.append(f"{name}@example.org {(tmp_path / f'{name}.pub').read_text()}")
    (tmp_path / "allowed").write_text("".join(lines[:2]))
    return tmp_path


def seen(bundle: Path, keys: Path, signer: str | None = None) -> Verdict:
    return examine(bundle, allowed_signers=keys / "allowed", signer=signer)


def test_it_is_said_who_signed(bundle: Path, keys: Path) -> None:
    sign(bundle, keys / "alice")
    assert seen(bundle, keys) == Verdict((), signers=("alice@example.org",))
    assert seen(bundle, keys, "alice@example.org").signers == ("alice@example.org",)
    (problem,) = seen(bundle, keys, "bob@example.org").problems
    assert str(problem) == f"{SIGNATURES}: the manifest is not signed by bob@example.org"
    sign(bundle, keys / "bob")
    sign(bundle, keys / "bob")
    assert seen(bundle, keys).signers == ("alice@example.org", "bob@example.org")
    assert verify(bundle) == ()


def test_openssh_checks_it_without_us(bundle: Path, keys: Path) -> None:
    sign(bundle, keys / "alice")
    options = ["-f", str(keys / "allowed"), "-I", "alice@example.org", "-n", "quire"]
    signature = ["-s", str(bundle / SIGNATURES)]
    said = keygen("-Y", "verify", *options, *signature, data=(bundle / MANIFEST).read_text())
    assert said.startswith('Good "quire" signature for alice@example.org')


def test_whoever_is_not_allowed_signs_in_vain(bundle: Path, keys: Path) -> None:
    assert [str(one) for one in seen(bundle, keys).problems] == [
        f"{SIGNATURES}: missing: nobody signed the bundle"
    ]
    sign(bundle, keys / "eve")
    (problem,) = seen(bundle, keys).problems
    assert str(problem) == f"{SIGNATURES}: the manifest is not signed by an allowed signer"


def test_a_bundle_that_was_changed_and_rehashed_is_refused(bundle: Path, keys: Path) -> None:
    sign(bundle, keys / "alice")
    text = (bundle / MANIFEST).read_text()
    before = hashlib.sha256(text.encode()).hexdigest()
    changed = text.replace('"kind": "made"', '"kind": "MADE"')
    after = hashlib.sha256(changed.encode()).hexdigest()
    (bundle / MANIFEST).write_text(changed)
    (bundle / SUMS).write_text((bundle / SUMS).read_text().replace(before, after))
    assert verify(bundle) == ()
    (problem,) = seen(bundle, keys).problems
    assert "not signed by an allowed signer" in str(problem)


def test_a_signature_for_something_else_does_not_count(bundle: Path, keys: Path) -> None:
    manifest = (bundle / MANIFEST).read_text()
    options = ["-f", str(keys / "alice"), "-n", "file"]
    (bundle / SIGNATURES).write_text(keygen("-Y", "sign", *options, data=manifest))
    assert seen(bundle, keys).problems


@pytest.mark.parametrize("text", ["", "hello", "\0" * 3_000_000])
def test_what_is_no_signature_is_none(bundle: Path, keys: Path, text: str) -> None:
    (bundle / SIGNATURES).write_text(text)
    assert {problem.file for problem in seen(bundle, keys).problems} == {SIGNATURES}
    assert verify(bundle) == ()


def test_what_cannot_be_is_one_sentence(
    bundle: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match=r"cannot be signed with .*no-key"):
        sign(bundle, keys / "no-key")
    with pytest.raises(BundleError, match="no such file of allowed signers"):
        sign(bundle, keys / "alice")
        examine(bundle, allowed_signers=keys / "nobody")
    with pytest.raises(BundleError, match="is no folder: sign the bundle there"):
        sign("https://example.org/b", keys / "alice")
    monkeypatch.setattr(signatures, "_PROGRAM", "no-such-program")
    with pytest.raises(BundleError, match="ssh-keygen is needed"):
        sign(bundle, keys / "alice")
